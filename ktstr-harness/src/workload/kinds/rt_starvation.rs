//! [`WorkType::RtStarvation`](crate::workload::WorkType::RtStarvation).
//!
//! Presses on what ordinary tasks get beside real-time ones: `fair_server` (`kernel/sched/deadline.c`), the balancer's
//! `scale_rt_capacity`, and a scheduler's `ops.cpu_release`: tasks that wait on a CPU which it has lost must be able to
//! go elsewhere, or wait. Measures the gaps of the starved worker.

use std::time::Duration;

use super::Site;
use super::common::{Bounds, go_ahead, share_a_cpu, sleep_for, work_until};
use super::spin;
use crate::workload::WorkTypeError;
use crate::workload::clock::{self, nanoseconds};
use crate::workload::failure::Failure;
use crate::workload::slot::Recorder;

/// A machine of one CPU does nothing else meanwhile.
const LONGEST: Duration = Duration::from_secs(5);

pub(super) fn check(bounds: &Bounds, busy: Duration, sleep: Duration) -> Result<(), WorkTypeError> {
    bounds.time_within("busy", busy, Duration::from_micros(1)..=LONGEST)?;
    bounds.time("sleep", sleep)
}

pub(super) fn run(
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
    busy: Duration,
    sleep: Duration,
) -> Result<(), Failure> {
    share_a_cpu(site)?;
    if site.place == 0 {
        spin::run(recorder);
        return Ok(());
    }
    go_ahead()?;
    let busy_ns = nanoseconds(busy);
    // Whoever shares the CPU has to begin first.
    while sleep_for(recorder, sleep) {
        let end = clock::cpu_ns().saturating_add(busy_ns);
        recorder.add(0, 1);
        if !work_until(recorder, end, 4) {
            break;
        }
    }
    Ok(())
}
