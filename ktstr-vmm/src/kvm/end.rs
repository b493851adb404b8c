//! The end of a machine, as its vCPUs report it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::hypervisor::MachineEnd;

/// How a machine ended, as reported by the first vCPU that saw it.
#[derive(Debug)]
pub(super) struct EndEvent {
    how: Mutex<Option<MachineEnd>>,
    /// Readable once the machine has ended.
    event: OwnedFd,
}

impl EndEvent {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            how: Mutex::default(),
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// Readable once the machine has ended.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn how(&self) -> Option<MachineEnd> {
        let how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        how.clone()
    }

    /// Clears the event after it was seen.
    pub(super) fn silence(&self) {
        // It fails if there is nothing to read.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }

    pub(super) fn set(&self, ended: MachineEnd) {
        let mut how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        how.get_or_insert(ended);
        // It fails if the counter is full, and then the event is readable anyway.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}
