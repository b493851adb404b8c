//! The caller's side of a running machine.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use crate::channel::FrameEncoder;
use crate::channel::frame::{Frame, FrameError};

/// Whether a run continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The machine continues.
    Continue,
    /// The machine is ended now.
    Stop,
}

/// Watches a machine while it runs, and talks to its guest.
///
/// Its methods run on the thread that called [`crate::Machine::run`], between reads: while one of them runs, no output
/// of the machine is read and no deadline is checked.
pub trait Observer {
    /// Called with console output as it arrives. A chunk may end anywhere, even within a line or a character.
    fn console(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// Called for each frame from the guest; answers go into `outbox`.
    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow;

    /// Descriptors that the run waits for besides the machine's own; asked for before each wait.
    ///
    /// One whose other end is gone counts as ready: leave it out then, or the run does nothing but call
    /// [`Observer::ready`].
    fn interests(&self) -> Vec<Interest<'_>> {
        Vec::new()
    }

    /// Called when at least one of [`Observer::interests`] is ready. It must not wait for the others.
    fn ready(&mut self, outbox: &mut Outbox) -> Flow {
        let _ = outbox;
        Flow::Continue
    }
}

/// A descriptor of an observer's, and what it is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Interest<'fd> {
    /// The descriptor.
    pub fd: BorrowedFd<'fd>,
    /// Until it can be read.
    pub readable: bool,
    /// Until it can be written.
    pub writable: bool,
}

impl Interest<'_> {
    pub(crate) fn events(self) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, self.readable);
        events.set(PollFlags::OUT, self.writable);
        events
    }
}

/// Queues frames to the guest. Sending never blocks: frames leave as the guest reads.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(crate) encoder: FrameEncoder,
    pub(crate) refused: Option<FrameError>,
}

impl Outbox {
    /// Queues `frame`. A frame that is too large ends the run with [`crate::MachineError::Frame`].
    pub fn send(&mut self, frame: &Frame) {
        if let Err(error) = self.encoder.push(frame) {
            self.refused.get_or_insert(error);
        }
    }

    /// Bytes that are queued and were not sent yet, headers included.
    pub fn pending(&self) -> usize {
        self.encoder.bytes().len()
    }
}
