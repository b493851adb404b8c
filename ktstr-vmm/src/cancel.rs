//! Ends a run from another thread or a signal handler.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Cancels what it was passed to, such as the runs of a [`crate::Machine`]. Clones share one state. A token stays
/// cancelled.
///
/// It is backed by an eventfd: [`CancelToken::cancel`] is one `write`, so a signal handler may call it, and the token
/// can be polled together with other descriptors.
///
/// ```
/// use ktstr_vmm::CancelToken;
///
/// let token = CancelToken::new()?;
/// let of_another_thread = token.clone();
/// of_another_thread.cancel();
/// assert!(token.is_cancelled());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CancelToken {
    event: Arc<OwnedFd>,
}

impl CancelToken {
    /// A new token. Fails if the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            event: Arc::new(event),
        })
    }

    /// Ends the current run, or else the next one. This cannot be undone.
    pub fn cancel(&self) {
        // It only fails if the counter is full, and then the token is cancelled already.
        let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for CancelToken {
    /// Readable once cancelled.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
