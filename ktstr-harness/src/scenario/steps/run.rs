//! Carries a plan out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use ktstr_core::CpuSet;
use rustix::process::Pid;

use super::error::{OpError, StepError, StepProblem};
use super::op::{Op, OpKind, Setting};
use super::plan::{Plan, PlannedStep, ROOT};
use super::programs::Programs;
use super::state::{Ended, NewWorkers, Offline, State, Worker};
use crate::cgroup::{CgroupTree, ResolvedDef};
use crate::check::CgroupRun;
use crate::workload::{
    CPUS_HINT, NICE_HINT, POLICY_HINT, SteppedRun, WorkType, WorkerEnd, WorkerGroup, WorkerReport,
    WorkerRun, affine, set_nice,
};

/// What a scenario came to.
pub(super) struct Finished {
    /// The whole, by the cgroups that workers were started in.
    pub(super) whole: Vec<CgroupRun>,
    /// Index of each step with checks, and what its workers came to, by the cgroups that they were in.
    pub(super) of_steps: Vec<(usize, Vec<CgroupRun>)>,
    pub(super) programs: Programs,
}

/// Who worked in a step that has checks.
struct StepWorkers {
    step: usize,
    hold: Duration,
    /// By position: the cgroup of each, the CPUs that it could use, and whether it was there from the beginning.
    workers: BTreeMap<usize, (String, CpuSet, bool)>,
}

pub(super) fn run(tree: &CgroupTree, plan: &Plan<'_>) -> Result<Finished, StepError> {
    let mut state = State {
        tree,
        cpus: plan.cpus,
        accounts: plan.accounts,
        account: 0,
        // Nobody ends by itself: the scenario ends them.
        longest: plan.length * 2 + Duration::from_secs(600),
        pools: Vec::new(),
        workers: Vec::new(),
        cgroups: BTreeMap::new(),
        oom_kills: BTreeMap::new(),
        offline: Offline::default(),
        programs: Vec::new(),
        duration: plan.duration,
        deadline: Instant::now() + plan.limit,
        place: "background".to_owned(),
        ended_programs: Programs::default(),
    };
    let at = |number: usize, step: &str, op: String| {
        let step = step.to_owned();
        move |problem| StepError {
            number,
            step,
            op,
            problem: Box::new(problem),
        }
    };
    let needed: Vec<&str> = plan.controllers.iter().copied().collect();
    tree.enable_controllers(&needed)
        .map_err(StepProblem::from)
        .and_then(|()| state.set_up(&plan.background))
        .map_err(at(0, "background", "setup".to_owned()))?;
    let mut present_in_steps = Vec::with_capacity(plan.accounts);
    for (index, step) in plan.steps.iter().enumerate() {
        state.place = format!("step {} ({})", index + 1, step.name);
        state
            .set_up(&step.setup)
            .map_err(at(index + 1, step.name, "setup".to_owned()))?;
        state.round(index, step)?;
        let present = state.hold(index, step)?;
        present_in_steps.extend(present);
    }
    let last = plan.steps.last().map_or("", |step| step.name);
    let ended = state
        .finish()
        .map_err(at(plan.steps.len(), last, "end".to_owned()))?;
    Ok(finished(ended, present_in_steps))
}

