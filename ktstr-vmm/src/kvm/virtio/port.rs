//! A port: moves bytes between a pair of queues and a stream socket.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use virtio_queue::Queue;

use super::buffer::{Buffer, CAPACITY};
use super::ring::{Chain, Fault, Memory, Next, Ring};
use crate::stream::{self, Got};

/// Pending messages to the driver about a port. Each is one bit, so that repeated requests of a driver do not
/// accumulate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tell {
    pub(super) add: bool,
    pub(super) console: bool,
    pub(super) name: bool,
    pub(super) open: bool,
}

/// A port's state.
#[derive(Debug)]
pub(super) struct Port {
    /// The socket to the host.
    socket: Arc<OwnedFd>,
    /// Whether it is a console. A console does not wait for the host, as the guest would busy-wait.
    console: bool,
    /// Bytes from the guest that are not yet in the socket.
    outgoing: Buffer,
    /// Bytes from the socket that the guest does not have yet.
    incoming: Buffer,
    /// A chain that is partly read.
    chain: Option<Chain>,
    /// The guest has queued more than `outgoing` took.
    more: bool,
    /// The guest has given no buffers to receive into.
    starved: bool,
    /// The host has closed its sending side.
    incoming_ended: bool,
    /// The host has closed its receiving side.
    outgoing_ended: bool,
    /// The driver has set up the port.
    ready: bool,
    /// A program in the guest has opened it.
    guest_open: bool,
    /// The state of the host's side that the driver was told last.
    told_open: bool,
    pub(super) tell: Tell,
}

impl Port {
    pub(super) fn new(socket: Arc<OwnedFd>, console: bool) -> Self {
        Self {
            socket,
            console,
            outgoing: Buffer::new(CAPACITY),
            incoming: Buffer::new(CAPACITY),
            chain: None,
            more: false,
            starved: true,
            incoming_ended: false,
            outgoing_ended: false,
            ready: false,
            guest_open: false,
            told_open: false,
            tell: Tell::default(),
        }
    }

    /// The socket, for polling.
    pub(super) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Resets the port for a new driver. What the old one sent is still delivered, and what it did not receive waits
    /// for the new one.
    pub(super) fn reset(&mut self) {
        self.chain = None;
        self.more = false;
        self.starved = true;
        self.ready = false;
        self.guest_open = false;
        self.told_open = false;
        self.tell = Tell::default();
    }

    /// The driver has set up the port, or failed to.
    pub(super) fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
        self.guest_open &= ready;
        self.tell = Tell {
            add: self.tell.add,
            console: ready && self.console,
            name: ready,
            open: ready,
        };
    }

    /// A program in the guest opened or closed the port.
    pub(super) fn set_guest_open(&mut self, open: bool) {
        self.guest_open = open && self.ready;
    }

    /// Whether the guest sees the host's side as open. A program that reads gets the remaining bytes first.
    pub(super) fn host_open(&self) -> bool {
        !self.incoming_ended && (self.guest_open || !self.outgoing_ended)
    }

    /// The driver was told the state of the host's side.
    pub(super) fn told(&mut self, open: bool) {
        self.tell.open = false;
        self.told_open = open;
    }

    /// Queues a message to the driver if the state of the host's side has changed.
    pub(super) fn review(&mut self) {
        self.tell.open |= self.ready && self.host_open() != self.told_open;
    }

    /// Whether more can be read from the socket.
    pub(super) fn wants_read(&self) -> bool {
        self.guest_open && !self.starved && !self.incoming_ended && self.incoming.is_empty()
    }

    /// Whether bytes wait for room in the socket.
    pub(super) fn wants_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether they must be sent before the machine ends. A console does not delay that.
    pub(super) fn is_blocked(&self) -> bool {
        self.wants_write() && !self.console
    }

    /// Whether there is more to take from the guest, and room for it.
    pub(super) fn can_transmit(&self) -> bool {
        self.more && !self.outgoing.is_full()
    }

    /// Takes what the guest sent, as far as there is room; returns true if the driver wants an interrupt.
    pub(super) fn transmit(&mut self, queue: &mut Queue, memory: &Memory) -> Result<bool, Fault> {
        self.more = false;
        let Some(mut ring) = Ring::new(queue, memory)? else {
            return Ok(false);
        };
        self.more = true;
        while !self.outgoing.is_full() {
            let mut chain = match self.chain.take() {
                Some(chain) => chain,
                None => match ring.next()? {
                    Next::Chain(chain) => chain,
                    Next::Empty => {
                        self.more = false;
                        break;
                    }
                    Next::Later => break,
                },
            };
            if !ring.read(&mut chain, &mut self.outgoing)? {
                self.chain = Some(chain);
                break;
            }
            ring.give_back(&chain, 0)?;
        }
        ring.end()
    }

    /// Gives the guest what the host sent; returns true if the driver wants an interrupt.
    pub(super) fn receive(&mut self, queue: &mut Queue, memory: &Memory) -> Result<bool, Fault> {
        self.starved = true;
        if !self.guest_open {
            return Ok(false);
        }
        let Some(mut ring) = Ring::new(queue, memory)? else {
            return Ok(false);
        };
        self.starved = !ring.available()?;
        if self.wants_read() {
            self.fetch();
        }
        while !self.incoming.is_empty() {
            let Next::Chain(mut chain) = ring.next()? else {
                break;
            };
            let count = ring.write(&mut chain, self.incoming.bytes())?;
            ring.give_back(&chain, count)?;
            self.incoming.consume(count);
        }
        self.starved = !ring.available()?;
        ring.end()
    }

    /// Whether bytes for the guest could be moved immediately, as the last turn was too short.
    pub(super) fn can_deliver(&self) -> bool {
        self.guest_open && !self.starved && !self.incoming.is_empty()
    }

    /// Reads from the socket once.
    fn fetch(&mut self) {
        match stream::read(&self.socket, self.incoming.room()) {
            Ok(Got::Bytes(count)) => self.incoming.fill(count),
            Ok(Got::Nothing) => {}
            Ok(Got::End) | Err(_) => self.incoming_ended = true,
        }
    }

    /// Writes to the socket once.
    pub(super) fn send(&mut self) {
        if !self.outgoing.is_empty() && !self.outgoing_ended {
            match stream::write(&self.socket, self.outgoing.bytes()) {
                Ok(Some(count)) => self.outgoing.consume(count),
                Ok(None) | Err(_) => self.outgoing_ended = true,
            }
        }
        if self.outgoing_ended || self.console && self.outgoing.is_full() {
            self.outgoing.clear();
        }
    }
}
