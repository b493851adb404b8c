//! What there is while steps run: cgroups, workers, CPUs that are offline.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::CpuSet;
use rustix::process::Pid;

use super::super::home::Home;
use super::error::{OpError, StepProblem};
use super::plan::ROOT;
use super::programs::Programs;
use crate::cgroup::{CgroupTree, ResolvedDef};
use crate::cpu_map::CpuMap;
use crate::payload::Running;
use crate::workload::{Launch, SteppedRun, Storm, TaskSettings, WorkType, WorkerGroup, WorkerPool};

/// How long workers may take to end after they were told to: they have to be scheduled once more.
pub(super) const END_LIMIT: Duration = WorkerPool::GRACE;

/// How long a cgroup may take to be frozen: each of its tasks has to be scheduled once more.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

/// A cgroup that is there.
pub(super) struct LiveCgroup {
    pub(super) home: Home,
    /// The CPUs that it was given; `None` where it has those of its parent.
    pub(super) cpus: Option<CpuSet>,
    /// Workers of its definition, and how they are scheduled.
    pub(super) group: WorkerGroup,
    pub(super) tasks: TaskSettings,
}

/// A worker that was started.
pub(super) struct Worker {
    /// Its pool, and its position there.
    pub(super) pool: usize,
    pub(super) index: usize,
    pub(super) pid: Pid,
    /// Which of the pool's groups it shares a process with; `None` where it has its own.
    pub(super) process: Option<usize>,
    /// The cgroup that it was started in.
    pub(super) home: String,
    pub(super) work: WorkType,
    /// The cgroup that it is in.
    pub(super) cgroup: String,
    pub(super) ended: bool,
    /// The CPUs that it could use at some time.
    pub(super) allowed: CpuSet,
}

/// Workers that are to be started.
pub(super) struct NewWorkers<'a> {
    pub(super) cgroup: &'a str,
    pub(super) group: WorkerGroup,
    pub(super) tasks: TaskSettings,
}

/// The whole scenario as it is now. Dropping it ends all workers, removes all cgroups and takes all CPUs online.
pub(super) struct State<'a> {
    pub(super) tree: &'a CgroupTree,
    pub(super) cpus: CpuMap,
    /// How many steps have accounts, and which one is open, from 1.
    pub(super) accounts: usize,
    pub(super) account: usize,
    /// How long workers would run if nothing ended them.
    pub(super) longest: Duration,
    // The order matters: programs and workers are gone before their cgroups are removed.
    pub(super) programs: Vec<Running>,
    pub(super) pools: Vec<WorkerPool>,
    pub(super) workers: Vec<Worker>,
    /// By name; those within others come later.
    pub(super) cgroups: BTreeMap<String, LiveCgroup>,
    /// Processes that the kernel killed for lack of memory, by the cgroup that they were in.
    pub(super) oom_kills: BTreeMap<String, u64>,
    pub(super) offline: Offline,
    /// The test's duration, and when its programs must have ended.
    pub(super) duration: Duration,
    pub(super) deadline: Instant,
    /// The step that is carried out, as messages end with it.
    pub(super) place: String,
    pub(super) ended_programs: Programs,
}

