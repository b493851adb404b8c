//! The console: the first serial port of a PC, into a stream.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use vm_superio::Trigger;
use vm_superio::serial::NoEvents;
use vmm_sys_util::eventfd::EventFd;

use super::error::KvmError;

/// COM1.
#[derive(Debug)]
pub(super) struct Serial(Mutex<vm_superio::Serial<Interrupt, NoEvents, Stream>>);

impl Serial {
    /// A port whose interrupt is `interrupt`, and whose output goes into `stream`.
    pub(super) fn new(interrupt: &EventFd, stream: OwnedFd) -> Result<Self, KvmError> {
        let interrupt = interrupt
            .try_clone()
            .map_err(KvmError::host("duplicating an eventfd"))?;
        let serial = vm_superio::Serial::new(Interrupt(interrupt), Stream(stream));
        Ok(Self(Mutex::new(serial)))
    }

    /// Reads the register at `offset`, 0 to 7.
    pub(super) fn read(&self, offset: u8) -> u8 {
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serial.read(offset)
    }

    /// Writes to it. What cannot be passed on is lost, as on a cable that nobody holds.
    pub(super) fn write(&self, offset: u8, value: u8) {
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = serial.write(offset, value);
    }
}

/// An interrupt of the guest's.
#[derive(Debug)]
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// A socket that is written to, waiting for room where there is none.
#[derive(Debug)]
struct Stream(OwnedFd);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.0, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => Ok(count),
            // The signal that ends the machine: nobody reads any more, and `write_all` would try again.
            Err(Errno::INTR) => Ok(bytes.len()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_the_guest_writes_comes_out() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let serial = Serial::new(&interrupt, theirs.into()).unwrap();
        for byte in *b"Linux" {
            serial.write(0, byte);
        }
        let mut text = [0; 5];
        ours.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"Linux");
        // The transmitter is empty: drivers wait for that.
        assert_eq!(serial.read(5) & 0x20, 0x20);
        drop(ours);
        serial.write(0, b'x');
    }
}
