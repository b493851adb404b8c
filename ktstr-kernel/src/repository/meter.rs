//! What comes from a server, counted and bounded.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::error::{causes, is_no_space};
use super::{Address, GitError};
use crate::text::line;

/// The count of one conversation, and why it failed.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) silence: Duration,
    size: u64,
    time: Duration,
    start: Instant,
    bytes: AtomicU64,
    /// The last four of them.
    tail: Mutex<[u8; 4]>,
    fault: Mutex<Option<Fault>>,
}

/// Why a connection failed, where its reader cannot know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No byte for as long as is allowed.
    Silent,
    /// Longer than is allowed.
    Late,
    /// More than is allowed.
    Large,
    /// A login is asked for.
    Login,
    /// The network or a program says why.
    Network(String),
    /// The server itself says why.
    Said(String),
    /// Here is no room for it.
    NoSpace,
}

impl Meter {
    pub(super) fn new(silence: Duration, time: Duration, size: u64) -> Arc<Self> {
        Arc::new(Self {
            silence,
            size,
            time,
            start: Instant::now(),
            bytes: AtomicU64::new(0),
            tail: Mutex::default(),
            fault: Mutex::new(None),
        })
    }

    /// How many bytes came.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether what came last is the end of a message: without it, it was cut short.
    pub(super) fn is_at_end(&self) -> bool {
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) == *b"0000"
    }

    /// Forgets what came: the next message begins.
    pub(super) fn begins(&self) {
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = [0; 4];
    }

    fn came(&self, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let new = bytes.len().min(tail.len());
        tail.rotate_left(new);
        let old = tail.len() - new;
        tail[old..].copy_from_slice(&bytes[bytes.len() - new..]);
    }

    /// When the conversation must be over.
    pub(super) fn deadline(&self) -> Instant {
        self.start + self.time
    }

    /// Remembers why it fails; the first reason counts.
    pub(super) fn fail(&self, fault: Fault) -> io::Error {
        let mut place = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let error = io::Error::other(format!("{fault:?}"));
        place.get_or_insert(fault);
        error
    }

    /// What `error` says, and remembers it where it is the server's own word.
    pub(super) fn causes(&self, error: &gix::Error) -> String {
        if let Some(said) = error.downcast_any_ref::<gix_transport::packetline::read::Error>() {
            self.fail(Fault::Said(said.message.to_string()));
        }
        if is_no_space(error) {
            self.fail(Fault::NoSpace);
        }
        let is_early_end = |error: &(dyn std::error::Error + 'static)| {
            let error = error.downcast_ref::<io::Error>();
            error.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
        };
        if error.iter_errors().any(is_early_end) {
            self.fail(Fault::Network("the answer ended too early".to_owned()));
        }
        causes(error)
    }

    /// The error of a conversation that failed; `why` says what its reader found, `place` is where it
    /// is written to.
    pub(super) fn error(&self, address: &Address, place: &Path, why: String) -> GitError {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let url = address.text().to_owned();
        let silence = self.silence;
        match fault.as_ref() {
            Some(Fault::Silent) => GitError::Silent { url, silence },
            Some(Fault::Late) => {
                let what = format!("was not done after {} s", self.time.as_secs_f32());
                GitError::Endless { url, what }
            }
            Some(Fault::Large) => {
                let what = format!("sends more than {} MiB", self.size >> 20);
                GitError::Endless { url, what }
            }
            Some(Fault::Login) => GitError::Login { url },
            Some(Fault::Network(why)) => {
                let why = line(why);
                GitError::Unreachable { url, why }
            }
            Some(Fault::Said(said)) => {
                let why = format!("the server says: {}", line(said));
                GitError::Unreachable { url, why }
            }
            Some(Fault::NoSpace) => GitError::NoSpace {
                path: place.to_owned(),
            },
            None => GitError::Garbage { url, why },
        }
    }
}

/// A reader that fails where the bounds are reached.
#[derive(Debug)]
pub(super) struct Metered<R> {
    inner: R,
    meter: Arc<Meter>,
}

impl<R> Metered<R> {
    pub(super) fn new(inner: R, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let meter = &self.meter;
        if Instant::now() >= meter.deadline() {
            return Err(meter.fail(Fault::Late));
        }
        let read = self
            .inner
            .read(buffer)
            .map_err(|error| match error.kind() {
                _ if is_silence(&error) => meter.fail(Fault::Silent),
                io::ErrorKind::Interrupted => error,
                _ => meter.fail(Fault::Network(error.to_string())),
            })?;
        meter.came(&buffer[..read]);
        if meter.bytes() > meter.size {
            return Err(meter.fail(Fault::Large));
        }
        Ok(read)
    }
}

fn is_silence(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ) || matches!(inner, Some(ureq::Error::Timeout(_)))
}

/// A writer to somebody who may have hung up: why is in what there is to read.
#[derive(Debug)]
pub(super) struct Patient<W>(pub(super) W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if is_hung_up(&error) => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if is_hung_up(&error) => Ok(()),
            flushed => flushed,
        }
    }
}

fn is_hung_up(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(meter: &Arc<Meter>) -> GitError {
        let mut reader = Metered::new(io::repeat(0), Arc::clone(meter));
        io::copy(&mut reader, &mut io::sink()).unwrap_err();
        let address = Address::parse("git://host/linux").unwrap();
        meter.error(&address, Path::new(""), String::new())
    }

    #[test]
    fn endless_streams_end() {
        let hour = Duration::from_secs(3600);
        let error = read(&Meter::new(hour, hour, 3 << 20)).to_string();
        assert!(error.contains("sends more than 3 MiB"), "{error}");
        let error = read(&Meter::new(hour, Duration::from_millis(20), u64::MAX)).to_string();
        assert!(error.contains("was not done after 0.02 s"), "{error}");
    }
}
