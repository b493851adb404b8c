//! What reaches a shell beside its input: signals, and the size of its terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::protocol::TerminalSize;

/// Most signals that wait to be passed on: more say nothing new.
const MOST: usize = 16;

/// Sends signals and sizes to a shell that runs, from any thread. What comes before the shell has started waits for it.
#[derive(Debug)]
pub struct ShellControl {
    event: OwnedFd,
    waiting: Mutex<Waiting>,
}

/// What was not passed on yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) size: Option<TerminalSize>,
    pub(super) signals: Vec<i32>,
}

impl ShellControl {
    /// Controls no shell yet. Fails if the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            event,
            waiting: Mutex::default(),
        })
    }

    /// The terminal has this size now.
    pub fn resize(&self, size: TerminalSize) {
        self.tell(|waiting| waiting.size = Some(size));
    }

    /// Sends a signal to the foreground of the shell's terminal or, where it has none, to the group of its command.
    pub fn signal(&self, signal: i32) {
        self.tell(|waiting| {
            if waiting.signals.len() < MOST {
                waiting.signals.push(signal);
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        // It only fails if the counter is full, and then it is readable already.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Everything that was told since the last call.
    pub(super) fn take(&self) -> Waiting {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}

impl AsFd for ShellControl {
    /// Readable when there is something to pass on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
