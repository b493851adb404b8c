//! What init does beside a test's body: it samples, watches the kernel's log, follows the trace, and writes into the maps
//! of the scheduler.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::map_write::MapWrites;
use super::sample::Sampler;
use super::watch::Watch;
use crate::trace::Session;

/// What init does while a body runs, for which it wakes up in time.
pub(super) struct Beside<'a> {
    pub(super) sampler: &'a mut Sampler,
    pub(super) watch: &'a mut Watch,
    /// The trace of the whole test, if the test has a check that takes one.
    pub(super) trace: Option<&'a mut Session>,
    pub(super) writes: &'a mut MapWrites,
}

impl Beside<'_> {
    /// Does what is due so long after the start of the body. An error says which write into a map failed, and why.
    pub(super) fn pass(&mut self, elapsed: Duration) -> Result<(), String> {
        self.sampler.sample_if_due();
        self.watch.look();
        self.writes.write_due(elapsed)?;
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.is_due()) {
            trace.pass();
        }
        Ok(())
    }

    /// Time until something is due, so long after the start of the body.
    pub(super) fn due_in(&self, elapsed: Duration) -> Duration {
        let write = self.writes.due_at().map(|at| at.saturating_sub(elapsed));
        let trace = self.trace.as_ref().map(|trace| trace.due_in());
        let others = [write, trace].into_iter().flatten();
        others.fold(self.sampler.due_in(), Duration::min)
    }

    /// Readable when something is due earlier.
    pub(super) fn signal(&self) -> Option<BorrowedFd<'_>> {
        self.trace.as_ref().map(|trace| trace.ready())
    }
}
