//! [`WorkType::Spin`](crate::workload::WorkType::Spin).
//!
//! Presses on the tick: `task_tick_fair` and `task_tick_scx`, slices, and the load balancer. Measures gaps, CPU time and
//! where iterations end.

use super::common::work;
use crate::workload::slot::Recorder;

pub(super) fn run(recorder: &mut Recorder<'_>) {
    const UNITS: u64 = 16;
    loop {
        work(UNITS);
        if !recorder.iteration(UNITS) {
            return;
        }
    }
}
