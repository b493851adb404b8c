//! [`WorkType::Custom`](crate::workload::WorkType::Custom).

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::Site;
use super::common;
use crate::workload::clock;
use crate::workload::slot::Recorder;

/// What a worker of [`WorkType::Custom`](crate::workload::WorkType::Custom) does, until [`CustomWorker::iteration`],
/// [`CustomWorker::sleep`] or [`CustomWorker::wait`] says that the run is over.
pub type CustomFn = fn(&mut CustomWorker<'_, '_>);

/// A worker of [`WorkType::Custom`](crate::workload::WorkType::Custom), as its function sees it.
///
/// The function runs in a process that was forked from the test's body, maybe while that had more threads: it must not
/// take locks that others may have held then. Allocating is fine with the C libraries that are in use, and measures the
/// allocator as well. A function that goes on after the run is over is killed, and reported as
/// [`WorkerEnd::Stuck`](crate::workload::WorkerEnd::Stuck).
///
/// ```
/// use std::time::Duration;
/// use ktstr_harness::workload::{CustomWorker, WorkType};
///
/// /// A request of 32 work units now and then; the first worker asks, the others answer.
/// fn request(worker: &mut CustomWorker<'_, '_>) {
///     loop {
///         if worker.number() == 0 {
///             if !worker.sleep(Duration::from_millis(2)) {
///                 return;
///             }
///             (1..worker.workers()).for_each(|other| worker.wake(other));
///         } else if !worker.wait() {
///             return;
///         }
///         worker.work(32);
///         if !worker.iteration(32) {
///             return;
///         }
///     }
/// }
///
/// assert_eq!(WorkType::Custom(request).name(), "custom");
/// ```
pub struct CustomWorker<'w, 'r> {
    recorder: &'w mut Recorder<'r>,
    site: &'w Site<'w>,
    /// How many wake-ups it has waited for.
    seen: u32,
}

pub(super) fn run(recorder: &mut Recorder<'_>, site: &Site<'_>, body: CustomFn) {
    body(&mut CustomWorker {
        recorder,
        site,
        seen: 0,
    });
}

impl CustomWorker<'_, '_> {
    /// Number within the group, from 0.
    pub fn number(&self) -> usize {
        self.site.worker
    }

    /// How many workers were started together.
    pub fn workers(&self) -> usize {
        self.site.workers
    }

    /// Does `units` work units, of 1024 rounds of integer arithmetic each.
    pub fn work(&self, units: u32) {
        common::work(units.into());
    }

    /// Ends an iteration that did `units` work units. False: the run is over.
    #[must_use]
    pub fn iteration(&mut self, units: u32) -> bool {
        self.recorder.iteration(units.into())
    }

    /// Sleeps, and measures how late it wakes. False: the run is over.
    #[must_use]
    pub fn sleep(&mut self, time: Duration) -> bool {
        common::sleep_for(self.recorder, time)
    }

    /// Wakes the worker of this number from [`CustomWorker::wait`]; nobody where there is none. A worker that does not wait
    /// yet will not sleep then.
    pub fn wake(&self, number: usize) {
        if let Some(cell) = self.site.cells.get(number) {
            cell.given_ns.store(clock::monotonic_ns(), Relaxed);
            cell.word.fetch_add(1, Release);
            common::wake_one(&cell.word);
        }
    }

    /// Sleeps until somebody wakes it, and measures how late it runs. Several wake-ups before it waits are one. False: the
    /// run is over.
    #[must_use]
    pub fn wait(&mut self) -> bool {
        let cell = &self.site.cells[self.site.place];
        let Some(slept) = common::await_change(self.recorder, &cell.word, self.seen) else {
            return false;
        };
        self.seen = cell.word.load(Acquire);
        common::was_given(self.recorder, cell.given_ns.load(Relaxed), slept);
        true
    }

    /// Whether the run is over.
    pub fn is_over(&self) -> bool {
        self.recorder.is_over(clock::monotonic_ns())
    }
}

impl fmt::Debug for CustomWorker<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomWorker")
            .field("number", &self.number())
            .finish_non_exhaustive()
    }
}
