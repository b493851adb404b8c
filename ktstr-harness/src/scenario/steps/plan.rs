//! Checks steps against a machine before anything is started, and says when what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ktstr_core::Topology;

use super::op::{Op, OpKind, Setting};
use super::{Hold, Step};
use crate::cgroup::{CgroupDef, CpusetError, DefError, ResolvedDef};
use crate::check::{Checks, of_whole_test};
use crate::cpu_map::CpuMap;
use crate::workload::{WorkType, WorkTypeError, WorkerPool};

/// What the root cgroup is called in operations and results.
pub(super) const ROOT: &str = "/";

/// The shortest time between two rounds of operations.
const SHORTEST_ROUND: Duration = Duration::from_millis(1);

/// Steps of a scenario at most.
const MAX_STEPS: usize = 256;

/// Workers that keep accounts of steps at most, each counted once for each step that has checks.
const MAX_ACCOUNTS: usize = 65_536;

/// Steps that make no sense on this machine.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("step {number} ({step}){}: {fault}", .op.as_ref().map(|op| format!(", {op}")).unwrap_or_default())]
pub struct PlanError {
    /// Number of the step, from 1; 0 is the background.
    pub number: usize,
    /// Its name.
    pub step: String,
    /// The operation, where one is at fault.
    pub op: Option<String>,
    /// What is wrong.
    pub fault: Box<PlanFault>,
}

/// What is wrong with a step.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// A definition is invalid.
    #[error(transparent)]
    Def(#[from] DefError),
    /// A cpuset is not on the machine.
    #[error(transparent)]
    Cpuset(#[from] CpusetError),
    /// The work cannot be carried out.
    #[error(transparent)]
    Work(#[from] WorkTypeError),
    /// There is no such cgroup then.
    #[error("there is no cgroup `{name}` then; there are {there}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        there: String,
    },
    /// The cgroup is there already.
    #[error("there is a cgroup `{0}` already; remove it first, or choose another name")]
    Exists(String),
    /// It still has cgroups within it.
    #[error("`{0}` still has a cgroup within it, `{1}`; remove that first")]
    HasInner(String, String),
    /// It cannot be done to the root cgroup.
    #[error("the root cgroup has no such setting; give a cgroup of the scenario")]
    Root,
    /// There are fewer workers.
    #[error("`{name}` has {there} workers then, not {wanted}")]
    FewerWorkers {
        /// The cgroup.
        name: String,
        /// How many there are.
        there: usize,
        /// How many are wanted.
        wanted: usize,
    },
    /// Too many workers.
    #[error("{0} workers at once; use at most {max}", max = WorkerPool::MAX_WORKERS)]
    TooManyWorkers(usize),
    /// Too many workers with too many steps that have checks.
    #[error("{0} workers and steps with checks are too many; use fewer of either")]
    TooManyAccounts(usize),
    /// Too many steps.
    #[error("{0} steps; use at most {MAX_STEPS}")]
    TooManySteps(usize),
    /// A check of the whole test.
    #[error(
        "{0} is judged over the whole test; give it as a key of the test, or use ktstr_harness::trace::Watch"
    )]
    WholeTest(&'static str),
    /// No step at all.
    #[error("the scenario has no steps; give at least one Step")]
    NoSteps,
    /// The share is no share.
    #[error("it holds for {0} of the duration; use a share above 0 and at most 1")]
    Share(f64),
    /// The shares come to more than everything.
    #[error("the shares of the steps come to {0:.3}; use at most 1 in all")]
    Shares(f64),
    /// A time is too short.
    #[error("{0:?} from one round to the next; use 1 ms at least")]
    Round(Duration),
    /// The steps take longer than the body may.
    #[error(
        "the steps take {needed:?}, and a test of {duration:?} may take {limit:?}; raise duration_s, or hold for shorter"
    )]
    TooLong {
        /// How long they take.
        needed: Duration,
        /// Duration of the test.
        duration: Duration,
        /// How long they may take.
        limit: Duration,
    },
    /// A number is out of its bounds.
    #[error("{what} is {value}; use {bounds}")]
    Bounds {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        bounds: &'static str,
    },
    /// The test does not declare the program.
    #[error(
        "the test does not declare the program `{name}`; name it in `payload` or `workloads`{there}"
    )]
    NoProgram {
        /// The program.
        name: String,
        /// Those that it declares, in words.
        there: String,
    },
    /// The program is not running then.
    #[error("the program `{0}` does not run then; start it first")]
    NotStarted(String),
    /// The cgroup is that of a program that runs then.
    #[error("the program `{0}` runs then; wait for it or kill it, which removes its cgroup")]
    StillRuns(String),
    /// Something about the machine.
    #[error("{0}")]
    Machine(String),
}

