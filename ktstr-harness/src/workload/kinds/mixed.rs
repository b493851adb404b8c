//! [`WorkType::Mixed`](crate::workload::WorkType::Mixed).
//!
//! Presses on `place_entity` and what else decides when a task that slept runs again. Measures how late it does.

use std::time::Duration;

use super::common::{sleep_for, work};
use crate::workload::slot::Recorder;

pub(super) fn run(recorder: &mut Recorder<'_>, work_units: u32, sleep: Duration) {
    let units = u64::from(work_units);
    loop {
        work(units);
        if !recorder.iteration(units) || !sleep_for(recorder, sleep) {
            return;
        }
    }
}
