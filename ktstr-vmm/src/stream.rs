//! Non-blocking streams between us and a backend.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send};

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// This many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// Our end, non-blocking, and the other one.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Reads what is there from one of our ends.
pub(crate) fn read(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Got> {
    match retry_on_intr(|| recv(&socket, &mut *buffer, RecvFlags::DONTWAIT)) {
        // The second: the other side ended with something of ours unread.
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Got::End),
        Ok((count, _)) => Ok(Got::Bytes(count)),
        Err(Errno::AGAIN) => Ok(Got::Nothing),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes what fits into one of our ends; `None` when nobody will read it any more.
pub(crate) fn write(socket: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    match retry_on_intr(|| send(&socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(Some(0)),
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