/// Steps that were checked.
pub(super) struct Plan<'s> {
    pub(super) cpus: CpuMap,
    pub(super) background: Vec<ResolvedDef>,
    pub(super) steps: Vec<PlannedStep<'s>>,
    /// How many steps have an account.
    pub(super) accounts: usize,
    /// How long they hold in all.
    pub(super) length: Duration,
    /// The test's duration, and how long the scenario may take.
    pub(super) duration: Duration,
    pub(super) limit: Duration,
    /// Controllers that the root must pass on.
    pub(super) controllers: BTreeSet<&'static str>,
}

/// A step, its definitions resolved.
pub(super) struct PlannedStep<'s> {
    pub(super) name: &'s str,
    pub(super) setup: Vec<ResolvedDef>,
    pub(super) ops: &'s [Op],
    pub(super) hold: Duration,
    pub(super) every: Option<Duration>,
    /// Number of its account, from 1, where it has checks.
    pub(super) account: Option<usize>,
}

impl<'s> Plan<'s> {
    pub(super) fn new(
        background: &[CgroupDef],
        steps: &'s [Step],
        cpus: CpuMap,
        duration: Duration,
        programs: &[&'static str],
    ) -> Result<Self, PlanError> {
        let mut draft = Draft {
            declared: programs,
            programs: BTreeSet::new(),
            topology: cpus.topology(),
            workers: BTreeMap::from([(ROOT.to_owned(), 0)]),
            defs: BTreeMap::new(),
            needed: BTreeSet::new(),
            number: 0,
            step: "background",
        };
        let count = steps.len();
        match count {
            0 => return Err(draft.error(None, PlanFault::NoSteps)),
            1..=MAX_STEPS => {}
            _ => return Err(draft.error(None, PlanFault::TooManySteps(count))),
        }
        let mut background_defs = draft.setup(background)?;
        let mut planned = Vec::with_capacity(count);
        let (mut accounts, mut length, mut shares) = (0, Duration::ZERO, 0.0);
        let mut most = draft.all_workers();
        for (index, step) in steps.iter().enumerate() {
            (draft.number, draft.step) = (index + 1, &step.name);
            let setup = draft.setup(&step.setup)?;
            most = most.max(draft.all_workers());
            let (hold, every, share) = draft.hold(step.hold, duration)?;
            // What is repeated must also be possible after it was done.
            let rounds = if every.is_some() { 2 } else { 1 };
            for _ in 0..rounds {
                for op in &step.ops {
                    draft
                        .apply(op)
                        .map_err(|fault| draft.error(Some(op), fault))?;
                    most = most.max(draft.all_workers());
                }
            }
            if most > WorkerPool::MAX_WORKERS {
                return Err(draft.error(None, PlanFault::TooManyWorkers(most)));
            }
            (length, shares) = (length + hold, shares + share);
            if let Some(check) = of_whole_test(&step.checks) {
                return Err(draft.error(None, PlanFault::WholeTest(check)));
            }
            let has_checks = step.checks != Checks::NONE;
            accounts += usize::from(has_checks);
            planned.push(PlannedStep {
                name: &step.name,
                setup,
                ops: &step.ops,
                hold,
                every,
                account: has_checks.then_some(accounts),
            });
        }
        // Thirds add up to a little more than one.
        if shares > 1.0 + 1e-9 {
            return Err(draft.error(None, PlanFault::Shares(shares)));
        }
        let limit = 2 * duration + Duration::from_secs(10);
        if length > limit {
            let needed = length;
            return Err(draft.error(
                None,
                PlanFault::TooLong {
                    needed,
                    duration,
                    limit,
                },
            ));
        }
        if most.saturating_mul(accounts) > MAX_ACCOUNTS {
            return Err(draft.error(None, PlanFault::TooManyAccounts(most * accounts)));
        }
        for def in planned
            .iter_mut()
            .flat_map(|step| &mut step.setup)
            .chain(&mut background_defs)
        {
            def.map_cpus(cpus);
        }
        Ok(Self {
            cpus,
            background: background_defs,
            steps: planned,
            accounts,
            length,
            duration,
            limit,
            controllers: draft.needed,
        })
    }
}

/// What there will be at some point of the scenario.
struct Draft<'s> {
    /// Programs that the test declares.
    declared: &'s [&'static str],
    /// Programs that run.
    programs: BTreeSet<&'static str>,
    topology: Topology,
    /// Workers of each cgroup that is there.
    workers: BTreeMap<String, usize>,
    /// What the workers of each cgroup's definition do.
    defs: BTreeMap<String, WorkType>,
    /// Controllers.
    needed: BTreeSet<&'static str>,
    number: usize,
    step: &'s str,
}

