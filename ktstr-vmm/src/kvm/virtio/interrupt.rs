//! The device's interrupt: its causes, and the eventfd that raises it.

use std::sync::atomic::{AtomicU32, Ordering};

use vmm_sys_util::eventfd::EventFd;

/// A queue has used buffers: virtio 1.2, 4.2.2, `InterruptStatus`.
pub(super) const USED_BUFFER: u32 = 1;

/// The configuration changed, or the device needs a reset.
pub(super) const CONFIG_CHANGED: u32 = 2;

/// The registers and the I/O thread share it without a lock, as the driver's interrupt handler reads it.
#[derive(Debug)]
pub(super) struct Interrupt {
    causes: AtomicU32,
    event: EventFd,
}

impl Interrupt {
    pub(super) fn new(event: EventFd) -> Self {
        Self {
            causes: AtomicU32::new(0),
            event,
        }
    }

    /// Interrupts the guest, even if the cause is already set, as an edge may have been lost.
    pub(super) fn raise(&self, cause: u32) {
        self.causes.fetch_or(cause, Ordering::SeqCst);
        // It only fails if the counter is full, and then the interrupt is pending.
        let _ = self.event.write(1);
    }

    /// The causes that the driver has not acknowledged.
    pub(super) fn causes(&self) -> u32 {
        self.causes.load(Ordering::SeqCst)
    }

    /// The driver acknowledges these causes.
    pub(super) fn acknowledge(&self, causes: u32) {
        self.causes.fetch_and(!causes, Ordering::SeqCst);
    }
}
