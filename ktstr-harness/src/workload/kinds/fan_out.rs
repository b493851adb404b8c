//! [`WorkType::FanOut`](crate::workload::WorkType::FanOut).
//!
//! Presses on many wake-ups at once: `wake_up_q`, `ttwu_queue_wakelist`, and finding several idle CPUs before any of the
//! woken runs. Measures the latency of each receiver, and of the one that waits for all of them.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::Site;
use super::common::{await_change, wake_all, wake_one, was_given, work};
use crate::workload::clock;
use crate::workload::slot::{Cell, Recorder};

pub(super) const RECEIVERS: RangeInclusive<u32> = 1..=63;

pub(super) fn run(recorder: &mut Recorder<'_>, site: &Site<'_>, work_units: u32) {
    let units = u64::from(work_units);
    // Rounds that began, with the receivers that still work; and rounds that are done.
    let [begun, done] = [&site.cells[0], &site.cells[1]];
    if site.place == 0 {
        send(recorder, begun, done, site.cells.len() as u32 - 1);
    } else {
        receive(recorder, begun, done, units);
    }
}

fn send(recorder: &mut Recorder<'_>, begun: &Cell, done: &Cell, receivers: u32) {
    let mut rounds = 0;
    loop {
        work(1);
        let go_on = recorder.iteration(1);
        begun.count.store(receivers, Relaxed);
        begun.given_ns.store(clock::monotonic_ns(), Relaxed);
        begun.word.fetch_add(1, Release);
        wake_all(&begun.word);
        if !go_on {
            return;
        }
        let Some(slept) = await_change(recorder, &done.word, rounds) else {
            return;
        };
        rounds = done.word.load(Acquire);
        was_given(recorder, done.given_ns.load(Relaxed), slept);
    }
}

fn receive(recorder: &mut Recorder<'_>, begun: &Cell, done: &Cell, units: u64) {
    let mut rounds = 0;
    loop {
        let Some(slept) = await_change(recorder, &begun.word, rounds) else {
            return;
        };
        rounds = begun.word.load(Acquire);
        was_given(recorder, begun.given_ns.load(Relaxed), slept);
        work(units);
        let go_on = recorder.iteration(units);
        if begun.count.fetch_sub(1, AcqRel) == 1 {
            done.given_ns.store(clock::monotonic_ns(), Relaxed);
            done.word.fetch_add(1, Release);
            wake_one(&done.word);
        }
        if !go_on {
            return;
        }
    }
}