impl Draft<'_> {
    fn error(&self, op: Option<&Op>, fault: PlanFault) -> PlanError {
        PlanError {
            number: self.number,
            step: self.step.to_owned(),
            op: op.map(ToString::to_string),
            fault: Box::new(fault),
        }
    }

    fn all_workers(&self) -> usize {
        self.workers.values().sum()
    }

    fn setup(&mut self, defs: &[CgroupDef]) -> Result<Vec<ResolvedDef>, PlanError> {
        let mut resolved = Vec::with_capacity(defs.len());
        for def in defs {
            let added = self.add(def).map_err(|fault| self.error(None, fault))?;
            resolved.push(added);
        }
        Ok(resolved)
    }

    fn add(&mut self, def: &CgroupDef) -> Result<ResolvedDef, PlanFault> {
        let resolved = def.resolve_nested(self.topology)?;
        if self.workers.contains_key(&resolved.name) {
            return Err(PlanFault::Exists(resolved.name));
        }
        if let Some((outer, _)) = resolved.name.rsplit_once('/') {
            self.there(outer)?;
        }
        self.needed.extend(resolved.controllers());
        self.workers
            .insert(resolved.name.clone(), resolved.group.workers);
        self.defs.insert(resolved.name.clone(), resolved.group.work);
        Ok(resolved)
    }

    /// Workers of a cgroup that has to be there.
    fn there(&self, name: &str) -> Result<usize, PlanFault> {
        self.workers.get(name).copied().ok_or_else(|| {
            let there: Vec<&str> = self.workers.keys().map(String::as_str).collect();
            PlanFault::Unknown {
                name: name.to_owned(),
                there: there.join(", "),
            }
        })
    }

    /// The same, of one that has settings.
    fn own(&self, name: &str) -> Result<usize, PlanFault> {
        if name == ROOT {
            return Err(PlanFault::Root);
        }
        self.there(name)
    }

    fn hold(
        &self,
        hold: Hold,
        duration: Duration,
    ) -> Result<(Duration, Option<Duration>, f64), PlanError> {
        let of_share = |share: f64| {
            if share > 0.0 && share <= 1.0 {
                Ok(duration.mul_f64(share))
            } else {
                Err(self.error(None, PlanFault::Share(share)))
            }
        };
        match hold {
            Hold::For(time) => Ok((time, None, 0.0)),
            Hold::Share(share) => Ok((of_share(share)?, None, share)),
            Hold::Repeat { every, .. } if every < SHORTEST_ROUND => {
                Err(self.error(None, PlanFault::Round(every)))
            }
            Hold::Repeat { every, share } => Ok((of_share(share)?, Some(every), share)),
        }
    }

    fn apply(&mut self, op: &Op) -> Result<(), PlanFault> {
        self.needed.extend(need_of_op(&op.kind));
        // What the kernel has to refuse changes nothing, and may make no sense on purpose.
        if op.refused_with.is_some() {
            return self.names_are_there(&op.kind);
        }
        match &op.kind {
            OpKind::AddCgroup(def) => self.add(def).map(|_| ()),
            OpKind::RemoveCgroup(name) => self.remove(name),
            OpKind::SetCpuset(name, cpus) => {
                self.own(name)?;
                Ok(cpus.resolve(self.topology).map(|_| ())?)
            }
            OpKind::Spawn(name, workers, work) => self.spawn(name, *workers, *work),
            OpKind::SpawnInRoot(workers, work) => self.spawn(ROOT, *workers, *work),
            OpKind::Stop(name, workers) => self.stop(name, *workers),
            OpKind::SetWorkers(name, workers) => self.set_workers(name, *workers),
            OpKind::Move { from, to, workers } => self.shift(from, to, *workers),
            OpKind::SetAffinity(name, affinity) => {
                self.there(name)?;
                let cpus = affinity.cpus(self.topology, 0);
                cpus.map(|_| ()).map_err(PlanFault::Machine)
            }
            OpKind::SetPolicy(name, policy) => {
                self.there(name)?;
                match policy.fault() {
                    Some(fault) => Err(PlanFault::Machine(format!("{policy:?}: {fault}"))),
                    None => Ok(()),
                }
            }
            OpKind::Offline(cpu) | OpKind::Online(cpu) => self.cpu(*cpu),
            OpKind::Start(program) => self.start(program.name),
            OpKind::WaitFor(program) | OpKind::Kill(program) => self.end(program),
            _ => {
                self.names_are_there(&op.kind)?;
                within_bounds(&op.kind, self.topology)
            }
        }
    }

    fn names_are_there(&self, kind: &OpKind) -> Result<(), PlanFault> {
        match kind {
            OpKind::AddCgroup(_)
            | OpKind::SpawnInRoot(..)
            | OpKind::Offline(_)
            | OpKind::Online(_)
            | OpKind::Start(_)
            | OpKind::WaitFor(_)
            | OpKind::Kill(_)
            | OpKind::Call(..) => Ok(()),
            OpKind::SwapCpusets(one, other) => self.own(one).and(self.own(other)).map(|_| ()),
            OpKind::Move { from, to, .. } => self.there(from).and(self.there(to)).map(|_| ()),
            OpKind::Spawn(name, ..)
            | OpKind::Stop(name, _)
            | OpKind::SetWorkers(name, _)
            | OpKind::SetAffinity(name, _)
            | OpKind::SetNice(name, _)
            | OpKind::SetPolicy(name, _) => self.there(name).map(|_| ()),
            OpKind::RemoveCgroup(name)
            | OpKind::SetCpuset(name, _)
            | OpKind::ClearCpuset(name)
            | OpKind::Set(name, _) => self.own(name).map(|_| ()),
        }
    }

    fn start(&mut self, name: &'static str) -> Result<(), PlanFault> {
        if !self.declared.contains(&name) {
            let there = match self.declared {
                [] => String::new(),
                some => format!(", which have {}", some.join(", ")),
            };
            let name = name.to_owned();
            return Err(PlanFault::NoProgram { name, there });
        }
        if self.programs.contains(name) {
            return Err(PlanFault::StillRuns(name.to_owned()));
        }
        if self.workers.insert(name.to_owned(), 0).is_some() {
            return Err(PlanFault::Exists(name.to_owned()));
        }
        self.programs.insert(name);
        Ok(())
    }

    /// A program ends, and its cgroup with it.
    fn end(&mut self, name: &str) -> Result<(), PlanFault> {
        if !self.programs.remove(name) {
            return Err(PlanFault::NotStarted(name.to_owned()));
        }
        self.remove(name)
    }

    fn remove(&mut self, name: &str) -> Result<(), PlanFault> {
        self.own(name)?;
        if self.programs.contains(name) {
            return Err(PlanFault::StillRuns(name.to_owned()));
        }
        let within = format!("{name}/");
        if let Some(inner) = self.workers.keys().find(|it| it.starts_with(&within)) {
            return Err(PlanFault::HasInner(name.to_owned(), inner.clone()));
        }
        self.workers.remove(name);
        self.defs.remove(name);
        Ok(())
    }

    fn spawn(&mut self, name: &str, workers: usize, work: WorkType) -> Result<(), PlanFault> {
        let there = self.there(name)?;
        work.validate_workers(workers)?;
        if name == ROOT && work.moves_cgroups() {
            let work = work.name();
            return Err(WorkTypeError::NoCgroup { work }.into());
        }
        self.workers.insert(name.to_owned(), there + workers);
        Ok(())
    }

    fn stop(&mut self, name: &str, workers: Option<usize>) -> Result<(), PlanFault> {
        let there = self.enough(name, workers)?;
        self.workers
            .insert(name.to_owned(), there - workers.unwrap_or(there));
        Ok(())
    }

    fn set_workers(&mut self, name: &str, workers: usize) -> Result<(), PlanFault> {
        let there = self.own(name)?;
        if let Some(more) = workers.checked_sub(there).filter(|more| *more > 0)
            && let Some(work) = self.defs.get(name)
        {
            work.validate_workers(more)?;
        }
        self.workers.insert(name.to_owned(), workers);
        Ok(())
    }

    fn shift(&mut self, from: &str, to: &str, workers: Option<usize>) -> Result<(), PlanFault> {
        self.there(to)?;
        let there = self.enough(from, workers)?;
        let moved = workers.unwrap_or(there);
        self.workers.insert(from.to_owned(), there - moved);
        *self.workers.entry(to.to_owned()).or_default() += moved;
        Ok(())
    }

    /// Workers of a cgroup, of which there have to be so many.
    fn enough(&self, name: &str, wanted: Option<usize>) -> Result<usize, PlanFault> {
        let there = self.there(name)?;
        match wanted {
            Some(wanted) if wanted > there => Err(PlanFault::FewerWorkers {
                name: name.to_owned(),
                there,
                wanted,
            }),
            _ => Ok(there),
        }
    }

    fn cpu(&self, cpu: u32) -> Result<(), PlanFault> {
        if cpu < self.topology.cpus() {
            return Ok(());
        }
        let last = self.topology.cpus() - 1;
        Err(PlanFault::Machine(format!(
            "no CPU {cpu} on {}; use 0 to {last}",
            self.topology
        )))
    }
}