impl State<'_> {
    /// Makes the cgroups of definitions and starts their workers, all at once.
    fn set_up(&mut self, defs: &[ResolvedDef]) -> Result<(), StepProblem> {
        for def in defs {
            self.make(def)?;
        }
        let new: Vec<NewWorkers<'_>> = defs.iter().map(new_workers).collect();
        self.spawn(&new)
    }

    /// Carries out the operations of a step.
    fn round(&mut self, index: usize, step: &PlannedStep<'_>) -> Result<(), StepError> {
        for op in step.ops {
            self.carry_out(op).map_err(|problem| StepError {
                number: index + 1,
                step: step.name.to_owned(),
                op: op.to_string(),
                problem: Box::new(problem),
            })?;
        }
        self.note_allowed();
        Ok(())
    }

    /// Lets the workers work until the step is over.
    fn hold(
        &mut self,
        index: usize,
        step: &PlannedStep<'_>,
    ) -> Result<Option<StepWorkers>, StepError> {
        self.account = step.account.unwrap_or(0);
        for pool in &self.pools {
            pool.begin_step(self.account);
        }
        let begin = Instant::now();
        let mut present = step.account.map(|_| StepWorkers {
            step: index,
            hold: step.hold,
            workers: BTreeMap::new(),
        });
        if let Some(present) = &mut present {
            present.note(self, true);
        }
        let mut next = step.every.map(|every| begin + every);
        loop {
            let end = begin + step.hold;
            let until = next.map_or(end, |next| next.min(end));
            self.idle_until(until).map_err(|problem| StepError {
                number: index + 1,
                step: step.name.to_owned(),
                op: "hold".to_owned(),
                problem: Box::new(problem),
            })?;
            let Some(due) = next.filter(|due| *due < end) else {
                break;
            };
            self.round(index, step)?;
            if let Some(present) = &mut present {
                present.note(self, false);
            }
            // A round that took long moves the ones that follow.
            let every = step.every.unwrap_or(step.hold);
            next = Some((due + every).max(Instant::now()));
        }
        // What comes next does not count for it.
        self.account = 0;
        for pool in &self.pools {
            pool.begin_step(0);
        }
        Ok(present)
    }

    fn carry_out(&mut self, op: &Op) -> Result<(), StepProblem> {
        let result = self.do_op(&op.kind);
        let Some(expected) = op.refused_with else {
            return result;
        };
        let words = io::Error::from_raw_os_error(expected).to_string();
        match result {
            Ok(()) => Err(StepProblem::NotRefused { expected: words }),
            Err(problem) if problem.errno() == Some(expected) => Ok(()),
            Err(problem) => Err(StepProblem::RefusedOtherwise {
                expected: words,
                refusal: problem.to_string(),
            }),
        }
    }

    fn do_op(&mut self, kind: &OpKind) -> Result<(), StepProblem> {
        match kind {
            OpKind::AddCgroup(def) => {
                let mut def = def.resolve_nested(self.cpus.topology())?;
                def.map_cpus(self.cpus);
                self.set_up(std::slice::from_ref(&def))
            }
            OpKind::RemoveCgroup(name) => self.remove(name),
            OpKind::SetCpuset(name, cpus) => {
                let resolved = cpus.resolve(self.cpus.topology());
                let resolved = resolved.map_err(|source| crate::cgroup::DefError::Cpuset {
                    cgroup: name.clone(),
                    source,
                })?;
                let resolved = self.cpus.cpus(&resolved);
                self.live(name)?.home.cgroup.set_cpus(&resolved)?;
                if let Some(node) = cpus.memory_node() {
                    let node = self.cpus.memory_node(node);
                    self.live(name)?.home.cgroup.set_memory_node(node)?;
                }
                self.note_cpus(name, Some(resolved));
                Ok(())
            }
            OpKind::ClearCpuset(name) => self.free_cpus(name),
            OpKind::SwapCpusets(one, other) => self.swap_cpusets(one, other),
            OpKind::Spawn(name, workers, work) => self.spawn_like(name, *workers, *work),
            OpKind::SpawnInRoot(workers, work) => self.spawn_like(ROOT, *workers, *work),
            OpKind::Stop(name, workers) => self.stop_some(name, *workers),
            OpKind::SetWorkers(name, workers) => {
                let there = self.in_cgroup(name).len();
                if *workers >= there {
                    let work = self.live(name)?.group.work;
                    self.spawn_like(name, workers - there, work)
                } else {
                    self.stop_some(name, Some(there - workers))
                }
            }
            OpKind::Move { from, to, workers } => self.shift(from, to, *workers),
            OpKind::SetAffinity(name, affinity) => {
                let map = self.cpus;
                self.each(name, CPUS_HINT, |pid, number| {
                    affine(affinity, pid, number, map)
                })
            }
            OpKind::SetNice(name, nice) => {
                self.each(name, NICE_HINT, |pid, _| set_nice(pid, *nice))
            }
            OpKind::SetPolicy(name, policy) => {
                self.each(name, POLICY_HINT, |pid, _| policy.set(pid))
            }
            OpKind::Offline(cpu) => Ok(self.offline.set(self.cpus.cpu(*cpu), false)?),
            OpKind::Online(cpu) => Ok(self.offline.set(self.cpus.cpu(*cpu), true)?),
            OpKind::Start(program) => self.start(program),
            OpKind::WaitFor(program) => self.await_program(program),
            OpKind::Kill(program) => self.kill_program(program),
            OpKind::Call(_, function) => Ok(function().map_err(OpError::Call)?),
            OpKind::Set(name, setting) => self.set(name, setting),
        }
    }

    /// Changes a setting of a cgroup, and waits where it takes its time.
    fn set(&self, name: &str, setting: &Setting) -> Result<(), StepProblem> {
        let cgroup = &self.live(name)?.home.cgroup;
        match setting {
            Setting::Clamp { min, max } => cgroup.set_uclamp(*min, *max)?,
            Setting::Weight(weight) => cgroup.set_weight(*weight)?,
            Setting::Quota(limit) => cgroup.set_quota(*limit)?,
            Setting::Burst(burst) => cgroup.set_burst(*burst)?,
            Setting::MemoryNode(Some(node)) => {
                cgroup.set_memory_node(self.cpus.memory_node(*node))?;
            }
            Setting::MemoryNode(None) => {
                let nodes = 0..self.cpus.topology().numa_nodes();
                let nodes: CpuSet = nodes.map(|node| self.cpus.memory_node(node)).collect();
                cgroup.set_memory_nodes(&nodes)?;
            }
            Setting::Frozen(frozen) => {
                cgroup.set_frozen(*frozen)?;
                if *frozen {
                    self.await_frozen(name)?;
                }
            }
        }
        Ok(())
    }

    fn note_cpus(&mut self, name: &str, cpus: Option<CpuSet>) {
        if let Some(live) = self.cgroups.get_mut(name) {
            live.cpus = cpus;
        }
    }

    fn swap_cpusets(&mut self, one: &str, other: &str) -> Result<(), StepProblem> {
        let (first, second) = (self.live(one)?.cpus.clone(), self.live(other)?.cpus.clone());
        for (name, cpus) in [(one, second), (other, first)] {
            match &cpus {
                Some(cpus) => self.live(name)?.home.cgroup.set_cpus(cpus)?,
                None => self.free_cpus(name)?,
            }
            self.note_cpus(name, cpus);
        }
        Ok(())
    }

    /// Lets a cgroup use all CPUs of its parent. The kernel takes no empty cpuset from one that has tasks
    /// (`validate_change` of the kernel's `kernel/cgroup/cpuset.c`).
    fn free_cpus(&mut self, name: &str) -> Result<(), StepProblem> {
        self.note_cpus(name, None);
        Ok(self
            .live(name)?
            .home
            .cgroup
            .set_cpus(&self.effective(name))?)
    }

    fn spawn_like(
        &mut self,
        cgroup: &str,
        workers: usize,
        work: WorkType,
    ) -> Result<(), StepProblem> {
        let live = self.cgroups.get(cgroup);
        let like = live.map_or_else(WorkerGroup::default, |live| live.group);
        let tasks = live.map(|live| live.tasks.clone()).unwrap_or_default();
        self.spawn(&[NewWorkers {
            cgroup,
            group: WorkerGroup {
                work,
                workers,
                ..like
            },
            tasks,
        }])
    }

    /// Ends the newest workers of a cgroup, or all.
    fn stop_some(&mut self, name: &str, workers: Option<usize>) -> Result<(), StepProblem> {
        let here = self.in_cgroup(name);
        let count = workers.unwrap_or(here.len()).min(here.len());
        self.stop(&here[here.len() - count..])
    }

    fn shift(&mut self, from: &str, to: &str, workers: Option<usize>) -> Result<(), StepProblem> {
        let mut here = self.in_cgroup(from);
        let left = here.split_off(workers.unwrap_or(here.len()).min(here.len()));
        let process = |position: &usize| {
            let worker = &self.workers[*position];
            worker.process.map(|group| (worker.pool, group))
        };
        let staying: BTreeSet<_> = left.iter().filter_map(process).collect();
        if here
            .iter()
            .filter_map(process)
            .any(|it| staying.contains(&it))
        {
            return Err(OpError::Threads(from.to_owned()).into());
        }
        for position in here {
            self.attach(to, self.workers[position].pid)?;
            to.clone_into(&mut self.workers[position].cgroup);
        }
        Ok(())
    }

    /// Changes each worker of a cgroup.
    fn each(
        &self,
        name: &str,
        hint: &'static str,
        change: impl Fn(Pid, usize) -> io::Result<()>,
    ) -> Result<(), StepProblem> {
        for (number, position) in self.in_cgroup(name).into_iter().enumerate() {
            let worker = &self.workers[position];
            change(worker.pid, number).map_err(|source| OpError::Worker {
                cgroup: name.to_owned(),
                worker: number,
                pid: worker.pid.as_raw_pid().cast_unsigned(),
                source,
                hint,
            })?;
        }
        Ok(())
    }
}

