//! [`WorkType::WakeChain`](crate::workload::WorkType::WakeChain).
//!
//! Presses on wake-ups one after the other: `wake_affine`, `select_idle_sibling`, `ops.select_cpu`. A scheduler that drags
//! the chain over all caches, or crowds it on a CPU, shows. Measures the latency of each hop.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::Site;
use super::common::{await_change, wake_one, was_given, work};
use crate::workload::clock;
use crate::workload::slot::Recorder;

pub(super) const LENGTH: RangeInclusive<u32> = 2..=64;

pub(super) fn run(recorder: &mut Recorder<'_>, site: &Site<'_>, work_units: u32) {
    let units = u64::from(work_units);
    let own = &site.cells[site.place];
    let next = &site.cells[(site.place + 1) % site.cells.len()];
    // How often this worker was woken. The first one begins with a wake-up of its own.
    let mut seen = 0;
    let mut begins = site.place == 0;
    loop {
        if begins {
            begins = false;
        } else {
            let Some(slept) = await_change(recorder, &own.word, seen) else {
                return;
            };
            seen = own.word.load(Acquire);
            was_given(recorder, own.given_ns.load(Relaxed), slept);
        }
        work(units);
        let go_on = recorder.iteration(units);
        next.given_ns.store(clock::monotonic_ns(), Relaxed);
        next.word.fetch_add(1, Release);
        wake_one(&next.word);
        if !go_on {
            return;
        }
    }
}
