//! Output on its way to a descriptor of the caller's.

use std::os::fd::BorrowedFd;

use ktstr_vmm::Interest;
use rustix::io::Errno;

use super::sink::Sink;
use crate::protocol::flow::{Backlog, Passed, Stream};

/// What goes to a descriptor of the caller's.
#[derive(Debug)]
pub(super) struct Outlet<'fd> {
    pub(super) stream: Stream,
    sink: Sink<'fd>,
    pub(super) backlog: Backlog,
    pub(super) is_open: bool,
}

/// Why nothing more goes to a descriptor.
pub(super) enum Stopped {
    /// Its reader is gone.
    Gone,
    Failed(Errno),
}

impl<'fd> Outlet<'fd> {
    pub(super) fn new(stream: Stream, fd: BorrowedFd<'fd>) -> Self {
        Self {
            stream,
            sink: Sink::new(fd),
            backlog: Backlog::default(),
            is_open: true,
        }
    }

    pub(super) fn interest(&self) -> Option<Interest<'_>> {
        (!self.backlog.is_empty()).then(|| Interest {
            fd: self.sink.fd(),
            readable: false,
            writable: true,
        })
    }

    /// Writes what can be written now.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        let Self { sink, backlog, .. } = self;
        let stopped = match backlog.pass(|bytes| sink.write(bytes)) {
            Passed::Open => return Ok(()),
            Passed::Gone => Stopped::Gone,
            Passed::Failed(errno) => Stopped::Failed(errno),
        };
        self.backlog.clear();
        self.is_open = false;
        Err(stopped)
    }
}
