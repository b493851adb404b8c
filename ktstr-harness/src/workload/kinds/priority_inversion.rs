//! [`WorkType::PriorityInversion`](crate::workload::WorkType::PriorityInversion).
//!
//! With inheritance, presses on `rt_mutex_setprio`: the holder leaves its class (and a sched_ext scheduler) in the middle
//! of its work for as long as a real-time task waits for it, and comes back. Without, on what a scheduler gives a task of
//! little weight that others wait for. Measures how long the real-time worker waited for a lock that was held.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::setpriority_process;
use rustix::thread::{futex, gettid};

use super::common::{Bounds, RECHECK_NS, go_ahead, share_a_cpu, sleep_for, work};
use super::{Site, mutex_contention, spin};
use crate::workload::WorkTypeError;
use crate::workload::clock::{self, nanoseconds};
use crate::workload::failure::{Call, Failure};
use crate::workload::sched_ext::dynamic_priority;
use crate::workload::slot::{Cell, Recorder};

const HOLD: std::ops::RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_secs(1);

/// Of the holder: about a tenth of the CPU beside the one that spins.
const NICE: i32 = 10;

/// How long the lock stays free, at least.
const PAUSE: Duration = Duration::from_millis(1);

/// What is counted of it.
const CONTENDED: usize = 0;
const BOOSTED: usize = 1;

pub(super) fn check(bounds: &Bounds, hold: Duration) -> Result<(), WorkTypeError> {
    bounds.time_within("hold", hold, HOLD)
}

pub(super) fn run(
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
    hold: Duration,
    inherit: bool,
) -> Result<(), Failure> {
    share_a_cpu(site)?;
    let lock = Lock {
        cell: &site.cells[0],
        inherit,
    };
    match site.place {
        0 => hold_it(recorder, &lock, hold),
        1 => {
            spin::run(recorder);
            Ok(())
        }
        _ => want_it(recorder, &lock, hold),
    }
}

/// The worker of little weight, which others wait for.
fn hold_it(recorder: &mut Recorder<'_>, lock: &Lock<'_>, hold: Duration) -> Result<(), Failure> {
    const UNITS: u64 = 4;
    setpriority_process(None, NICE).map_err(Failure::of(Call::Nice))?;
    while lock.acquire(recorder)?.is_some() {
        let end = clock::cpu_ns().saturating_add(nanoseconds(hold));
        let mut units = 0;
        // It may get so little of the CPU that the run ends meanwhile.
        while clock::cpu_ns() < end && !recorder.is_over(clock::monotonic_ns()) {
            work(UNITS);
            units += UNITS;
        }
        if lock.is_awaited() {
            recorder.add(CONTENDED, 1);
            // Real-time priorities are below 0 there.
            let is_boosted = dynamic_priority().is_some_and(|priority| priority < 0);
            recorder.add(BOOSTED, is_boosted.into());
        }
        lock.release()?;
        if !recorder.iteration(units.max(1)) || !sleep_for(recorder, PAUSE) {
            break;
        }
    }
    Ok(())
}

/// The real-time worker.
fn want_it(recorder: &mut Recorder<'_>, lock: &Lock<'_>, hold: Duration) -> Result<(), Failure> {
    go_ahead()?;
    loop {
        // Not a wake-up that is measured: the lock is.
        let due = clock::monotonic_ns().saturating_add(nanoseconds(hold));
        recorder.sleep_until(due);
        let wanted = clock::monotonic_ns();
        recorder.runnable_since(wanted);
        let Some(waited) = lock.acquire(recorder)? else {
            return Ok(());
        };
        if waited {
            recorder.add(CONTENDED, 1);
            recorder.woke(wanted, clock::monotonic_ns());
        }
        lock.release()?;
        work(1);
        if !recorder.iteration(1) {
            return Ok(());
        }
    }
}

struct Lock<'a> {
    cell: &'a Cell,
    inherit: bool,
}

impl Lock<'_> {
    /// Takes it, and says whether it had to wait. `None`: the run ended first.
    fn acquire(&self, recorder: &mut Recorder<'_>) -> Result<Option<bool>, Failure> {
        if !self.inherit {
            return Ok(mutex_contention::acquire(self.cell, recorder));
        }
        let (word, own) = (&self.cell.word, tid());
        if word.compare_exchange(0, own, Acquire, Relaxed).is_ok() {
            return Ok(Some(false));
        }
        loop {
            if recorder.is_over(clock::monotonic_ns()) {
                return Ok(None);
            }
            let limit = clock::timespec(clock::realtime_ns().saturating_add(RECHECK_NS));
            match futex::lock_pi(word, futex::Flags::empty(), Some(&limit)) {
                Ok(()) => return Ok(Some(true)),
                Err(Errno::TIMEDOUT | Errno::INTR | Errno::AGAIN) => {}
                // The holder was killed; the run goes on without the lock.
                Err(Errno::SRCH) => {
                    recorder.sleep_until(clock::monotonic_ns().saturating_add(RECHECK_NS));
                }
                Err(errno) => return Err(Failure::of(Call::Lock)(errno)),
            }
        }
    }

    fn release(&self) -> Result<(), Failure> {
        if !self.inherit {
            mutex_contention::release(self.cell);
            return Ok(());
        }
        let word = &self.cell.word;
        if word.compare_exchange(tid(), 0, Release, Relaxed).is_ok() {
            return Ok(());
        }
        futex::unlock_pi(word, futex::Flags::empty()).map_err(Failure::of(Call::Lock))
    }

    /// Whether somebody waits for it, who holds it.
    fn is_awaited(&self) -> bool {
        if self.inherit {
            self.cell.word.load(Relaxed) != tid()
        } else {
            mutex_contention::is_awaited(self.cell)
        }
    }
}

/// This thread, as the kernel notes the holder of such a futex.
fn tid() -> u32 {
    gettid().as_raw_pid().cast_unsigned()
}
