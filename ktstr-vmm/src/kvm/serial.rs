//! The console: COM1, whose output goes to a stream.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SendFlags, send};
use vm_superio::Trigger;
use vm_superio::serial::NoEvents;
use vmm_sys_util::eventfd::EventFd;

use crate::error::KvmError;

/// How long a vCPU waits for room before it checks whether the machine is ending.
const WAIT: Duration = Duration::from_millis(100);

/// COM1.
#[derive(Debug)]
pub(super) struct Serial {
    port: Mutex<vm_superio::Serial<Interrupt, NoEvents, Stream>>,
    hung_up: Arc<AtomicBool>,
}

impl Serial {
    /// A port that raises `interrupt`, and whose output goes to `stream`.
    pub(super) fn new(interrupt: &EventFd, stream: OwnedFd) -> Result<Self, KvmError> {
        let interrupt = interrupt
            .try_clone()
            .map_err(KvmError::host("duplicating an eventfd"))?;
        set_socket_timeout(&stream, Timeout::Send, Some(WAIT))
            .map_err(|errno| KvmError::host("setting up the console's socket")(errno.into()))?;
        let hung_up = Arc::new(AtomicBool::new(false));
        let stream = Stream {
            socket: stream,
            burst: Vec::with_capacity(BURST),
            hung_up: Arc::clone(&hung_up),
        };
        let serial = vm_superio::Serial::new(Interrupt(interrupt), stream);
        Ok(Self {
            port: Mutex::new(serial),
            hung_up,
        })
    }

    /// Reads the register at `offset`, 0 to 7.
    pub(super) fn read(&self, offset: u8) -> u8 {
        let mut serial = self.lock();
        serial.writer_mut().send(SendFlags::empty());
        serial.read(offset)
    }

    /// Writes the register at `offset`. Output that the stream does not take is lost, as on an unconnected serial line.
    pub(super) fn write(&self, offset: u8, value: u8) {
        let mut serial = self.lock();
        if offset != DATA {
            serial.writer_mut().send(SendFlags::empty());
        }
        let _ = serial.write(offset, value);
    }

    /// Makes writes stop waiting for room, as the machine is ending.
    pub(super) fn hang_up(&self) {
        self.hung_up.store(true, Ordering::SeqCst);
    }

    /// Sends the last output of a vCPU that has exited, as far as the stream has room.
    pub(super) fn end(&self) {
        self.lock().writer_mut().send(SendFlags::DONTWAIT);
    }

    fn lock(&self) -> MutexGuard<'_, vm_superio::Serial<Interrupt, NoEvents, Stream>> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interrupt of the guest.
#[derive(Debug)]
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// The register that takes bytes to send (THR).
const DATA: u8 = 0;

/// Maximum number of bytes that are sent together. A driver fills the 16-byte FIFO and then accesses another register.
const BURST: usize = 16;

/// A writer to a socket that waits if the socket has no room.
///
/// Consecutive bytes are sent together: a system call for each would cost as much as the exit from the guest. They are
/// sent at the latest when the driver checks that the transmitter is empty, which it does after every burst.
#[derive(Debug)]
struct Stream {
    socket: OwnedFd,
    burst: Vec<u8>,
    hung_up: Arc<AtomicBool>,
}

impl Stream {
    /// Sends the buffered bytes. Those that the socket does not take are lost, as on an unconnected serial line.
    fn send(&mut self, flags: SendFlags) {
        let mut left = &self.burst[..];
        while !left.is_empty() {
            match send(&self.socket, left, SendFlags::NOSIGNAL | flags) {
                Ok(count) => left = &left[count..],
                // A signal or no room: the vCPU was kicked, or the machine is ending.
                Err(Errno::INTR | Errno::AGAIN)
                    if flags.is_empty() && !self.hung_up.load(Ordering::SeqCst) => {}
                Err(_) => break,
            }
        }
        self.burst.clear();
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            self.burst.push(byte);
            if self.burst.len() == BURST {
                self.send(SendFlags::empty());
            }
        }
        Ok(bytes.len())
    }

    /// Called after every byte; [`Serial::read`] says when they are sent.
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
        // Drivers wait until the transmitter is empty; by then everything is sent.
        assert_eq!(serial.read(5) & 0x20, 0x20);
        let mut text = [0; 5];
        ours.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"Linux");
        drop(ours);
        serial.write(0, b'x');
        assert_eq!(serial.read(5) & 0x20, 0x20);
    }

    #[test]
    fn nothing_waits_longer_than_a_burst() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let serial = Serial::new(&interrupt, theirs.into()).unwrap();
        let mut heard = |expected: usize| {
            let mut bytes = [0; 64];
            let count = ours.read(&mut bytes).unwrap_or(0);
            assert_eq!(count, expected);
        };
        (0..15).for_each(|_| serial.write(0, b'x'));
        heard(0);
        serial.write(0, b'x');
        heard(16);
        // A write to another register.
        serial.write(0, b'x');
        serial.write(1, 0);
        heard(1);
        // The machine has exited.
        serial.write(0, b'x');
        serial.end();
        heard(1);
    }

    #[test]
    fn a_vcpu_waits_for_room_until_the_machine_ends() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let full = theirs.try_clone().unwrap();
        full.set_nonblocking(true).unwrap();
        let mut before = 0;
        while let Ok(count) = (&full).write(&[b'x'; 4096]) {
            before += count;
        }
        full.set_nonblocking(false).unwrap();
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let serial = Arc::new(Serial::new(&interrupt, theirs.into()).unwrap());
        let vcpu = |byte: u8| {
            let serial = Arc::clone(&serial);
            std::thread::spawn(move || {
                serial.write(0, byte);
                serial.read(5)
            })
        };
        // It waits longer than one step, and its output arrives.
        let waiting = vcpu(b'y');
        std::thread::sleep(2 * WAIT);
        assert!(!waiting.is_finished());
        let mut text = vec![0; before + 1];
        ours.read_exact(&mut text).unwrap();
        assert_eq!(text[before], b'y');
        waiting.join().unwrap();

        full.set_nonblocking(true).unwrap();
        while (&full).write(&[b'x'; 4096]).is_ok() {}
        full.set_nonblocking(false).unwrap();
        let waiting = vcpu(b'z');
        serial.hang_up();
        waiting.join().unwrap();
    }

    #[test]
    fn the_end_waits_for_nobody() {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let full = theirs.try_clone().unwrap();
        full.set_nonblocking(true).unwrap();
        while (&full).write(&[0; 4096]).is_ok() {}
        full.set_nonblocking(false).unwrap();
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let serial = Serial::new(&interrupt, theirs.into()).unwrap();
        serial.write(0, b'x');
        serial.end();
    }
}
