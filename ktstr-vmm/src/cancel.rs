//! Ending a run from somewhere else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// Ends what it was given to, such as the runs of a [`crate::Machine`]; clones end the same.
///
/// It is backed by an eventfd: [`CancelToken::cancel`] is one `write`, so a signal handler may call it.
#[derive(Debug, Clone)]
pub struct CancelToken {
    event: Arc<OwnedFd>,
}

impl CancelToken {
    /// A token that nobody has cancelled. Fails where the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            event: Arc::new(event),
        })
    }

    /// Ends the run, or the next one where none is going on. It cannot be taken back.
    pub fn cancel(&self) {
        // It fails only when the counter is full, which is cancelled as well.
        let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
    }
}

impl AsFd for CancelToken {
    /// Readable once cancelled.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
