//! What several work types need: work, sleep, waiting for another worker, bounds.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::{futex, gettid, sched_getaffinity, sched_setaffinity};

use super::Site;
use crate::workload::clock::{self, nanoseconds};
use crate::workload::failure::{Call, Failure};
use crate::workload::slot::Recorder;
use crate::workload::{Policy, WorkType, WorkTypeError};

/// How long a worker waits for another one before it looks at the time again.
pub(super) const RECHECK_NS: u64 = 100_000_000;

/// The priority of workers that have to come before ordinary tasks: the least of `SCHED_FIFO`.
const AHEAD: Policy = Policy::Fifo(1);

/// Does `units` work units: 1024 rounds of xorshift each, which no compiler can fold.
pub(super) fn work(units: u64) {
    let mut state = black_box(0x2545_f491_4f6c_dd1d_u64);
    let mut rounds = units * 1024;
    while rounds > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        rounds -= 1;
    }
    black_box(state);
}

/// Sleeps, and measures how late it woke. False: the run ended meanwhile.
pub(super) fn sleep_for(recorder: &mut Recorder<'_>, sleep: Duration) -> bool {
    sleep_until(
        recorder,
        clock::monotonic_ns().saturating_add(nanoseconds(sleep)),
    )
}

/// The same until `CLOCK_MONOTONIC` reads `due`.
pub(super) fn sleep_until(recorder: &mut Recorder<'_>, due: u64) -> bool {
    recorder.sleep_until(due);
    let now = clock::monotonic_ns();
    if now < due || due >= recorder.deadline_ns() {
        // All workers end at the deadline, or when they are told to; waking up for that is no wake-up latency.
        return false;
    }
    recorder.woke(due, now);
    recorder.runnable_since(due);
    !recorder.is_over(now)
}

/// Works until this thread has used the CPU up to `until_ns`, in iterations of `units`. False: the run is over.
pub(super) fn work_until(recorder: &mut Recorder<'_>, until_ns: u64, units: u64) -> bool {
    loop {
        work(units);
        if !recorder.iteration(units) {
            return false;
        }
        if clock::cpu_ns() >= until_ns {
            return true;
        }
    }
}

/// Waits until `word` is another than `seen`, and says whether it slept. `None`: the run ended first.
pub(super) fn await_change(recorder: &Recorder<'_>, word: &AtomicU32, seen: u32) -> Option<bool> {
    let mut slept = false;
    loop {
        if word.load(Acquire) != seen {
            return Some(slept);
        }
        let now = clock::monotonic_ns();
        if recorder.is_over(now) {
            return None;
        }
        let limit = clock::timespec(RECHECK_NS.min(recorder.deadline_ns() - now));
        let waited = futex::wait(word, futex::Flags::empty(), seen, Some(&limit));
        // EAGAIN: the change came before it could fall asleep.
        slept |= waited != Err(Errno::AGAIN);
    }
}

pub(super) fn wake_one(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

pub(super) fn wake_all(word: &AtomicU32) {
    // The kernel reads the number as an `int`: u32::MAX would be -1.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX.cast_unsigned());
}

/// Notes that this worker runs, which another one let it at `given_ns`; 0 where nobody did yet.
pub(super) fn was_given(recorder: &mut Recorder<'_>, given_ns: u64, slept: bool) {
    if given_ns == 0 {
        return;
    }
    if slept {
        recorder.woke(given_ns, clock::monotonic_ns());
    }
    // Not runnable before: that wait is no gap.
    recorder.runnable_since(given_ns);
}

/// Keeps the workers of a team on one CPU: of those that this worker may use, the one whose turn it is.
pub(super) fn share_a_cpu(site: &Site<'_>) -> Result<(), Failure> {
    let refused = Failure::of(Call::Affinity);
    let allowed = sched_getaffinity(None).map_err(refused)?;
    let count = allowed.count().max(1) as usize;
    let mut mask = rustix::thread::CpuSet::new();
    let cpus = 0..rustix::thread::CpuSet::MAX_CPU;
    let chosen = cpus
        .filter(|cpu| allowed.is_set(*cpu))
        .nth(site.team() % count);
    mask.set(chosen.unwrap_or(0));
    sched_setaffinity(None, &mask).map_err(Failure::of(Call::Affinity))
}

/// Puts this worker before all ordinary tasks of its CPU.
pub(super) fn go_ahead() -> Result<(), Failure> {
    set_policy(AHEAD)
}

/// Gives this worker a policy.
pub(super) fn set_policy(policy: Policy) -> Result<(), Failure> {
    let refused = |error| Failure::from_io(Call::Policy, &error);
    policy.set(gettid()).map_err(refused)
}

/// Checks parameters of the work type of this name.
pub(super) struct Bounds(pub(super) &'static str);

impl Bounds {
    const TIMES: RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_secs(60);

    pub(super) fn time(&self, field: &'static str, value: Duration) -> Result<(), WorkTypeError> {
        self.time_within(field, value, Self::TIMES)
    }

    pub(super) fn time_within(
        &self,
        field: &'static str,
        value: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Result<(), WorkTypeError> {
        if bounds.contains(&value) {
            return Ok(());
        }
        let (least, most) = bounds.into_inner();
        Err(WorkTypeError::Time {
            work: self.0,
            field,
            value,
            least,
            most,
        })
    }

    pub(super) fn units(&self, value: u32) -> Result<(), WorkTypeError> {
        if (1..=WorkType::MAX_UNITS).contains(&value) {
            Ok(())
        } else {
            Err(WorkTypeError::Units {
                work: self.0,
                value,
            })
        }
    }

    pub(super) fn number(
        &self,
        field: &'static str,
        value: u32,
        bounds: RangeInclusive<u32>,
    ) -> Result<(), WorkTypeError> {
        if bounds.contains(&value) {
            return Ok(());
        }
        let (least, most) = bounds.into_inner();
        Err(WorkTypeError::Number {
            work: self.0,
            field,
            value,
            least,
            most,
        })
    }
}
