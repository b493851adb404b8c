//! Ending a run from somewhere else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Ends what it was given to, such as the runs of a [`crate::Machine`]; clones end the same. A token stays cancelled.
///
/// It is backed by an eventfd: [`CancelToken::cancel`] is one `write`, so a signal handler may call it, and whoever
/// waits for other descriptors can wait for the token as well.
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
