//! [`WorkType::Bursty`](crate::workload::WorkType::Bursty).
//!
//! Presses on the way from idle to busy and back: `select_idle_sibling`, `newidle_balance`, `scx_select_cpu_dfl`. Measures
//! how late the worker runs after its timer.

use std::time::Duration;

use super::common::{sleep_for, work_until};
use crate::workload::clock::{self, nanoseconds};
use crate::workload::slot::Recorder;

pub(super) fn run(recorder: &mut Recorder<'_>, busy: Duration, sleep: Duration) {
    const UNITS: u64 = 4;
    let busy_ns = nanoseconds(busy);
    loop {
        let burst_end = clock::cpu_ns().saturating_add(busy_ns);
        if !work_until(recorder, burst_end, UNITS) || !sleep_for(recorder, sleep) {
            return;
        }
    }
}
