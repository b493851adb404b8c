//! Work types with parameters that suit most tests.

use std::time::Duration;

use super::WorkType;

impl WorkType {
    /// [`WorkType::Bursty`] with 10 ms of CPU time and 20 ms of sleep: a third of a CPU.
    #[must_use]
    pub const fn bursty() -> Self {
        Self::Bursty {
            busy: Duration::from_millis(10),
            sleep: Duration::from_millis(20),
        }
    }

    /// [`WorkType::Mixed`] with 64 work units (a few hundred microseconds on hardware) and 1 ms of
    /// sleep.
    #[must_use]
    pub const fn mixed() -> Self {
        Self::Mixed {
            work_units: 64,
            sleep: Duration::from_millis(1),
        }
    }

    /// [`WorkType::AluHot`] with 16 work units, as many as an iteration of [`WorkType::Spin`].
    #[must_use]
    pub const fn alu_hot() -> Self {
        Self::AluHot { work_units: 16 }
    }

    /// [`WorkType::WakeChain`] of four workers and 4 work units at each hop.
    #[must_use]
    pub const fn wake_chain() -> Self {
        Self::WakeChain {
            length: 4,
            work_units: 4,
        }
    }

    /// [`WorkType::FanOut`] to three receivers with 4 work units each.
    #[must_use]
    pub const fn fan_out() -> Self {
        Self::FanOut {
            receivers: 3,
            work_units: 4,
        }
    }

    /// [`WorkType::PipeIo`] with messages of 64 bytes.
    #[must_use]
    pub const fn pipe_io() -> Self {
        Self::PipeIo { bytes: 64 }
    }

    /// [`WorkType::SocketTraffic`] with messages of 1024 bytes.
    #[must_use]
    pub const fn socket_traffic() -> Self {
        Self::SocketTraffic { bytes: 1024 }
    }

    /// [`WorkType::ForkExit`] with children of 4 work units.
    #[must_use]
    pub const fn fork_exit() -> Self {
        Self::ForkExit { work_units: 4 }
    }

    /// [`WorkType::CgroupAttachStorm`] with 16 work units between two moves.
    #[must_use]
    pub const fn cgroup_attach_storm() -> Self {
        Self::CgroupAttachStorm { work_units: 16 }
    }

    /// [`WorkType::AffinityChurn`] with 64 work units on each CPU.
    #[must_use]
    pub const fn affinity_churn() -> Self {
        Self::AffinityChurn { work_units: 64 }
    }

    /// [`WorkType::NiceChurn`] with 64 work units with each value.
    #[must_use]
    pub const fn nice_churn() -> Self {
        Self::NiceChurn { work_units: 64 }
    }

    /// [`WorkType::PolicyChurn`] with 64 work units with each policy.
    #[must_use]
    pub const fn policy_churn() -> Self {
        Self::PolicyChurn { work_units: 64 }
    }

    /// [`WorkType::PreemptStorm`] at 500 microseconds.
    #[must_use]
    pub const fn preempt_storm() -> Self {
        Self::PreemptStorm {
            interval: Duration::from_micros(500),
        }
    }

    /// [`WorkType::RtStarvation`] with bursts of 40 ms, 10 ms apart.
    #[must_use]
    pub const fn rt_starvation() -> Self {
        Self::RtStarvation {
            busy: Duration::from_millis(40),
            sleep: Duration::from_millis(10),
        }
    }

    /// [`WorkType::PriorityInversion`] with a lock that is held for 2 ms.
    #[must_use]
    pub const fn priority_inversion(inherit: bool) -> Self {
        Self::PriorityInversion {
            hold: Duration::from_millis(2),
            inherit,
        }
    }

    /// [`WorkType::MutexContention`] with 16 work units with the lock, and 16 without.
    #[must_use]
    pub const fn mutex_contention() -> Self {
        Self::MutexContention {
            held_units: 16,
            free_units: 16,
        }
    }

    /// [`WorkType::CachePressure`] with 1024 KiB.
    #[must_use]
    pub const fn cache_pressure() -> Self {
        Self::CachePressure { kib: 1024 }
    }

    /// [`WorkType::PageFaults`] with 64 pages.
    #[must_use]
    pub const fn page_faults() -> Self {
        Self::PageFaults { pages: 64 }
    }

    /// [`WorkType::NumaSweep`] with 20 ms on each node.
    #[must_use]
    pub const fn numa_sweep() -> Self {
        Self::NumaSweep {
            dwell: Duration::from_millis(20),
        }
    }

    /// [`WorkType::TimerWake`] at 1 ms.
    #[must_use]
    pub const fn timer_wake() -> Self {
        Self::TimerWake {
            interval: Duration::from_millis(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_within_their_bounds() {
        for work in [
            WorkType::bursty(),
            WorkType::mixed(),
            WorkType::alu_hot(),
            WorkType::wake_chain(),
            WorkType::fan_out(),
            WorkType::pipe_io(),
            WorkType::socket_traffic(),
            WorkType::fork_exit(),
            WorkType::cgroup_attach_storm(),
            WorkType::affinity_churn(),
            WorkType::nice_churn(),
            WorkType::policy_churn(),
            WorkType::preempt_storm(),
            WorkType::rt_starvation(),
            WorkType::priority_inversion(false),
            WorkType::mutex_contention(),
            WorkType::cache_pressure(),
            WorkType::page_faults(),
            WorkType::numa_sweep(),
            WorkType::timer_wake(),
        ] {
            assert_eq!(work.validate(), Ok(()));
        }
    }
}