fn new_workers(def: &ResolvedDef) -> NewWorkers<'_> {
    NewWorkers {
        cgroup: &def.name,
        group: def.group,
        tasks: def.tasks.clone(),
    }
}

impl StepWorkers {
    /// Notes who works now, and on which CPUs.
    fn note(&mut self, state: &State<'_>, first: bool) {
        let names: BTreeSet<&str> = state.workers.iter().map(|it| it.cgroup.as_str()).collect();
        let cpus: BTreeMap<&str, CpuSet> = names
            .into_iter()
            .map(|name| (name, state.effective(name)))
            .collect();
        for (position, worker) in state.workers.iter().enumerate() {
            if worker.ended {
                continue;
            }
            let now = &cpus[worker.cgroup.as_str()];
            let entry = self
                .workers
                .entry(position)
                .or_insert_with(|| (worker.cgroup.clone(), CpuSet::default(), first));
            entry.1 = entry.1.union(now);
        }
    }
}

/// Sorts what workers left by cgroups.
fn finished(ended: Ended, present_in_steps: Vec<StepWorkers>) -> Finished {
    let Ended {
        runs,
        oom_kills,
        programs,
    } = ended;
    let of_steps = present_in_steps
        .into_iter()
        .enumerate()
        .map(|(account, present)| (present.step, of_step(&runs, &present, account)))
        .collect();
    let mut whole = Groups::default();
    for (worker, run) in runs {
        let kills = oom_kills.get(&worker.home).copied().unwrap_or(0);
        whole.add(&worker.home, worker.work, &worker.allowed, run.whole, kills);
    }
    Finished {
        whole: whole.0,
        of_steps,
        programs,
    }
}

