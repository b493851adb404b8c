//! The virtio console: named ports between the guest and stream sockets of the host.
//!
//! vCPUs only access registers, which never blocks; an I/O thread moves the bytes. The guest is not trusted: every turn
//! is bounded, every access to its memory is checked, and no request of the guest makes the host allocate memory.

mod buffer;
mod console;
mod control;
mod device;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod interrupt;
mod mmio;
mod port;
mod ring;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use self::console::Named;
use self::device::Core;
use self::interrupt::Interrupt;
use self::mmio::{Action, register};
use self::worker::{Shared, Worker};

/// Offset of the notification register, for ioeventfds: one per queue, 32 bits wide, with the queue's number as the
/// datum.
pub(crate) const QUEUE_NOTIFY: u64 = register::QUEUE_NOTIFY;

/// Maximum number of ports of a device.
const MAX_PORTS: usize = 15;

/// Maximum length of a port's name in bytes; the guest shows it in a file of sysfs.
const MAX_NAME: usize = 64;

/// The description of a port.
#[derive(Debug)]
pub(crate) struct Port {
    /// Its name, as in the guest's `/sys/class/virtio-ports/*/name`.
    pub(crate) name: String,
    /// The device's end of a stream socket.
    pub(crate) socket: OwnedFd,
    /// Whether the guest's kernel makes a terminal (`hvc`) of it. The kernel busy-waits for a terminal, so output that
    /// the host does not read in time is dropped, not held.
    pub(crate) console: bool,
}

/// A running virtio console. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct VirtioConsole {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl VirtioConsole {
    /// A device with these ports. Each write to `interrupt` is an edge that interrupts the guest.
    pub(crate) fn new(
        memory: GuestMemoryMmap,
        interrupt: EventFd,
        ports: Vec<Port>,
    ) -> io::Result<Self> {
        let named = ports
            .into_iter()
            .map(named)
            .collect::<io::Result<Vec<_>>>()?;
        if named.len() > MAX_PORTS {
            return Err(invalid("virtio console: too many ports"));
        }
        let sockets = named.iter().map(|named| named.port.socket()).collect();
        let interrupt = Arc::new(Interrupt::new(interrupt));
        let core = Core::new(memory, Arc::clone(&interrupt), named)
            .map_err(|fault| invalid(&fault.to_string()))?;
        let event = || EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK);
        let notify = (0..core.mmio.queue_count())
            .map(|_| event())
            .collect::<io::Result<_>>()?;
        let ended = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared::new(core, interrupt, notify, event()?, ended));
        let worker = Worker::new(Arc::clone(&shared), sockets)?;
        let thread = thread::Builder::new()
            .name("ktstr-virtio".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            shared,
            worker: Mutex::new(Some(thread)),
        })
    }

    /// The guest reads `data` at `offset` from the device's first register.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) {
        // The register that the interrupt handler reads needs no lock.
        if let (register::INTERRUPT_STATUS, Ok(word)) =
            (offset, <&mut [u8; 4]>::try_from(&mut *data))
        {
            *word = self.shared.interrupt.causes().to_le_bytes();
        } else {
            self.shared.core().mmio.read(offset, data);
        }
    }

    /// The guest writes `data` at `offset`.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) {
        if let (register::INTERRUPT_ACKNOWLEDGE, Ok(word)) = (offset, <[u8; 4]>::try_from(data)) {
            self.shared.interrupt.acknowledge(u32::from_le_bytes(word));
            return;
        }
        let action = self.shared.core().mmio.write(offset, data);
        match action {
            Action::None => {}
            // It only fails if the counter is full, and then the thread is about to run.
            Action::Notify(queue) => drop(self.shared.notify[usize::from(queue)].write(1)),
            Action::Wake => self.shared.wake(),
        }
    }

    /// One eventfd per queue, ordered by number. A write to it notifies the device of that queue, like a write of the
    /// number to [`QUEUE_NOTIFY`].
    pub(crate) fn notify_eventfds(&self) -> &[EventFd] {
        &self.shared.notify
    }

    /// Ends the I/O thread once the host has taken what the guest sent. It waits half a second for a host that reads
    /// nothing and five seconds in total. Returns immediately; see [`VirtioConsole::ended`].
    pub(crate) fn drain(&self) {
        self.shared.end(true);
    }

    /// Readable once the I/O thread has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.shared.ended.as_fd()
    }

    /// Ends the I/O thread after it has moved what the host takes without waiting, and waits for its end. The registers
    /// stay accessible for vCPUs that still run.
    pub(crate) fn stop(&self) {
        self.shared.end(false);
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that panicked has reported it on standard error, and has ended as well.
        drop(worker.take().map(JoinHandle::join));
    }

    /// The violation by the guest's driver that broke the device, if there is one.
    pub(crate) fn fault(&self) -> Option<String> {
        self.shared.core().mmio.fault().map(ToString::to_string)
    }
}

impl Drop for VirtioConsole {
    fn drop(&mut self) {
        self.stop();
    }
}

fn named(port: Port) -> io::Result<Named> {
    let name = port.name;
    if name.is_empty() || name.len() > MAX_NAME || name.contains(|letter: char| letter.is_control())
    {
        return Err(invalid(
            "virtio console: a port's name is empty, too long or not one line",
        ));
    }
    let socket = Arc::new(port.socket);
    let port = port::Port::new(socket, port.console);
    Ok(Named { name, port })
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
