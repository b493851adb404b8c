//! [`WorkType::Yield`](crate::workload::WorkType::Yield).
//!
//! Presses on `do_sched_yield` (`kernel/sched/syscalls.c`), `yield_task_fair` and `yield_task_scx`, and on picking with a
//! queue that is never empty.

use rustix::thread::sched_yield;

use super::common::work;
use crate::workload::slot::Recorder;

pub(super) fn run(recorder: &mut Recorder<'_>) {
    loop {
        work(1);
        sched_yield();
        if !recorder.iteration(1) {
            return;
        }
    }
}
