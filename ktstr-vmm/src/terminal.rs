//! A machine's terminal: a stream socket for input and output.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::net::sockopt::socket_type;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::error::MachineError;

/// The host's end of a machine's terminal. The guest never blocks on output: what nobody reads is dropped.
#[derive(Debug, Clone)]
pub enum Terminal {
    /// A listening Unix socket. Each run connects to it at its start.
    Socket(PathBuf),
    /// The machine's end of a stream socket, such as one of [`UnixStream::pair`]. It stays open as long as the
    /// [`crate::MachineSpec`] exists; successive runs use the same socket.
    Stream(Arc<OwnedFd>),
}

impl From<UnixStream> for Terminal {
    fn from(stream: UnixStream) -> Self {
        Self::Stream(Arc::new(stream.into()))
    }
}

/// Two streams are equal if they are the same socket.
impl PartialEq for Terminal {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Socket(one), Self::Socket(other)) => one == other,
            (Self::Stream(one), Self::Stream(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Terminal {}

impl Terminal {
    /// Checks that a stream is a stream socket. A path is connected to when the machine starts.
    pub(crate) fn check(&self) -> Result<(), MachineError> {
        let Self::Stream(stream) = self else {
            return Ok(());
        };
        match socket_type(stream) {
            Ok(SocketType::STREAM) => Ok(()),
            Ok(_) => Err(not_a_stream(rustix::io::Errno::PROTOTYPE)),
            Err(errno) => Err(not_a_stream(errno)),
        }
    }

    /// Opens the machine's end for one run. It does not block: a listener that does not accept is an error.
    pub(crate) fn open(&self) -> Result<OwnedFd, MachineError> {
        match self {
            Self::Stream(stream) => stream
                .as_fd()
                .try_clone_to_owned()
                .map_err(MachineError::host("duplicating the terminal's socket")),
            Self::Socket(path) => {
                let unreachable = |source: rustix::io::Errno| MachineError::Terminal {
                    what: path.display().to_string(),
                    source: source.into(),
                    remedy: "have something listen there and accept, before the machine starts",
                };
                let address = SocketAddrUnix::new(path).map_err(unreachable)?;
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                    .map_err(MachineError::host("socket"))?;
                connect(&socket, &address).map_err(unreachable)?;
                Ok(socket)
            }
        }
    }
}

fn not_a_stream(errno: rustix::io::Errno) -> MachineError {
    MachineError::Terminal {
        what: "stream".to_owned(),
        source: io::Error::from(errno),
        remedy: "pass one end of a connected stream socket",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn a_path_is_connected_to_by_each_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("terminal");
        let listener = UnixListener::bind(&path).unwrap();
        let terminal = Terminal::Socket(path);
        for _ in 0..2 {
            let ours = terminal.open().unwrap();
            let (mut theirs, _) = listener.accept().unwrap();
            theirs.write_all(b"hi").unwrap();
            let mut text = [0; 2];
            // The socket does not block: wait for what was sent.
            let mut ours = UnixStream::from(ours);
            ours.set_nonblocking(false).unwrap();
            ours.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"hi");
        }
    }

    #[test]
    fn who_does_not_listen_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("terminal");
        let error = |path: PathBuf| Terminal::Socket(path).open().unwrap_err().to_string();
        let missing = error(path.clone());
        assert!(missing.contains("terminal: No such file"), "{missing}");
        let too_long = error(dir.path().join("x".repeat(200)));
        assert!(too_long.contains("too long"), "{too_long}");
        std::fs::write(&path, "").unwrap();
        let plain = error(path.clone());
        assert!(plain.contains("Connection refused"), "{plain}");
        std::fs::remove_file(&path).unwrap();

        // A listener that accepts nobody, with its queue full.
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        // Whoever waited there would wait for ever.
        let terminal = Terminal::Socket(path);
        let mut waiting = Vec::new();
        let full = loop {
            match terminal.open() {
                Ok(socket) => waiting.push(socket),
                Err(error) => break error.to_string(),
            }
            assert!(waiting.len() < 5000, "the queue never fills");
        };
        assert!(full.contains("listen there and accept"), "{full}");
    }

    #[test]
    fn only_stream_sockets_are_streams() {
        let (one, other) = UnixStream::pair().unwrap();
        let (one, other) = (Terminal::from(one), Terminal::from(other));
        one.check().unwrap();
        assert!(one == one.clone() && one != other);
        let file = Terminal::Stream(Arc::new(tempfile::tempfile().unwrap().into()));
        let (datagrams, _) = UnixDatagram::pair().unwrap();
        let datagrams = Terminal::Stream(Arc::new(datagrams.into()));
        for terminal in [file, datagrams] {
            let error = terminal.check().unwrap_err().to_string();
            assert!(error.starts_with("terminal stream: "), "{error}");
        }
    }
}
