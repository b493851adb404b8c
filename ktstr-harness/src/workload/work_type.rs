//! What a worker does, as data.

mod error;
mod usual;

use std::time::Duration;

use super::kinds::{self, CustomFn};

pub use error::WorkTypeError;

/// What the workers of a cgroup do, each a known pressure on a scheduler.
///
/// A *work unit* is 1024 rounds of integer arithmetic, a few microseconds on hardware; an *iteration* is one pass of a
/// worker's loop, after which it records time and CPU and checks whether the run is over. A *latency* is a time that a
/// worker could have run and did not yet, from a moment that the work type names; the checks of wake-up latency judge it.
/// Some work types need workers in teams, which are neighbours in number: [`WorkType::team`]. What they count beside is
/// [`WorkerReport::counts`](super::WorkerReport::counts).
///
/// ```
/// use std::time::Duration;
/// use ktstr_harness::workload::WorkType;
///
/// let server = WorkType::Bursty {
///     busy: Duration::from_millis(5),
///     sleep: Duration::from_millis(20),
/// };
/// assert!(server.validate().is_ok());
/// assert_eq!(WorkType::wake_chain().team(8), 4);
/// assert_eq!(WorkType::default(), WorkType::Spin);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    unpredictable_function_pointer_comparisons,
    reason = "two custom functions of the same code may count as equal: they do the same"
)]
#[non_exhaustive]
pub enum WorkType {
    /// Computes without yielding: shows whether time is shared fairly and whether load spreads over the CPUs.
    ///
    /// One iteration is 16 work units.
    #[default]
    Spin,
    /// One work unit, then `sched_yield`: the path of voluntary switches, with the runqueue always
    /// full.
    Yield,
    /// Pairs of workers take turns through a futex in shared memory: the path of synchronous wake-ups, CPU selection on
    /// wake-up, and wake-up latency.
    ///
    /// One iteration is one turn: a work unit, then `FUTEX_WAKE`. Needs an even number of workers.
    /// A latency is the time from just before the partner's `FUTEX_WAKE` until the woken worker runs;
    /// turns that came before the worker had gone to sleep count as no wake-up.
    FutexPingPong,
    /// Uses the CPU for a time, sleeps for a time: load that comes and goes, so that idle CPUs have
    /// to be found again and again.
    ///
    /// One iteration is 4 work units; `busy` is measured in CPU time, so that a worker that was
    /// preempted still does all of it. A latency is the time from the timer's expiry until the
    /// worker runs.
    Bursty {
        /// CPU time of one burst, 1 microsecond to 60 s.
        busy: Duration,
        /// Sleep between bursts, 1 microsecond to 60 s.
        sleep: Duration,
    },
    /// A fixed amount of work, then a short sleep: requests that are served one after another, which
    /// get interactive treatment from most schedulers.
    ///
    /// One iteration is one request. A latency is the time from the timer's expiry until the worker
    /// runs.
    Mixed {
        /// Work units of a request, 1 to 1 000 000.
        work_units: u32,
        /// Sleep between requests, 1 microsecond to 60 s.
        sleep: Duration,
    },
    /// Independent multiplications that keep all units of a core busy: two such workers on the siblings of a core slow each
    /// other down, so that the placement over cores shows in the work rate (`select_idle_core`).
    ///
    /// One iteration is `work_units`.
    AluHot {
        /// Work units of an iteration, 1 to 1 000 000.
        work_units: u32,
    },
    /// Rings of workers, each of which is woken by the one before, works, and wakes the next: one task of each ring is
    /// runnable at a time, and where it runs is decided anew at every hop (`wake_affine`, `ops.select_cpu`).
    ///
    /// One iteration is one hop. A latency is the time from just before the `FUTEX_WAKE` until the woken worker runs. Needs
    /// a multiple of `length` workers.
    WakeChain {
        /// Workers of a ring, 2 to 64.
        length: u32,
        /// Work units of a hop, 1 to 1 000 000.
        work_units: u32,
    },
    /// A worker wakes `receivers` others at once, waits until all have done their part, and does it again: several idle CPUs
    /// have to be found before any of the woken runs (`wake_up_q`).
    ///
    /// One iteration is one round of each of them. A latency is that of each receiver, and of the first worker when the
    /// last receiver is through. Needs a multiple of `receivers + 1` workers.
    FanOut {
        /// Workers that one other wakes, 1 to 63.
        receivers: u32,
        /// Work units of each receiver in a round, 1 to 1 000 000.
        work_units: u32,
    },
    /// Pairs of workers send each other a message through pipes: the path of wake-ups whose waker says that it is about to
    /// sleep (`WF_SYNC`).
    ///
    /// One iteration is one message, and one work unit. A latency is the time from just before the partner's `write` until
    /// the worker has read. Counts `bytes`. Needs an even number of workers.
    PipeIo {
        /// Length of a message, 1 to 16384 bytes.
        bytes: u32,
    },
    /// Forks a child that works and ends, and waits for it: the path of tasks that come and go (`wake_up_new_task`,
    /// `ops.init_task`, `ops.exit_task`).
    ///
    /// One iteration is one child. A latency is the time from just before `fork` until the child runs. That the worker
    /// waits for its child counts as a gap: nobody else holds it up. Counts `children`.
    ForkExit {
        /// Work units of a child, 1 to 1 000 000.
        work_units: u32,
    },
    /// Moves its own process to and fro between two cgroups within that of the group (`cpu_cgroup_attach`,
    /// `sched_move_task`, `ops.cgroup_move`).
    ///
    /// One iteration is one move, and `work_units`. Counts `moves`. The group needs a cgroup, which then has no process of its
    /// own: only within `one` and `other`.
    CgroupAttachStorm {
        /// Work units between two moves, 1 to 1 000 000.
        work_units: u32,
    },
    /// Pins itself to one CPU after the other, of those that its cgroup has (`__set_cpus_allowed_ptr`, `ops.set_cpumask`).
    ///
    /// One iteration is `work_units` on one CPU. A latency is the time that `sched_setaffinity` took, which returns on the
    /// new CPU. Counts `affinity_changes`.
    AffinityChurn {
        /// Work units on each CPU, 1 to 1 000 000.
        work_units: u32,
    },
    /// Gives itself one nice value after the other, 0, 5, 10 and 19: a running task is weighed anew (`set_user_nice`,
    /// `ops.set_weight`).
    ///
    /// One iteration is `work_units` with one nice value. Counts `nice_changes`. Needs the right to go back, which root has.
    NiceChurn {
        /// Work units with each value, 1 to 1 000 000.
        work_units: u32,
    },
    /// Gives itself one policy after the other: `SCHED_BATCH`, `SCHED_FIFO`, `SCHED_IDLE`, `SCHED_RR`, `SCHED_EXT` where the
    /// kernel has it, and `SCHED_OTHER`, which it ends with: a running task changes its class (`__sched_setscheduler`,
    /// `ops.enable`, `ops.disable`).
    ///
    /// One iteration is `work_units` with one policy. Counts `policy_changes`. Needs root.
    PolicyChurn {
        /// Work units with each policy, 1 to 1 000 000.
        work_units: u32,
    },
    /// Pairs on one CPU: the first worker spins, and the second, under `SCHED_FIFO`, preempts it at an interval
    /// (`wakeup_preempt` of another class, `ops.cpu_release`).
    ///
    /// One iteration is 16 work units of the first, and one of the second. A latency is that of the second. Counts
    /// `preemptions`. Needs an even number of workers, and root.
    PreemptStorm {
        /// From one preemption to the next, 1 microsecond to 60 s.
        interval: Duration,
    },
    /// Pairs on one CPU: the first worker spins, and the second, under `SCHED_FIFO`, takes the CPU away for a time: what
    /// ordinary tasks still get, and whether a scheduler takes them elsewhere (`fair_server`, `ops.cpu_release`).
    ///
    /// One iteration is 16 work units of the first, and 4 of the second. A latency is that of the second. Counts `bursts`.
    /// Needs an even number of workers, and root.
    RtStarvation {
        /// CPU time of one burst of the second, 1 microsecond to 5 s.
        busy: Duration,
        /// Sleep between bursts, 1 microsecond to 60 s.
        sleep: Duration,
    },
    /// Threes on one CPU: the first worker, of nice 10, holds a lock; the second spins; the third, under
    /// `SCHED_FIFO`, wants the lock. With inheritance the holder is boosted for as long (`rt_mutex_setprio`), which takes it
    /// out of a sched_ext scheduler; without, the third waits for what the scheduler gives the first.
    ///
    /// One iteration is one turn with the lock, and 16 work units of the second. A latency is the time that the third waited
    /// for a lock that was held. Counts `contended`, and `boosted`: how often the holder then had a real-time priority.
    /// Needs a multiple of three workers, and root.
    PriorityInversion {
        /// CPU time for which the lock is held, 1 microsecond to 1 s.
        hold: Duration,
        /// Whether the lock hands on priorities (`FUTEX_LOCK_PI`).
        inherit: bool,
    },
    /// All workers of the group want one lock: a holder that is preempted holds up all others (`futex_wait`, `futex_wake`).
    ///
    /// One iteration is one turn with the lock. A latency is the time from the unlock until a worker that waited has the
    /// lock. Counts `contended`: turns that had to be waited for.
    MutexContention {
        /// Work units with the lock, 1 to 1 000 000.
        held_units: u32,
        /// Work units without it, 1 to 1 000 000.
        free_units: u32,
    },
    /// Writes to memory of its own in far jumps: what a migration costs, and who shares a cache with whom.
    ///
    /// One iteration is 1024 cache lines, and counts as one work unit. Counts `cache_lines`.
    CachePressure {
        /// Memory of a worker, 4 to 65536 KiB.
        kib: u32,
    },
    /// Touches pages and gives them back: time in the kernel, and `mmap_lock` among the threads of one process.
    ///
    /// One iteration touches all pages once, and counts as one work unit. Counts `page_faults`, as the kernel does.
    PageFaults {
        /// Pages of 4 KiB, 1 to 16384.
        pages: u32,
    },
    /// Runs on the CPUs of one NUMA node after the other, and leaves its memory behind. On a machine of one node, it stays.
    ///
    /// One iteration is 4 work units. A latency is the time that the move to a node took. Counts `node_changes`; where pages
    /// are and how often it changed nodes is in every report.
    NumaSweep {
        /// CPU time on each node, 1 microsecond to 60 s.
        dwell: Duration,
    },
    /// One work unit at every tick of a timer of its own: wake-ups from the timer interrupt, by tasks that use next to
    /// nothing.
    ///
    /// One iteration is one period. A latency is the time from the timer's expiry until the worker runs. Counts
    /// `missed_periods`.
    TimerWake {
        /// Period, 1 microsecond to 60 s.
        interval: Duration,
    },
    /// Pairs of workers send each other a message through a Unix socket: as [`WorkType::PipeIo`], by way of
    /// `sock_def_readable`.
    ///
    /// One iteration is one message, and one work unit. A latency is the time from just before the partner's `write` until
    /// the worker has read. Counts `bytes`. Needs an even number of workers.
    SocketTraffic {
        /// Length of a message, 1 to 16384 bytes.
        bytes: u32,
    },
    /// A function of the test's own: see [`CustomWorker`](super::CustomWorker).
    Custom(CustomFn),
}

