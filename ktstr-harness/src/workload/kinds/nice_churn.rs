//! [`WorkType::NiceChurn`](crate::workload::WorkType::NiceChurn).
//!
//! Presses on `set_user_nice`: a task that is dequeued, weighed anew (`reweight_task_fair`, `reweight_task_scx` with
//! `ops.set_weight`) and enqueued. Measures iterations: each has a nice value of its own.

use rustix::process::setpriority_process;

use super::common::work;
use crate::workload::failure::{Call, Failure};
use crate::workload::slot::Recorder;

/// None below 0: those need privileges, which a scenario may have given up.
const VALUES: [i32; 4] = [0, 5, 10, 19];

pub(super) fn run(recorder: &mut Recorder<'_>, work_units: u32) -> Result<(), Failure> {
    let units = u64::from(work_units);
    for nice in VALUES.into_iter().cycle() {
        setpriority_process(None, nice).map_err(Failure::of(Call::Nice))?;
        recorder.add(0, 1);
        work(units);
        if !recorder.iteration(units) {
            break;
        }
    }
    Ok(())
}
