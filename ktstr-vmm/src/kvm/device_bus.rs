//! The devices of a machine, by port and address.

use std::os::fd::OwnedFd;

use kvm_ioctls::{IoEventAddress, VmFd};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::serial::Serial;
use super::virtio::{self, Port, VirtioConsole};
use crate::arch::exits::Devices;
use crate::arch::layout::{COM1, COM1_GSI, VIRTIO_GSI, VIRTIO_MMIO, VIRTIO_MMIO_SIZE};
use crate::error::KvmError;

/// The devices of a machine.
#[derive(Debug)]
pub(super) struct DeviceBus {
    pub(super) serial: Serial,
    pub(super) console: VirtioConsole,
}

impl DeviceBus {
    pub(super) fn new(
        vm: &VmFd,
        memory: &GuestMemoryMmap,
        console: OwnedFd,
        ports: Vec<Port>,
    ) -> Result<Self, KvmError> {
        let interrupt = |gsi| {
            let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)
                .map_err(KvmError::host("eventfd"))?;
            vm.register_irqfd(&event, gsi)
                .map_err(KvmError::ioctl("KVM_IRQFD"))?;
            Ok::<_, KvmError>(event)
        };
        let serial = Serial::new(&interrupt(COM1_GSI)?, console)?;
        let console = VirtioConsole::new(memory.clone(), interrupt(VIRTIO_GSI)?, ports)
            .map_err(KvmError::host("virtio console"))?;
        let notify = IoEventAddress::Mmio(VIRTIO_MMIO + virtio::QUEUE_NOTIFY);
        for (queue, event) in (0_u32..).zip(console.notify_eventfds()) {
            vm.register_ioevent(event, &notify, queue)
                .map_err(KvmError::ioctl("KVM_IOEVENTFD"))?;
        }
        Ok(Self { serial, console })
    }

    /// The serial port's register at `port`, if there is one.
    fn serial_offset(port: u16) -> Option<u8> {
        let offset = port.checked_sub(COM1).filter(|offset| *offset < 8)?;
        Some(offset as u8)
    }

    fn virtio_offset(address: u64) -> Option<u64> {
        let offset = address.checked_sub(VIRTIO_MMIO);
        offset.filter(|offset| *offset < VIRTIO_MMIO_SIZE)
    }
}

impl Devices for DeviceBus {
    fn port_read(&self, port: u16, data: &mut [u8]) {
        // A read without a device returns all ones.
        data.fill(0xff);
        if let (Some(offset), [byte]) = (Self::serial_offset(port), data) {
            *byte = self.serial.read(offset);
        }
    }

    fn port_write(&self, port: u16, data: &[u8]) {
        if let (Some(offset), [byte]) = (Self::serial_offset(port), data) {
            self.serial.write(offset, *byte);
        }
    }

    fn memory_read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some(offset) = Self::virtio_offset(address) {
            self.console.read(offset, data);
        }
    }

    fn memory_write(&self, address: u64, data: &[u8]) {
        if let Some(offset) = Self::virtio_offset(address) {
            self.console.write(offset, data);
        }
    }
}
