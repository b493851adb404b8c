//! [`WorkType::TimerWake`](crate::workload::WorkType::TimerWake).
//!
//! Presses on wake-ups from the timer interrupt: `hrtimer_wakeup`, the way out of idle, and preemption by a task that has
//! used next to nothing. Measures how late each period begins, and how many were missed.

use std::time::Duration;

use super::common::{sleep_until, work};
use crate::workload::clock::{self, nanoseconds};
use crate::workload::slot::Recorder;

pub(super) fn run(recorder: &mut Recorder<'_>, interval: Duration) {
    let interval = nanoseconds(interval).max(1);
    let mut due = clock::monotonic_ns().saturating_add(interval);
    while sleep_until(recorder, due) {
        work(1);
        if !recorder.iteration(1) {
            return;
        }
        let (next, missed) = next_period(due, interval, clock::monotonic_ns());
        recorder.add(0, missed);
        due = next;
    }
}

/// The first period after `due` that begins later than `now`, and how many are over by then.
fn next_period(due: u64, interval: u64, now: u64) -> (u64, u64) {
    let missed = now.saturating_sub(due) / interval;
    (
        due.saturating_add((missed + 1).saturating_mul(interval)),
        missed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_keep_their_beat() {
        assert_eq!(next_period(100, 10, 95), (110, 0));
        assert_eq!(next_period(100, 10, 109), (110, 0));
        assert_eq!(next_period(100, 10, 110), (120, 1));
        assert_eq!(next_period(100, 10, 137), (140, 3));
    }
}
