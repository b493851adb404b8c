//! The device with its registers, behind one lock.

use std::sync::Arc;

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::epoll::EventSet;

use super::console::{Console, Named};
use super::interrupt::{Interrupt, USED_BUFFER};
use super::mmio::Mmio;
use super::ring::Fault;

/// Registers, queues and ports. Every call does a bounded amount of work.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) mmio: Mmio<Console>,
    interrupt: Arc<Interrupt>,
}

/// What remains of the guest's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Nothing.
    Done,
    /// More is queued.
    Again,
    /// Some waits for room in a socket.
    Blocked,
}

impl Core {
    pub(super) fn new(
        memory: GuestMemoryMmap,
        interrupt: Arc<Interrupt>,
        ports: Vec<Named>,
    ) -> Result<Self, Fault> {
        let console = Console::new(ports);
        let mmio = Mmio::new(console, Arc::new(memory), Arc::clone(&interrupt))?;
        Ok(Self { mmio, interrupt })
    }

    /// Does one turn; returns true if another one has work to do immediately.
    pub(super) fn step(&mut self) -> bool {
        let mut running = false;
        if let Some((console, queues, memory)) = self.mmio.running() {
            let served = console.serve(queues, memory);
            running = self.settle(served);
        }
        let console = self.mmio.device();
        console.send();
        running && console.can_go_on()
    }

    /// Does a turn that only takes what the guest sent.
    pub(super) fn flush(&mut self) -> Flush {
        let mut running = false;
        if let Some((console, queues, memory)) = self.mmio.running() {
            let taken = console.transmit(queues, memory);
            running = self.settle(taken);
        }
        let console = self.mmio.device();
        console.send();
        if running && console.can_transmit() {
            Flush::Again
        } else if console.is_blocked() {
            Flush::Blocked
        } else {
            Flush::Done
        }
    }

    /// The events for which the I/O thread watches a port's socket.
    pub(super) fn wants(&mut self, port: usize) -> EventSet {
        let running = self.mmio.running().is_some();
        let port = self.mmio.device().port(port);
        let mut events = EventSet::empty();
        events.set(EventSet::IN, running && port.wants_read());
        events.set(EventSet::OUT, port.wants_write());
        events
    }

    /// Interrupts the guest, or marks the device as broken after a fault; returns true if there was none.
    fn settle(&mut self, served: Result<bool, Fault>) -> bool {
        match served {
            Ok(interrupt) => {
                if interrupt {
                    self.interrupt.raise(USED_BUFFER);
                }
                true
            }
            Err(fault) => {
                self.mmio.fail(fault);
                false
            }
        }
    }
}
