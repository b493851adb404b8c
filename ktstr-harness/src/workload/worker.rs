//! The code of a worker process: from `fork` to `_exit` without allocation.

use std::hint::black_box;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::futex;
use rustix::thread::{sched_yield, set_current_timer_slack};

use super::slot::{Cells, Control, Pair, Recorder};
use super::{WorkType, clock};
use crate::cpu_map::CpuMap;

/// Exit status of a worker whose parent was gone before it could start.
const EXIT_ORPHAN: i32 = 3;

/// How long a worker waits for its partner's wake-up before it looks at the time again.
const RECHECK_NS: u64 = 100_000_000;

/// Everything one worker needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) work: WorkType,
    /// Number of the worker over the whole pool.
    pub(super) seed: u64,
    /// The pair it belongs to and its side, 0 or 1.
    pub(super) pair: Option<(&'a Pair, u32)>,
    pub(super) cells: Cells<'a>,
    pub(super) parent: Pid,
    pub(super) cpus: CpuMap,
}

/// Waits for the start, works until the deadline, stores what it counted in its slot.
pub(super) fn run(job: &Job<'_>) -> i32 {
    // A worker must not outlive the test body, even when that is killed.
    let armed = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    if !armed || getppid() != Some(job.parent) {
        return EXIT_ORPHAN;
    }
    // The default slack of 50 microseconds would be measured as wake-up latency.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    wait_for_start(job.cells.control);

    let mut recorder = Recorder::new(job.cells, job.seed, job.cpus);
    match job.work {
        WorkType::Spin => spin(&mut recorder),
        WorkType::Yield => yielding(&mut recorder),
        WorkType::FutexPingPong => {
            if let Some((pair, side)) = job.pair {
                ping_pong(&mut recorder, pair, side);
            }
        }
        WorkType::Bursty { busy, sleep } => bursty(&mut recorder, busy, sleep),
        WorkType::Mixed { work_units, sleep } => mixed(&mut recorder, work_units, sleep),
    }
    recorder.finish();
    0
}

fn wait_for_start(control: &Control) {
    control.ready.fetch_add(1, Release);
    let _ = futex::wake(&control.ready, futex::Flags::empty(), 1);
    while control.go.load(Acquire) == 0 {
        // Woken, interrupted or changed in between: the loop looks again in each case.
        let _ = futex::wait(&control.go, futex::Flags::empty(), 0, None);
    }
}

/// Does `units` work units: 1024 rounds of xorshift each, which no compiler can fold.
fn work(units: u64) {
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

fn spin(recorder: &mut Recorder<'_>) {
    const UNITS: u64 = 16;
    loop {
        work(UNITS);
        if !recorder.iteration(UNITS) {
            return;
        }
    }
}

fn yielding(recorder: &mut Recorder<'_>) {
    loop {
        work(1);
        sched_yield();
        if !recorder.iteration(1) {
            return;
        }
    }
}

fn bursty(recorder: &mut Recorder<'_>, busy: Duration, sleep: Duration) {
    const UNITS: u64 = 4;
    let busy_ns = nanoseconds(busy);
    loop {
        let burst_end = clock::cpu_ns().saturating_add(busy_ns);
        loop {
            work(UNITS);
            if !recorder.iteration(UNITS) {
                return;
            }
            if clock::cpu_ns() >= burst_end {
                break;
            }
        }
        if !sleep_for(recorder, sleep) {
            return;
        }
    }
}

fn mixed(recorder: &mut Recorder<'_>, work_units: u32, sleep: Duration) {
    let units = u64::from(work_units);
    loop {
        work(units);
        if !recorder.iteration(units) || !sleep_for(recorder, sleep) {
            return;
        }
    }
}

/// Sleeps, and measures how late it woke. False: the run ended meanwhile.
fn sleep_for(recorder: &mut Recorder<'_>, sleep: Duration) -> bool {
    let due = clock::monotonic_ns().saturating_add(nanoseconds(sleep));
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

fn ping_pong(recorder: &mut Recorder<'_>, pair: &Pair, side: u32) {
    loop {
        if !await_turn(recorder, pair, side) {
            return;
        }
        work(1);
        let go_on = recorder.iteration(1);
        pair.given_ns.store(clock::monotonic_ns(), Relaxed);
        pair.turn.store(1 - side, Release);
        let _ = futex::wake(&pair.turn, futex::Flags::empty(), 1);
        if !go_on {
            return;
        }
    }
}

/// Waits until it is `side`'s turn. False: the run ended first.
fn await_turn(recorder: &mut Recorder<'_>, pair: &Pair, side: u32) -> bool {
    let mut slept = false;
    loop {
        let turn = pair.turn.load(Acquire);
        if turn == side {
            let given = pair.given_ns.load(Relaxed);
            if given != 0 {
                if slept {
                    recorder.woke(given, clock::monotonic_ns());
                }
                // Not runnable before the partner gave the turn: that wait is no gap.
                recorder.runnable_since(given);
            }
            return true;
        }
        let now = clock::monotonic_ns();
        if recorder.is_over(now) {
            return false;
        }
        let limit = RECHECK_NS.min(recorder.deadline_ns() - now);
        let waited = futex::wait(
            &pair.turn,
            futex::Flags::empty(),
            turn,
            Some(&clock::timespec(limit)),
        );
        // EAGAIN: the turn came before it could fall asleep.
        slept |= waited != Err(rustix::io::Errno::AGAIN);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