impl WorkType {
    /// Most work units of one iteration, where they can be chosen.
    pub const MAX_UNITS: u32 = 1_000_000;

    /// The name in messages and statistics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Yield => "yield",
            Self::FutexPingPong => "futex_ping_pong",
            Self::Bursty { .. } => "bursty",
            Self::Mixed { .. } => "mixed",
            Self::AluHot { .. } => "alu_hot",
            Self::WakeChain { .. } => "wake_chain",
            Self::FanOut { .. } => "fan_out",
            Self::PipeIo { .. } => "pipe_io",
            Self::ForkExit { .. } => "fork_exit",
            Self::CgroupAttachStorm { .. } => "cgroup_attach_storm",
            Self::AffinityChurn { .. } => "affinity_churn",
            Self::NiceChurn { .. } => "nice_churn",
            Self::PolicyChurn { .. } => "policy_churn",
            Self::PreemptStorm { .. } => "preempt_storm",
            Self::RtStarvation { .. } => "rt_starvation",
            Self::PriorityInversion { inherit: false, .. } => "priority_inversion",
            Self::PriorityInversion { inherit: true, .. } => "priority_inheritance",
            Self::MutexContention { .. } => "mutex_contention",
            Self::CachePressure { .. } => "cache_pressure",
            Self::PageFaults { .. } => "page_faults",
            Self::NumaSweep { .. } => "numa_sweep",
            Self::TimerWake { .. } => "timer_wake",
            Self::SocketTraffic { .. } => "socket_traffic",
            Self::Custom(_) => "custom",
        }
    }

    /// How many workers belong together, out of a group of `workers`: 1 where each is for itself.
    pub fn team(&self, workers: usize) -> usize {
        kinds::team(self, workers)
    }

    /// Whether it needs workers in pairs.
    pub fn in_pairs(&self) -> bool {
        self.team(2) == 2 && self.team(4) == 2
    }

    /// Whether its parameters are within their bounds.
    pub fn validate(&self) -> Result<(), WorkTypeError> {
        kinds::check(self)
    }

    /// Whether `workers` workers can do it.
    pub fn validate_workers(&self, workers: usize) -> Result<(), WorkTypeError> {
        self.validate()?;
        if workers == 0 || workers > super::WorkerPool::MAX_WORKERS {
            return Err(WorkTypeError::Workers(workers));
        }
        let (work, team) = (self.name(), self.team(workers));
        if workers.is_multiple_of(team) {
            Ok(())
        } else if team == 2 {
            Err(WorkTypeError::Odd { work, workers })
        } else {
            Err(WorkTypeError::Team {
                work,
                workers,
                team,
            })
        }
    }

    /// Whether it moves itself between cgroups within its own.
    pub(crate) fn moves_cgroups(&self) -> bool {
        matches!(self, Self::CgroupAttachStorm { .. })
    }
}
