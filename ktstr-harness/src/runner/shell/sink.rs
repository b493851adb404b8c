//! Writing to descriptors of the caller's without waiting, and without changing them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, open};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendFlags, send};

/// What a pipe or a terminal that is ready for writing takes without waiting: `PIPE_BUF`.
const SURE: usize = 4096;

/// A descriptor that is written to.
///
/// That one does not wait is no property of a descriptor but of the open file, which other processes have as well: they
/// would see their writes fail. So pipes and terminals are opened once more.
#[derive(Debug)]
pub(super) struct Sink<'fd> {
    fd: BorrowedFd<'fd>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// The same pipe or terminal as an open file of ours, which does not wait.
    Reopened(OwnedFd),
    /// In small pieces, each when the descriptor is ready.
    Pieces,
    /// A file: it never waits for a reader.
    Direct,
    Socket,
}

impl<'fd> Sink<'fd> {
    pub(super) fn new(fd: BorrowedFd<'fd>) -> Self {
        let way = way(fd);
        Self { fd, way }
    }

    /// The descriptor that is ready when a write takes something.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Reopened(fd) => fd.as_fd(),
            _ => self.fd,
        }
    }

    /// Writes what can be written without waiting; `EAGAIN` where that is nothing.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = |fd: BorrowedFd<'_>, bytes: &[u8]| rustix::io::write(fd, bytes);
        Ok(match &self.way {
            Way::Reopened(fd) => write(fd.as_fd(), bytes),
            Way::Direct => write(self.fd, bytes),
            Way::Socket => send(self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Way::Pieces if is_ready(self.fd) => write(self.fd, &bytes[..bytes.len().min(SURE)]),
            Way::Pieces => Err(Errno::AGAIN),
        }?)
    }
}

fn way(fd: BorrowedFd<'_>) -> Way {
    let Ok(stat) = fstat(fd) else {
        return Way::Direct;
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => Way::Socket,
        FileType::RegularFile | FileType::BlockDevice => Way::Direct,
        // Opened again, this device would be another terminal: the master of a new pair.
        FileType::CharacterDevice if (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2) => {
            Way::Pieces
        }
        _ => reopened(fd).map_or(Way::Pieces, Way::Reopened),
    }
}

fn reopened(fd: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty())
}

fn is_ready(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    // One that failed is ready for the write that tells why.
    retry_on_intr(|| poll(&mut fds, Some(&now))).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use rustix::fs::fcntl_getfl;
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

    use super::*;

    /// Writes until nothing more fits; how much did.
    fn fill(sink: &Sink<'_>) -> usize {
        let mut written = 0;
        loop {
            match sink.write(&vec![b'x'; 64 << 10]) {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(Errno::from_io_error(&error), Some(Errno::AGAIN));
                    return written;
                }
            }
        }
    }

    #[test]
    fn a_full_pipe_does_not_wait_and_stays_as_it_is() {
        let (mut reader, writer) = io::pipe().unwrap();
        for pieces in [false, true] {
            let mut sink = Sink::new(writer.as_fd());
            assert!(matches!(sink.way, Way::Reopened(_)));
            if pieces {
                sink.way = Way::Pieces;
            }
            let written = fill(&sink);
            assert!(written >= SURE, "{written}");
            let flags = fcntl_getfl(&writer).unwrap();
            assert!(!flags.contains(OFlags::NONBLOCK));
            let mut read = vec![0; written];
            reader.read_exact(&mut read).unwrap();
            assert!(sink.write(b"x").is_ok());
            reader.read_exact(&mut [0]).unwrap();
        }
        drop(reader);
        let gone = Sink::new(writer.as_fd()).write(b"x").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn terminals_and_sockets_do_not_wait_either() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let terminal = ioctl_tiocgptpeer(&master, flags).unwrap();
        let sink = Sink::new(terminal.as_fd());
        assert!(matches!(sink.way, Way::Reopened(_)));
        assert!(fill(&sink) > 0);
        // The other side is no way to open the same pair.
        assert!(matches!(Sink::new(master.as_fd()).way, Way::Pieces));
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(fill(&Sink::new(ours.as_fd())) > 0);
    }

    #[test]
    fn a_file_is_written_where_it_stands() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"one ").unwrap();
        assert_eq!(Sink::new(file.as_fd()).write(b"two").unwrap(), 3);
        io::Seek::rewind(&mut file).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = Sink::new(full.as_fd()).write(b"x").unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOSPC));
    }
}
