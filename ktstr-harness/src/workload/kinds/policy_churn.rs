//! [`WorkType::PolicyChurn`](crate::workload::WorkType::PolicyChurn).
//!
//! Presses on `__sched_setscheduler`: a running task that changes its class, with `switched_from`, `switching_to_scx`,
//! `switched_to`, and `ops.enable` and `ops.disable` of sched_ext. Measures iterations: each has a policy of its own.

use super::common::{set_policy, work};
use crate::workload::Policy;
use crate::workload::failure::Failure;
use crate::workload::slot::Recorder;

/// The last one is where it began.
const POLICIES: [Policy; 6] = [
    Policy::Batch,
    Policy::Fifo(1),
    Policy::Idle,
    Policy::RoundRobin(1),
    Policy::Ext,
    Policy::Other,
];

pub(super) fn run(recorder: &mut Recorder<'_>, work_units: u32) -> Result<(), Failure> {
    let units = u64::from(work_units);
    for policy in POLICIES.into_iter().cycle() {
        match set_policy(policy) {
            Ok(()) => {}
            // A kernel without sched_ext, or a scheduler that refuses the task.
            Err(_) if policy == Policy::Ext => continue,
            Err(failure) => return Err(failure),
        }
        recorder.add(0, 1);
        work(units);
        if !recorder.iteration(units) {
            break;
        }
    }
    set_policy(Policy::Other)
}
