//! Pipes and sockets between two workers. They are made before the workers, which inherit them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

/// A two-way connection of the workers at places 0 and 1 of a team.
#[derive(Debug)]
pub(super) struct Channel {
    /// Where each reads.
    read: [OwnedFd; 2],
    /// Where each writes; `None` where that is where it reads.
    write: Option<[OwnedFd; 2]>,
}

/// How workers are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelKind {
    Pipes,
    Sockets,
}

impl ChannelKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pipes => "pipe",
            Self::Sockets => "socket pair (CONFIG_UNIX)",
        }
    }
}

impl Channel {
    pub(super) fn new(kind: ChannelKind) -> io::Result<Self> {
        Ok(match kind {
            ChannelKind::Pipes => {
                let (read_first, write_second) = pipe_with(PipeFlags::CLOEXEC)?;
                let (read_second, write_first) = pipe_with(PipeFlags::CLOEXEC)?;
                Self {
                    read: [read_first, read_second],
                    write: Some([write_first, write_second]),
                }
            }
            ChannelKind::Sockets => {
                let (first, second) = socketpair(
                    AddressFamily::UNIX,
                    SocketType::STREAM,
                    SocketFlags::CLOEXEC,
                    None,
                )?;
                Self {
                    read: [first, second],
                    write: None,
                }
            }
        })
    }

    /// Where the worker at `place` reads.
    pub(super) fn read_end(&self, place: usize) -> BorrowedFd<'_> {
        self.read[place % 2].as_fd()
    }

    /// Where it writes.
    pub(super) fn write_end(&self, place: usize) -> BorrowedFd<'_> {
        self.write.as_ref().unwrap_or(&self.read)[place % 2].as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads() {
        for kind in [ChannelKind::Pipes, ChannelKind::Sockets] {
            let channel = Channel::new(kind).unwrap();
            for place in [0, 1] {
                rustix::io::write(channel.write_end(place), &[7, place as u8]).unwrap();
                let mut buffer = [0; 4];
                let length = rustix::io::read(channel.read_end(1 - place), &mut buffer).unwrap();
                assert_eq!(&buffer[..length], [7, place as u8], "{kind:?}");
            }
        }
    }
}
