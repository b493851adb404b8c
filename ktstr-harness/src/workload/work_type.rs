//! What a worker does, as data.

use std::time::Duration;

/// What the workers of a cgroup do, each a known pressure on a scheduler.
///
/// A *work unit* is 1024 rounds of integer arithmetic, a few microseconds on hardware; an *iteration* is one pass of a
/// worker's loop, after which it records time and CPU and checks whether the run is over.
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
/// assert_eq!(WorkType::default(), WorkType::Spin);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
}

/// A work type, or a number of workers for it, that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkTypeError {
    /// A time is out of bounds.
    #[error("work type {work}: {field} is {value:?}; use 1us to 60s")]
    Time {
        /// Name of the work type.
        work: &'static str,
        /// Which of its times.
        field: &'static str,
        /// What it was.
        value: Duration,
    },
    /// The amount of work is out of bounds.
    #[error("work type {work}: {value} work units; use 1 to {max}", max = WorkType::MAX_UNITS)]
    Units {
        /// Name of the work type.
        work: &'static str,
        /// What it was.
        value: u32,
    },
    /// No worker at all, or too many.
    #[error("{0} workers; use 1 to {max}", max = super::WorkerPool::MAX_WORKERS)]
    Workers(usize),
    /// A work type that needs pairs has an odd number of workers.
    #[error("work type {work}: {workers} workers cannot pair up; use an even number")]
    Odd {
        /// Name of the work type.
        work: &'static str,
        /// Workers asked for.
        workers: usize,
    },
}

impl WorkType {
    /// Most work units of one request of [`WorkType::Mixed`].
    pub const MAX_UNITS: u32 = 1_000_000;

    const SHORTEST: Duration = Duration::from_micros(1);
    const LONGEST: Duration = Duration::from_secs(60);

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

    /// The name in messages and statistics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Yield => "yield",
            Self::FutexPingPong => "futex_ping_pong",
            Self::Bursty { .. } => "bursty",
            Self::Mixed { .. } => "mixed",
        }
    }

    /// Whether it needs workers in pairs.
    pub const fn in_pairs(&self) -> bool {
        matches!(self, Self::FutexPingPong)
    }

    /// Whether its parameters are within their bounds.
    pub fn validate(&self) -> Result<(), WorkTypeError> {
        let work = self.name();
        let time = |field, value: Duration| {
            if (Self::SHORTEST..=Self::LONGEST).contains(&value) {
                Ok(())
            } else {
                Err(WorkTypeError::Time { work, field, value })
            }
        };
        match *self {
            Self::Spin | Self::Yield | Self::FutexPingPong => Ok(()),
            Self::Bursty { busy, sleep } => time("busy", busy).and(time("sleep", sleep)),
            Self::Mixed { work_units, sleep } => {
                if work_units == 0 || work_units > Self::MAX_UNITS {
                    return Err(WorkTypeError::Units {
                        work,
                        value: work_units,
                    });
                }
                time("sleep", sleep)
            }
        }
    }

    /// Whether `workers` workers can do it.
    pub fn validate_workers(&self, workers: usize) -> Result<(), WorkTypeError> {
        self.validate()?;
        if workers == 0 || workers > super::WorkerPool::MAX_WORKERS {
            Err(WorkTypeError::Workers(workers))
        } else if self.in_pairs() && !workers.is_multiple_of(2) {
            Err(WorkTypeError::Odd {
                work: self.name(),
                workers,
            })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let ok = |work: WorkType, workers| work.validate_workers(workers).is_ok();
        assert!(ok(WorkType::Spin, 1) && ok(WorkType::bursty(), 3) && ok(WorkType::mixed(), 1));
        assert!(ok(WorkType::FutexPingPong, 2));
        assert!(!ok(WorkType::Spin, 0) && !ok(WorkType::Yield, usize::MAX));
        let bad = |busy, sleep| WorkType::Bursty { busy, sleep }.validate().is_err();
        assert!(bad(Duration::ZERO, Duration::from_secs(1)));
        assert!(bad(Duration::from_secs(1), Duration::from_secs(61)));
        for work_units in [0, WorkType::MAX_UNITS + 1] {
            let sleep = Duration::from_millis(1);
            assert!(WorkType::Mixed { work_units, sleep }.validate().is_err());
        }
    }

    #[test]
    fn an_odd_one_is_told_what_to_do() {
        let error = WorkType::FutexPingPong.validate_workers(3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "work type futex_ping_pong: 3 workers cannot pair up; use an even number"
        );
    }
}
