//! [`WorkType::FutexPingPong`](crate::workload::WorkType::FutexPingPong).
//!
//! Presses on `try_to_wake_up` from `futex_wake`: `select_task_rq`, `wakeup_preempt`. Measures the wake-up latency of each
//! turn for which the worker had gone to sleep.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::Site;
use super::common::{await_change, wake_one, was_given, work};
use crate::workload::clock;
use crate::workload::slot::Recorder;

pub(super) fn run(recorder: &mut Recorder<'_>, site: &Site<'_>) {
    // Whose turn it is, 0 or 1.
    let table = &site.cells[0];
    let (own, other) = ((site.place % 2) as u32, (1 - site.place % 2) as u32);
    loop {
        let mut slept = false;
        if table.word.load(Acquire) != own {
            match await_change(recorder, &table.word, other) {
                Some(waited) => slept = waited,
                None => return,
            }
        }
        was_given(recorder, table.given_ns.load(Relaxed), slept);
        work(1);
        let go_on = recorder.iteration(1);
        table.given_ns.store(clock::monotonic_ns(), Relaxed);
        table.word.store(other, Release);
        wake_one(&table.word);
        if !go_on {
            return;
        }
    }
}
