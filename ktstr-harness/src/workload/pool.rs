//! Starts worker processes, releases them all at once, and collects their reports.

mod launch;
mod members;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use ktstr_core::Topology;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, setpriority_process};
use rustix::thread::futex;

use self::members::Member;
use super::clock::nanoseconds;
use super::os::Shared;
use super::report::{WorkerEnd, WorkerReport, WorkerRun};
use super::slot::{Cell, Cells, Control, Slot, Stop};
use super::storm::Storm;
use super::{MemoryPolicy, WorkType, WorkloadError, clock, kinds};
use crate::cpu_map::CpuMap;

/// Workers that do the same thing.
///
/// ```
/// use ktstr_harness::workload::{WorkType, WorkerGroup};
///
/// let pair = WorkerGroup::of(WorkType::FutexPingPong, 2);
/// let same_process = WorkerGroup { threads: true, ..pair };
/// assert_ne!(pair, same_process);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerGroup {
    /// What they do.
    pub work: WorkType,
    /// How many they are.
    pub workers: usize,
    /// Whether they are threads of one process, instead of a process each.
    pub threads: bool,
    /// From which NUMA nodes their memory comes; `None` leaves that to the kernel.
    pub memory: Option<MemoryPolicy>,
}

impl WorkerGroup {
    /// So many processes that do this.
    pub const fn of(work: WorkType, workers: usize) -> Self {
        Self {
            work,
            workers,
            threads: false,
            memory: None,
        }
    }
}

/// What a pool is made of.
pub(crate) struct Launch<'a> {
    pub(crate) groups: &'a [WorkerGroup],
    /// By group: where those move that move themselves between cgroups.
    pub(crate) storms: &'a [Option<Storm>],
    pub(crate) cpus: CpuMap,
    /// How many steps each worker keeps an account of, see [`WorkerPool::begin_step`].
    pub(crate) steps: usize,
}

/// Which worker of a pool a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerId {
    /// Index of its group.
    pub group: usize,
    /// Number within the group.
    pub worker: usize,
    /// Process id; of a worker that is a thread, that of the thread.
    pub pid: u32,
}

/// Worker processes, from the fork to the reports. Dropping it kills those that are left.
#[derive(Debug)]
pub struct WorkerPool {
    members: Vec<Member>,
    groups: usize,
    cpus: CpuMap,
    /// End of file once no worker is left: each holds the other end.
    gone: OwnedFd,
    control: Shared<Control>,
    team_cells: Shared<Cell>,
    stops: Shared<Stop>,
    /// Accounts of whole runs.
    slots: Shared<Slot>,
    /// Accounts of steps, those of a worker one after the other.
    step_slots: Shared<Slot>,
    steps: usize,
}

/// What became of a worker, over its whole run and in each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SteppedRun {
    /// Index of its group.
    pub(crate) group: usize,
    /// The whole run.
    pub(crate) whole: WorkerRun,
    /// Its reports of steps; none of one in which it ended no iteration.
    pub(crate) steps: Vec<Option<WorkerReport>>,
}

impl WorkerPool {
    /// Most workers of one pool.
    pub const MAX_WORKERS: usize = 4096;

    /// How long after the end of a run a worker may take to end: it has to be scheduled once more.
    pub const GRACE: Duration = Duration::from_secs(10);

    const START_LIMIT: Duration = Duration::from_secs(30);
    const KILL_LIMIT: Duration = Duration::from_secs(5);

    /// Makes the processes; they wait for [`WorkerPool::release`].
    ///
    /// `topology` says which CPUs are on which NUMA node.
    pub fn fork(groups: &[WorkerGroup], topology: Topology) -> Result<Self, WorkloadError> {
        Self::fork_watched(groups, topology.into(), &mut || {})
    }

    /// The same; where not all workers become ready in time, calls `late` while their processes still exist.
    pub(crate) fn fork_watched(
        groups: &[WorkerGroup],
        cpus: CpuMap,
        late: &mut dyn FnMut(),
    ) -> Result<Self, WorkloadError> {
        let launch = Launch {
            groups,
            storms: &[],
            cpus,
            steps: 0,
        };
        let (mut pool, held) = Self::launch(&launch)?;
        pool.await_all(held, late).map(|()| pool)
    }

