//! [`WorkType::MutexContention`](crate::workload::WorkType::MutexContention).
//!
//! Presses on `futex_wait` and `futex_wake` under load: the holder of the lock that is preempted holds all others up, and
//! the one that is woken finds the lock taken again. Measures how long after the unlock the woken worker runs.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::thread::futex;

use super::Site;
use super::common::{RECHECK_NS, wake_one, was_given, work};
use crate::workload::clock;
use crate::workload::slot::{Cell, Recorder};

/// What the word of a lock says.
const FREE: u32 = 0;
const LOCKED: u32 = 1;
/// Locked, and somebody may wait.
const AWAITED: u32 = 2;

pub(super) fn run(recorder: &mut Recorder<'_>, site: &Site<'_>, held_units: u32, free_units: u32) {
    let (held, free) = (u64::from(held_units), u64::from(free_units));
    let lock = &site.cells[0];
    loop {
        let Some(waited) = acquire(lock, recorder) else {
            return;
        };
        if waited {
            recorder.add(0, 1);
            was_given(recorder, lock.given_ns.load(Relaxed), true);
        }
        work(held);
        release(lock);
        work(free);
        if !recorder.iteration(held + free) {
            return;
        }
    }
}

/// Takes the lock, and says whether it had to wait for it. `None`: the run ended first.
pub(super) fn acquire(lock: &Cell, recorder: &Recorder<'_>) -> Option<bool> {
    let taken = lock.word.compare_exchange(FREE, LOCKED, Acquire, Relaxed);
    if taken.is_ok() {
        return Some(false);
    }
    while lock.word.swap(AWAITED, Acquire) != FREE {
        let now = clock::monotonic_ns();
        if recorder.is_over(now) {
            return None;
        }
        let limit = clock::timespec(RECHECK_NS.min(recorder.deadline_ns() - now));
        // Woken, changed or timed out: the loop looks again in each case.
        let _ = futex::wait(&lock.word, futex::Flags::empty(), AWAITED, Some(&limit));
    }
    Some(true)
}

pub(super) fn release(lock: &Cell) {
    lock.given_ns.store(clock::monotonic_ns(), Relaxed);
    if lock.word.swap(FREE, Release) == AWAITED {
        wake_one(&lock.word);
    }
}

/// Whether somebody may wait for the lock that is held.
pub(super) fn is_awaited(lock: &Cell) -> bool {
    lock.word.load(Relaxed) == AWAITED
}