fn of_step(runs: &[(Worker, SteppedRun)], present: &StepWorkers, account: usize) -> Vec<CgroupRun> {
    let mut groups = Groups::default();
    for (position, (cgroup, cpus, from_the_beginning)) in &present.workers {
        let (worker, run) = &runs[*position];
        // Of a worker that left no report the whole tells.
        let WorkerEnd::Reported(_) = run.whole.end else {
            continue;
        };
        let report = match run.steps.get(account).cloned().flatten() {
            Some(report) => report,
            None if *from_the_beginning => idle(present.hold),
            None => continue,
        };
        let run = WorkerRun {
            iterations: report.iterations,
            end: WorkerEnd::Reported(report),
            ..run.whole.clone()
        };
        groups.add(cgroup, worker.work, cpus, run, 0);
    }
    groups.0
}

/// The report of a worker that ended no iteration in a step.
fn idle(hold: Duration) -> WorkerReport {
    let ns = u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX);
    WorkerReport {
        wall_ns: ns,
        max_gap_ns: ns,
        ..WorkerReport::default()
    }
}

/// Runs by cgroup, in the order in which cgroups come up.
#[derive(Default)]
struct Groups(Vec<CgroupRun>);

impl Groups {
    fn add(
        &mut self,
        cgroup: &str,
        work: WorkType,
        cpus: &CpuSet,
        worker: WorkerRun,
        oom_kills: u64,
    ) {
        let position = self.0.iter().position(|run| run.name == cgroup);
        let position = position.unwrap_or_else(|| {
            self.0.push(CgroupRun {
                name: cgroup.to_owned(),
                work_type: work.name().to_owned(),
                oom_kills,
                ..CgroupRun::default()
            });
            self.0.len() - 1
        });
        let run = &mut self.0[position];
        if run.work_type != work.name() {
            "mixed_types".clone_into(&mut run.work_type);
        }
        run.cpus = run.cpus.union(cpus);
        let number = run.workers.len();
        run.workers.push(WorkerRun {
            worker: number,
            ..worker
        });
    }
}