    /// Makes the processes of a scenario.
    pub(crate) fn fork_all(launch: &Launch<'_>) -> Result<Self, WorkloadError> {
        let (mut pool, held) = Self::launch(launch)?;
        pool.await_all(held, &mut || {}).map(|()| pool)
    }

    /// Waits until all are ready, and notes which threads they are. `held` is the parent's copy of the pipe that each of
    /// them holds.
    fn await_all(&mut self, held: OwnedFd, late: &mut dyn FnMut()) -> Result<(), WorkloadError> {
        drop(held);
        let ready = self.await_ready();
        if let Err(WorkloadError::NotReady { .. }) = ready {
            late();
        }
        for (member, slot) in self.members.iter_mut().zip(&*self.slots) {
            if let Some(tid) = Pid::from_raw(slot.tid.load(Relaxed).cast_signed()) {
                member.tid = tid;
            }
        }
        ready
    }

    /// The processes, in the order of groups and numbers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.members.iter().map(|member| WorkerId {
            group: member.group,
            worker: member.worker,
            pid: member.raw_tid(),
        })
    }

    /// Sets the nice value of all workers of a group, -20 (most CPU time) to 19.
    pub fn set_nice(&self, group: usize, nice: i32) -> Result<(), WorkloadError> {
        for member in self.members.iter().filter(|member| member.group == group) {
            setpriority_process(Some(member.tid), nice).map_err(|source| WorkloadError::Nice {
                pid: member.raw_tid(),
                nice,
                source: source.into(),
            })?;
        }
        Ok(())
    }

    /// Starts all workers at once; they end by themselves when `duration` is over.
    pub fn release(&mut self, duration: Duration) {
        let control = &self.control[0];
        let now = clock::monotonic_ns();
        control.released_ns.store(now, Relaxed);
        control
            .deadline_ns
            .store(now.saturating_add(nanoseconds(duration)), Relaxed);
        control.go.store(1, Release);
        wake_all(&control.go);
    }

    /// Lets all workers end now, whatever was said at the release.
    pub(crate) fn end(&self) {
        let control = &self.control[0];
        control.deadline_ns.store(clock::monotonic_ns(), Relaxed);
        self.stop();
    }

    /// Step `number`, from 1, begins: what workers do from now on also counts for it, until another one begins. With 0,
    /// no step does.
    pub(crate) fn begin_step(&self, number: usize) {
        let number = u32::try_from(number).unwrap_or(0);
        self.control[0].step.store(number, Release);
    }

    /// Tells workers, by their position among all of the pool, to end.
    pub(crate) fn stop_workers(&self, workers: impl IntoIterator<Item = usize>) {
        for cell in workers
            .into_iter()
            .filter_map(|index| self.stops.get(index))
        {
            cell.now.store(1, Release);
            wake_all(&cell.now);
        }
        self.team_cells.iter().for_each(|cell| wake_all(&cell.word));
    }

    /// Waits until these workers have ended; false where some still run after `limit`.
    pub(crate) fn await_ended(&mut self, workers: &[usize], limit: Duration) -> bool {
        let slots = &self.slots;
        let is_through = |index: usize| slots[index].has_ended();
        members::reap_some_within(&mut self.members, workers, limit, is_through)
    }

    /// How many loop iterations each worker has done so far.
    pub fn progress(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().map(|slot| slot.iterations.load(Relaxed))
    }

    /// Waits for the end of the run and returns how each worker ended, by group.
    ///
    /// Returns `grace` and a few seconds after the end at the latest: a worker that still runs then is killed and
    /// reported as [`WorkerEnd::Stuck`]. A pool that was not released is ended at once.
    #[must_use]
    pub fn collect(self, grace: Duration) -> Vec<Vec<WorkerRun>> {
        let mut runs = vec![Vec::new(); self.groups];
        for run in self.collect_steps(grace) {
            runs[run.group].push(run.whole);
        }
        runs
    }

    /// The same, worker by worker, with what each did in every step.
    pub(crate) fn collect_steps(mut self, grace: Duration) -> Vec<SteppedRun> {
        let control = &self.control[0];
        let grace_ns = nanoseconds(grace);
        if control.go.load(Relaxed) == 0 {
            self.release(Duration::ZERO);
        }
        let deadline = self.control[0].deadline_ns.load(Relaxed);
        self.await_gone(deadline.saturating_add(grace_ns));
        self.stop();
        // All have closed the pipe, or time is up.
        let left = clock::monotonic_ns() < deadline.saturating_add(grace_ns);
        let limit = if left {
            Self::KILL_LIMIT
        } else {
            Duration::ZERO
        };
        members::reap_within(&mut self.members, limit);
        let silent_until = clock::monotonic_ns();
        let ends = self.members.iter().zip(&*self.slots);
        let stuck: Vec<bool> = ends
            .map(|(member, slot)| member.is_running() && !(member.is_thread && slot.has_ended()))
            .collect();
        members::kill_within(&mut self.members, Self::KILL_LIMIT);

        let mut runs = Vec::with_capacity(self.members.len());
        for (number, (member, stuck)) in self.members.iter().zip(stuck).enumerate() {
            let slot = &self.slots[number];
            let iterations = slot.iterations.load(Relaxed);
            let end = if stuck {
                WorkerEnd::Stuck {
                    grace_ns,
                    silent_ns: silent_until.saturating_sub(slot.runnable_ns.load(Relaxed)),
                    last_cpu: (iterations > 0).then(|| slot.last_cpu.load(Relaxed)),
                }
            } else {
                member.end(slot, self.cpus)
            };
            let counts = kinds::counts(&member.work);
            let of_step = |slot| WorkerReport::read(slot, self.cpus, counts).ok();
            runs.push(SteppedRun {
                group: member.group,
                whole: WorkerRun {
                    worker: member.worker,
                    pid: member.raw_tid(),
                    iterations,
                    end,
                },
                steps: self.steps_of(number).iter().map(of_step).collect(),
            });
        }
        runs
    }

    /// The accounts of steps of a worker.
    fn steps_of(&self, worker: usize) -> &[Slot] {
        &self.step_slots[worker * self.steps..(worker + 1) * self.steps]
    }

    fn await_ready(&mut self) -> Result<(), WorkloadError> {
        const STEP_NS: u64 = 100_000_000;
        let limit = clock::monotonic_ns() + nanoseconds(Self::START_LIMIT);
        let workers = self.members.len();
        loop {
            let ready = self.control[0].ready.load(Acquire);
            if ready as usize >= workers {
                return Ok(());
            }
            let step = clock::timespec(STEP_NS);
            let ready_cell = &self.control[0].ready;
            // Woken, changed or timed out: look again in each case.
            if futex::wait(ready_cell, futex::Flags::empty(), ready, Some(&step))
                == Err(Errno::TIMEDOUT)
            {
                members::reap(&mut self.members);
                let dead = self.members.iter().filter(|m| !m.is_running()).count();
                // Those that died already are part of the result, not a reason to wait.
                if self.control[0].ready.load(Acquire) as usize + dead >= workers {
                    return Ok(());
                }
            }
            if clock::monotonic_ns() > limit {
                return Err(WorkloadError::NotReady {
                    ready: ready as usize,
                    workers,
                    seconds: Self::START_LIMIT.as_secs(),
                });
            }
        }
    }

    /// Waits until no worker is left, or until `limit_ns`.
    fn await_gone(&self, limit_ns: u64) {
        loop {
            let left = limit_ns.saturating_sub(clock::monotonic_ns());
            let mut fds = [PollFd::new(&self.gone, PollFlags::IN)];
            match poll(&mut fds, Some(&clock::timespec(left))) {
                Err(Errno::INTR) => {}
                // Workers never write: an event is the end of file.
                _ => return,
            }
        }
    }

    fn stop(&self) {
        self.stop_workers(0..self.members.len());
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        members::kill_within(&mut self.members, Self::KILL_LIMIT);
    }
}

fn wake_all(word: &std::sync::atomic::AtomicU32) {
    // The kernel reads the number as an `int`: u32::MAX would be -1.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX.cast_unsigned());
}
