//! Work that cannot be done.

use std::time::Duration;

use super::WorkType;
use crate::workload::WorkerPool;

/// A work type, or a number of workers for it, that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkTypeError {
    /// A time is out of bounds.
    #[error("work type {work}: {field} is {value:?}; use {least:?} to {most:?}")]
    Time {
        /// Name of the work type.
        work: &'static str,
        /// Which of its times.
        field: &'static str,
        /// What it was.
        value: Duration,
        /// The least that it may be.
        least: Duration,
        /// The most.
        most: Duration,
    },
    /// The amount of work is out of bounds.
    #[error("work type {work}: {value} work units; use 1 to {max}", max = WorkType::MAX_UNITS)]
    Units {
        /// Name of the work type.
        work: &'static str,
        /// What it was.
        value: u32,
    },
    /// A number is out of bounds.
    #[error("work type {work}: {field} is {value}; use {least} to {most}")]
    Number {
        /// Name of the work type.
        work: &'static str,
        /// Which of its numbers.
        field: &'static str,
        /// What it was.
        value: u32,
        /// The least that it may be.
        least: u32,
        /// The most.
        most: u32,
    },
    /// No worker at all, or too many.
    #[error("{0} workers; use 1 to {max}", max = WorkerPool::MAX_WORKERS)]
    Workers(usize),
    /// A work type that needs pairs has an odd number of workers.
    #[error("work type {work}: {workers} workers cannot pair up; use an even number")]
    Odd {
        /// Name of the work type.
        work: &'static str,
        /// Workers asked for.
        workers: usize,
    },
    /// A work type that needs teams has workers left over.
    #[error("work type {work}: {workers} workers are no teams of {team}; use a multiple of {team}")]
    Team {
        /// Name of the work type.
        work: &'static str,
        /// Workers asked for.
        workers: usize,
        /// Workers of a team.
        team: usize,
    },
    /// A work type that needs a cgroup of its own has none.
    #[error("work type {work}: it needs a cgroup of its own; give it to a CgroupDef")]
    NoCgroup {
        /// Name of the work type.
        work: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bounds() {
        let ok = |work: WorkType, workers| work.validate_workers(workers).is_ok();
        assert!(ok(WorkType::Spin, 1) && ok(WorkType::bursty(), 3) && ok(WorkType::mixed(), 1));
        assert!(ok(WorkType::FutexPingPong, 2));
        assert!(!ok(WorkType::Spin, 0) && !ok(WorkType::Yield, usize::MAX));
        let bad = |busy, sleep| WorkType::Bursty { busy, sleep }.validate().is_err();
        assert!(bad(Duration::ZERO, SECOND));
        assert!(bad(SECOND, 61 * SECOND));
        for work_units in [0, WorkType::MAX_UNITS + 1] {
            let sleep = Duration::from_millis(1);
            assert!(WorkType::Mixed { work_units, sleep }.validate().is_err());
            for work in [
                WorkType::AluHot { work_units },
                WorkType::ForkExit { work_units },
                WorkType::CgroupAttachStorm { work_units },
                WorkType::AffinityChurn { work_units },
                WorkType::NiceChurn { work_units },
                WorkType::PolicyChurn { work_units },
                WorkType::WakeChain {
                    length: 2,
                    work_units,
                },
                WorkType::FanOut {
                    receivers: 2,
                    work_units,
                },
                WorkType::MutexContention {
                    held_units: 1,
                    free_units: work_units,
                },
            ] {
                let told = work.validate().unwrap_err().to_string();
                assert_eq!(
                    told,
                    format!(
                        "work type {}: {work_units} work units; use 1 to 1000000",
                        work.name()
                    )
                );
            }
        }
    }

    #[test]
    fn numbers_and_times_are_told_with_their_bounds() {
        let told = |work: WorkType| work.validate().unwrap_err().to_string();
        let chain = |length| WorkType::WakeChain {
            length,
            work_units: 1,
        };
        assert_eq!(
            told(chain(1)),
            "work type wake_chain: length is 1; use 2 to 64"
        );
        assert!(chain(2).validate().is_ok() && chain(65).validate().is_err());
        assert_eq!(
            told(WorkType::PipeIo { bytes: 16_385 }),
            "work type pipe_io: bytes is 16385; use 1 to 16384"
        );
        assert_eq!(
            told(WorkType::PageFaults { pages: 0 }),
            "work type page_faults: pages is 0; use 1 to 16384"
        );
        assert_eq!(
            told(WorkType::CachePressure { kib: 3 }),
            "work type cache_pressure: kib is 3; use 4 to 65536"
        );
        let starvation = |busy| WorkType::RtStarvation {
            busy,
            sleep: SECOND,
        };
        assert!(starvation(5 * SECOND).validate().is_ok());
        assert_eq!(
            told(starvation(6 * SECOND)),
            "work type rt_starvation: busy is 6s; use 1µs to 5s"
        );
        for hold in [Duration::ZERO, 2 * SECOND] {
            let inherit = true;
            assert!(
                WorkType::PriorityInversion { hold, inherit }
                    .validate()
                    .is_err()
            );
        }
        for interval in [Duration::ZERO, 61 * SECOND] {
            assert!(WorkType::TimerWake { interval }.validate().is_err());
            assert!(WorkType::PreemptStorm { interval }.validate().is_err());
        }
    }

    #[test]
    fn one_that_is_left_over_is_told_what_to_do() {
        let error = WorkType::FutexPingPong.validate_workers(3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "work type futex_ping_pong: 3 workers cannot pair up; use an even number"
        );
        let error = WorkType::wake_chain().validate_workers(6).unwrap_err();
        assert_eq!(
            error.to_string(),
            "work type wake_chain: 6 workers are no teams of 4; use a multiple of 4"
        );
        assert!(
            WorkType::priority_inversion(true)
                .validate_workers(3)
                .is_ok()
        );
        assert!(
            WorkType::priority_inversion(true)
                .validate_workers(4)
                .is_err()
        );
        assert!(WorkType::mutex_contention().validate_workers(5).is_ok());
        assert!(WorkType::FutexPingPong.in_pairs() && !WorkType::mutex_contention().in_pairs());
    }
}
