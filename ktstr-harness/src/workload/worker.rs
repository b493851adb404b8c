//! The code of a worker process: from `fork` to `_exit` without allocation, but for further threads.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{futex, gettid, set_current_timer_slack};

use super::kinds::{self, Site};
use super::slot::{Cells, Control, Recorder};
use super::{MemoryPolicy, WorkType, os};

/// Exit status of a worker whose parent was gone before it could start.
const EXIT_ORPHAN: i32 = 3;

/// Of one that was refused something; what, is in its slot.
const EXIT_REFUSED: i32 = 4;

/// Of one that got no thread.
const EXIT_NO_THREAD: i32 = 5;

/// Enough for the deepest buffers of the work types, many times over.
const STACK: usize = 256 * 1024;

/// Everything one worker needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) work: WorkType,
    /// Number of the worker over the whole pool.
    pub(super) seed: u64,
    pub(super) memory: Option<MemoryPolicy>,
    pub(super) site: Site<'a>,
    pub(super) cells: Cells<'a>,
    pub(super) parent: Pid,
}

/// Waits for the start, works until the deadline, stores what it counted in its slot.
pub(super) fn run(job: &Job<'_>) -> i32 {
    if is_orphan(job.parent) {
        return EXIT_ORPHAN;
    }
    run_here(job)
}

/// The same for workers that are threads of one process; the first one is the thread that calls.
pub(super) fn run_as_threads(jobs: &[Job<'_>]) -> i32 {
    let Some((first, others)) = jobs.split_first() else {
        return 0;
    };
    if is_orphan(first.parent) {
        return EXIT_ORPHAN;
    }
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(others.len());
        for job in others {
            // The size keeps the standard library from reading the environment, whose lock may be held.
            let builder = std::thread::Builder::new().stack_size(STACK);
            match builder.spawn_scoped(scope, || run_here(job)) {
                Ok(thread) => threads.push(thread),
                // Those that there are wait for a start that does not come.
                Err(_) => os::exit_now(EXIT_NO_THREAD),
            }
        }
        let own = run_here(first);
        let ends = threads
            .into_iter()
            .map(|it| it.join().unwrap_or(os::EXIT_PANIC));
        ends.fold(own, i32::max)
    })
}

/// A worker must not outlive the test body, even when that is killed.
fn is_orphan(parent: Pid) -> bool {
    let armed = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    !armed || getppid() != Some(parent)
}

fn run_here(job: &Job<'_>) -> i32 {
    let tid = gettid().as_raw_pid().cast_unsigned();
    job.cells.whole.tid.store(tid, Relaxed);
    // The default slack of 50 microseconds would be measured as wake-up latency.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    wait_for_start(job.cells.control);

    // Memory is touched from here on.
    let memory = job
        .memory
        .map_or(Ok(()), |policy| policy.apply(job.site.cpus));
    let mut recorder = Recorder::new(job.cells, job.seed, job.site.cpus);
    match memory.and_then(|()| kinds::run(job.work, &mut recorder, &job.site)) {
        Ok(()) => {
            recorder.finish();
            0
        }
        Err(failure) => {
            recorder.refused(failure);
            EXIT_REFUSED
        }
    }
}

fn wait_for_start(control: &Control) {
    control.ready.fetch_add(1, Release);
    let _ = futex::wake(&control.ready, futex::Flags::empty(), 1);
    while control.go.load(Acquire) == 0 {
        // Woken, interrupted or changed in between: the loop looks again in each case.
        let _ = futex::wait(&control.go, futex::Flags::empty(), 0, None);
    }
}
