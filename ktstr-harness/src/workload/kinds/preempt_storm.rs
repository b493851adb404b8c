//! [`WorkType::PreemptStorm`](crate::workload::WorkType::PreemptStorm).
//!
//! Presses on `wakeup_preempt` across classes, `put_prev_task` of a task whose slice is not over, and
//! `ops.cpu_release` and `ops.cpu_acquire` of sched_ext. Measures how late the preempting worker runs, and the gaps of
//! the one that it preempts.

use std::time::Duration;

use super::Site;
use super::common::{go_ahead, share_a_cpu, sleep_for, work};
use super::spin;
use crate::workload::failure::Failure;
use crate::workload::slot::Recorder;

pub(super) fn run(
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
    interval: Duration,
) -> Result<(), Failure> {
    share_a_cpu(site)?;
    if site.place == 0 {
        spin::run(recorder);
        return Ok(());
    }
    go_ahead()?;
    while sleep_for(recorder, interval) {
        recorder.add(0, 1);
        work(1);
        if !recorder.iteration(1) {
            break;
        }
    }
    Ok(())
}