/// Whether the numbers of an operation are what the kernel takes.
fn within_bounds(kind: &OpKind, topology: Topology) -> Result<(), PlanFault> {
    let bounds = |holds: bool, what, value: String, bounds| {
        if holds {
            Ok(())
        } else {
            Err(PlanFault::Bounds {
                what,
                value,
                bounds,
            })
        }
    };
    match kind {
        OpKind::SetNice(_, nice) => bounds(
            (-20..=19).contains(nice),
            "the nice value",
            nice.to_string(),
            "-20 to 19",
        ),
        OpKind::Set(_, Setting::Weight(weight)) => bounds(
            (1..=10_000).contains(weight),
            "the weight",
            weight.to_string(),
            "1 to 10000",
        ),
        OpKind::Set(_, Setting::Clamp { min, max }) => bounds(
            min <= max && *max <= 100,
            "the clamp",
            format!("{min}% to {max}%"),
            "0 to 100, the smaller one first",
        ),
        OpKind::Set(_, Setting::Quota(Some((quota, period)))) => {
            let (ms, s) = (Duration::from_millis(1), Duration::from_secs(1));
            bounds(
                *quota >= ms && (ms..=s).contains(period),
                "the quota",
                format!("{quota:?} in {period:?}"),
                "1ms at least, in a period of 1ms to 1s",
            )
        }
        OpKind::Set(_, Setting::MemoryNode(Some(node))) => bounds(
            *node < topology.numa_nodes(),
            "the node",
            node.to_string(),
            "one that the machine has",
        ),
        _ => Ok(()),
    }
}

/// The controller that an operation needs.
fn need_of_op(kind: &OpKind) -> Option<&'static str> {
    match kind {
        OpKind::SetCpuset(..)
        | OpKind::ClearCpuset(_)
        | OpKind::SwapCpusets(..)
        | OpKind::Set(_, Setting::MemoryNode(_)) => Some("cpuset"),
        OpKind::Spawn(_, _, work) if work.moves_cgroups() => Some("cpu"),
        OpKind::Set(
            _,
            Setting::Clamp { .. } | Setting::Weight(_) | Setting::Quota(_) | Setting::Burst(_),
        ) => Some("cpu"),
        _ => None,
    }
}