impl State<'_> {
    /// The CPUs that a cgroup's workers may use.
    pub(super) fn effective(&self, name: &str) -> CpuSet {
        let all = self.cpus.cpus(&self.cpus.topology().all_cpus());
        if name == ROOT {
            return all;
        }
        let parent = match name.rsplit_once('/') {
            Some((outer, _)) => self.effective(outer),
            None => all,
        };
        let own = self.cgroups.get(name).and_then(|it| it.cpus.as_ref());
        own.map_or_else(|| parent.clone(), |own| own.intersection(&parent))
    }

    /// Positions of the workers that are in a cgroup now, the oldest first.
    pub(super) fn in_cgroup(&self, name: &str) -> Vec<usize> {
        let all = self.workers.iter().enumerate();
        let here = all.filter(|(_, worker)| worker.cgroup == name && !worker.ended);
        here.map(|(position, _)| position).collect()
    }

    /// Makes the cgroup of a definition, without its workers.
    pub(super) fn make(&mut self, def: &ResolvedDef) -> Result<(), StepProblem> {
        let cgroup = match def.name.rsplit_once('/') {
            None => self.tree.create(&def.name)?,
            Some((outer, inner)) => {
                let outer = self.live(outer)?;
                let tree = CgroupTree::within(&outer.home.cgroup);
                tree.enable_controllers(&[])?;
                tree.create(inner)?
            }
        };
        super::super::configure(&cgroup, def)?;
        let live = LiveCgroup {
            home: Home::new(cgroup),
            cpus: def.confined.then(|| def.cpus.clone()),
            group: def.group,
            tasks: def.tasks.clone(),
        };
        self.cgroups.insert(def.name.clone(), live);
        Ok(())
    }

    /// A cgroup that is there. The plan says that it is; a removal that the kernel refused in the middle may have taken
    /// it away.
    pub(super) fn live(&self, name: &str) -> Result<&LiveCgroup, OpError> {
        let gone = || OpError::Gone(name.to_owned());
        self.cgroups.get(name).ok_or_else(gone)
    }

    /// Starts workers, all at once.
    pub(super) fn spawn(&mut self, new: &[NewWorkers<'_>]) -> Result<(), StepProblem> {
        let new: Vec<&NewWorkers<'_>> = new.iter().filter(|new| new.group.workers > 0).collect();
        let groups: Vec<WorkerGroup> = new.iter().map(|it| it.group).collect();
        let alive = self.workers.iter().filter(|worker| !worker.ended).count();
        let more: usize = groups.iter().map(|group| group.workers).sum();
        if more == 0 {
            return Ok(());
        }
        if alive + more > WorkerPool::MAX_WORKERS {
            return Err(crate::workload::WorkloadError::TooMany(alive + more).into());
        }
        let mut storms = Vec::with_capacity(groups.len());
        for new in &new {
            storms.push(self.prepare(new)?);
        }
        let mut pool = WorkerPool::fork_all(&Launch {
            groups: &groups,
            storms: &storms,
            cpus: self.cpus,
            steps: self.accounts,
        })?;
        let mut started = Vec::with_capacity(more);
        for (index, id) in pool.workers().enumerate() {
            let of = new[id.group];
            let Some(pid) = Pid::from_raw(id.pid.cast_signed()) else {
                continue;
            };
            self.attach(of.cgroup, pid)?;
            let set = of.tasks.apply(pid, id.worker, self.cpus);
            set.map_err(|refused| OpError::Worker {
                cgroup: of.cgroup.to_owned(),
                worker: id.worker,
                pid: id.pid,
                source: refused.source,
                hint: refused.hint,
            })?;
            started.push(Worker {
                pool: self.pools.len(),
                index,
                pid,
                process: of.group.threads.then_some(id.group),
                home: of.cgroup.to_owned(),
                work: of.group.work,
                cgroup: of.cgroup.to_owned(),
                ended: false,
                allowed: self.effective(of.cgroup),
            });
        }
        pool.begin_step(self.account);
        pool.release(self.longest);
        self.pools.push(pool);
        self.workers.extend(started);
        Ok(())
    }

    /// Makes what the work of new workers needs of their cgroup.
    fn prepare(&mut self, new: &NewWorkers<'_>) -> Result<Option<Storm>, StepProblem> {
        match self.cgroups.get_mut(new.cgroup) {
            Some(live) => Ok(live.home.prepare(new.group.work)?),
            None => Ok(None),
        }
    }

    /// Moves a process into a cgroup.
    pub(super) fn attach(&self, name: &str, pid: Pid) -> Result<(), StepProblem> {
        if name == ROOT {
            return Ok(self.tree.attach_to_root(pid.as_raw_pid().cast_unsigned())?);
        }
        Ok(self.live(name)?.home.attach(pid)?)
    }

    /// Ends workers, by their positions, and waits until they have.
    pub(super) fn stop(&mut self, positions: &[usize]) -> Result<(), StepProblem> {
        let mut by_pool: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for position in positions {
            let worker = &mut self.workers[*position];
            worker.ended = true;
            by_pool.entry(worker.pool).or_default().push(worker.index);
        }
        for (pool, indices) in &by_pool {
            self.pools[*pool].stop_workers(indices.iter().copied());
        }
        for (pool, indices) in &by_pool {
            if !self.pools[*pool].await_ended(indices, END_LIMIT) {
                let first = positions.first().map(|first| &self.workers[*first]);
                return Err(OpError::StillRunning {
                    cgroup: first.map_or_else(String::new, |worker| worker.cgroup.clone()),
                    seconds: END_LIMIT.as_secs(),
                }
                .into());
            }
        }
        Ok(())
    }

    /// Ends the workers of a cgroup and removes it.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), StepProblem> {
        let live = self.live(name)?;
        // Frozen workers cannot end.
        live.home.cgroup.set_frozen(false)?;
        self.stop(&self.in_cgroup(name))?;
        if let Some(live) = self.cgroups.remove(name) {
            *self.oom_kills.entry(name.to_owned()).or_default() += live.home.cgroup.oom_kills();
            live.home.remove()?;
        }
        Ok(())
    }

    /// Waits until all of a cgroup is frozen.
    pub(super) fn await_frozen(&self, name: &str) -> Result<(), StepProblem> {
        let begin = Instant::now();
        while !self.live(name)?.home.cgroup.is_frozen()? {
            if begin.elapsed() > FREEZE_LIMIT {
                return Err(OpError::NotFrozen {
                    cgroup: name.to_owned(),
                    seconds: FREEZE_LIMIT.as_secs(),
                }
                .into());
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Notes which CPUs workers may use now, beside those that they could use before.
    pub(super) fn note_allowed(&mut self) {
        let names: BTreeSet<String> = self.workers.iter().map(|it| it.cgroup.clone()).collect();
        let allowed: BTreeMap<String, CpuSet> = names
            .into_iter()
            .map(|name| (name.clone(), self.effective(&name)))
            .collect();
        for worker in self.workers.iter_mut().filter(|worker| !worker.ended) {
            worker.allowed = worker.allowed.union(&allowed[&worker.cgroup]);
        }
    }

    /// Ends everything in order: workers report, cgroups are removed, CPUs are online.
    pub(super) fn finish(mut self) -> Result<Ended, StepProblem> {
        for live in self.cgroups.values() {
            live.home.cgroup.set_frozen(false)?;
        }
        self.stop_programs()?;
        for pool in &self.pools {
            pool.end();
        }
        let mut runs: Vec<Vec<Option<SteppedRun>>> = Vec::with_capacity(self.pools.len());
        for pool in self.pools.drain(..) {
            let run = pool.collect_steps(END_LIMIT);
            runs.push(run.into_iter().map(Some).collect());
        }
        while let Some((name, live)) = self.cgroups.pop_last() {
            *self.oom_kills.entry(name).or_default() += live.home.cgroup.oom_kills();
            live.home.remove()?;
        }
        self.offline.restore()?;
        let programs = std::mem::take(&mut self.ended_programs);
        let oom_kills = std::mem::take(&mut self.oom_kills);
        let workers = std::mem::take(&mut self.workers).into_iter();
        let runs = workers.filter_map(|worker| {
            let run = runs[worker.pool][worker.index].take()?;
            Some((worker, run))
        });
        Ok(Ended {
            runs: runs.collect(),
            oom_kills,
            programs,
        })
    }
}

impl Drop for State<'_> {
    fn drop(&mut self) {
        self.programs.clear();
        self.pools.clear();
        // Inner cgroups before outer ones.
        while self.cgroups.pop_last().is_some() {}
    }
}

/// The workers of a scenario that ended.
pub(super) struct Ended {
    /// The workers in the order in which they were started.
    pub(super) runs: Vec<(Worker, SteppedRun)>,
    pub(super) oom_kills: BTreeMap<String, u64>,
    pub(super) programs: Programs,
}

/// CPUs that were taken offline. Dropping it takes them online.
#[derive(Default)]
pub(super) struct Offline(BTreeSet<u32>);

impl Offline {
    pub(super) fn set(&mut self, cpu: u32, online: bool) -> Result<(), OpError> {
        let path = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online"));
        let value = if online { "1" } else { "0" };
        fs::write(&path, value).map_err(|source| OpError::Cpu {
            path: path.display().to_string(),
            value,
            hint: match source.kind() {
                std::io::ErrorKind::NotFound => {
                    "; the kernel needs CONFIG_HOTPLUG_CPU, and the first CPU often cannot go"
                }
                _ => "",
            },
            source,
        })?;
        if online {
            self.0.remove(&cpu);
        } else {
            self.0.insert(cpu);
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<(), OpError> {
        while let Some(cpu) = self.0.first().copied() {
            self.set(cpu, true)?;
        }
        Ok(())
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        let _ = self.restore();
    }
}
