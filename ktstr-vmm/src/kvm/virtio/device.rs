//! The device with its registers, under one lock, and how it is driven.

use std::sync::Arc;

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::epoll::EventSet;

use super::console::{Console, Named};
use super::interrupt::{Interrupt, USED_BUFFER};
use super::mmio::Mmio;
use super::ring::Fault;

/// Registers, queues and ports. Everything here returns after a bounded piece of work.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) mmio: Mmio<Console>,
    interrupt: Arc<Interrupt>,
}

/// What is left of what the guest sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// Nothing.
    Done,
    /// More to take.
    Again,
    /// A socket is full.
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

    /// One turn; true when another one would find something to do at once.
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

    /// A turn that only takes what the guest sent.
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

    /// What the I/O thread should watch a port's socket for.
    pub(super) fn wants(&mut self, port: usize) -> EventSet {
        let running = self.mmio.running().is_some();
        let port = self.mmio.device().port(port);
        let mut events = EventSet::empty();
        events.set(EventSet::IN, running && port.wants_read());
        events.set(EventSet::OUT, port.wants_write());
        events
    }

    /// Interrupts the guest, or gives the driver up; true when all is well.
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
