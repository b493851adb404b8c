//! The registers of a virtio device: virtio 1.2, section 4.2 (MMIO, version 2), as a state machine.
//!
//! A violation by the driver is ignored where the specification allows that; an unusable queue makes the device request
//! a reset. Nothing here blocks.

use std::sync::Arc;

use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use super::interrupt::{CONFIG_CHANGED, Interrupt};
use super::ring::{Fault, Memory};

/// Offsets of registers: table 4.1.
pub(super) mod register {
    pub(in super::super) const MAGIC: u64 = 0x000;
    pub(in super::super) const VERSION: u64 = 0x004;
    pub(in super::super) const DEVICE_ID: u64 = 0x008;
    pub(in super::super) const VENDOR_ID: u64 = 0x00c;
    pub(in super::super) const DEVICE_FEATURES: u64 = 0x010;
    pub(in super::super) const DEVICE_FEATURES_SELECT: u64 = 0x014;
    pub(in super::super) const DRIVER_FEATURES: u64 = 0x020;
    pub(in super::super) const DRIVER_FEATURES_SELECT: u64 = 0x024;
    pub(in super::super) const QUEUE_SELECT: u64 = 0x030;
    pub(in super::super) const QUEUE_SIZE_MAX: u64 = 0x034;
    pub(in super::super) const QUEUE_SIZE: u64 = 0x038;
    pub(in super::super) const QUEUE_READY: u64 = 0x044;
    pub(in super::super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(in super::super) const INTERRUPT_STATUS: u64 = 0x060;
    pub(in super::super) const INTERRUPT_ACKNOWLEDGE: u64 = 0x064;
    pub(in super::super) const STATUS: u64 = 0x070;
    pub(in super::super) const QUEUE_DESCRIPTORS: u64 = 0x080;
    pub(in super::super) const QUEUE_AVAILABLE: u64 = 0x090;
    pub(in super::super) const QUEUE_USED: u64 = 0x0a0;
    pub(in super::super) const SHARED_MEMORY: u64 = 0x0b0;
    pub(in super::super) const SHARED_MEMORY_END: u64 = 0x0c0;
    pub(in super::super) const CONFIG: u64 = 0x100;
}

/// Bits of the device status: section 2.1.
pub(super) mod status {
    pub(in super::super) const ACKNOWLEDGE: u32 = 1;
    pub(in super::super) const DRIVER: u32 = 2;
    pub(in super::super) const DRIVER_OK: u32 = 4;
    pub(in super::super) const FEATURES_OK: u32 = 8;
    pub(in super::super) const NEEDS_RESET: u32 = 64;
    pub(in super::super) const FAILED: u32 = 128;
    /// The bits that the driver may set.
    pub(super) const OF_DRIVER: u32 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;
    /// The order in which a driver sets them.
    pub(super) const LADDER: [u32; 4] = [ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK];
}

/// Used and available rings carry the index at which to notify: section 6, `VIRTIO_F_EVENT_IDX`.
pub(super) const EVENT_IDX: u64 = 1 << 29;

/// The device is not a legacy one: section 6, `VIRTIO_F_VERSION_1`.
pub(super) const VERSION_1: u64 = 1 << 32;

/// "virt".
const MAGIC_VALUE: u32 = 0x7472_6976;

/// The vendor id; any number is valid.
const VENDOR: u32 = u32::from_le_bytes(*b"ktst");

/// The device behind the registers.
pub(super) trait Device {
    /// Its type: section 5.
    const ID: u32;

    /// Features of this type of device.
    fn features(&self) -> u64;

    /// Maximum size of each queue; powers of two.
    fn queue_sizes(&self) -> Vec<u16>;

    /// Its configuration space, which never changes.
    fn config(&self) -> &[u8];

    /// The driver is ready, with these features.
    fn start(&mut self, features: u64);

    /// The driver resets the device.
    fn reset(&mut self);
}

/// What a write to a register requires of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    None,
    /// Handle this queue.
    Notify(u16),
    /// Handle everything.
    Wake,
}

/// The addresses of a queue from the driver; checked when it sets the queue ready.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    size: u32,
    descriptors: u64,
    available: u64,
    used: u64,
}

/// The registers of a device, with the device.
#[derive(Debug)]
pub(super) struct Mmio<D> {
    device: D,
    memory: Memory,
    interrupt: Arc<Interrupt>,
    status: u32,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: u32,
    places: Vec<Place>,
    queues: Vec<Queue>,
    fault: Option<Fault>,
}

impl<D: Device> Mmio<D> {
    pub(super) fn new(device: D, memory: Memory, interrupt: Arc<Interrupt>) -> Result<Self, Fault> {
        let sizes = device.queue_sizes();
        let queues = sizes
            .iter()
            .map(|&size| Queue::new(size))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            device,
            memory,
            interrupt,
            status: 0,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            places: vec![Place::default(); queues.len()],
            queues,
            fault: None,
        })
    }

    /// The device, whether the driver is ready or not.
    pub(super) fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Number of queues.
    pub(super) fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// The device with its queues, if the driver is ready and has broken nothing.
    pub(super) fn running(&mut self) -> Option<(&mut D, &mut [Queue], &Memory)> {
        let deciding = status::DRIVER_OK | status::NEEDS_RESET | status::FAILED;
        (self.status & deciding == status::DRIVER_OK).then_some((
            &mut self.device,
            &mut self.queues,
            &self.memory,
        ))
    }

    /// Marks a queue as broken by the driver: the device does nothing until it is reset (section 2.1.2).
    pub(super) fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.status |= status::NEEDS_RESET;
        if self.status & status::DRIVER_OK != 0 {
            self.interrupt.raise(CONFIG_CHANGED);
        }
    }

    /// The first violation by the driver.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// The guest reads `data` at `offset`.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(at) = offset.checked_sub(register::CONFIG) {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            for (to, &from) in data
                .iter_mut()
                .zip(self.device.config().get(at..).unwrap_or_default())
            {
                *to = from;
            }
        } else if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = self.register(offset).to_le_bytes();
        }
    }

    /// The guest writes `data` at `offset`. All registers are 32 bits wide; anything else is ignored.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Action {
        let Ok(word) = <[u8; 4]>::try_from(data) else {
            return Action::None;
        };
        let value = u32::from_le_bytes(word);
        match offset {
            register::DEVICE_FEATURES_SELECT => self.device_features_select = value,
            register::DRIVER_FEATURES_SELECT => self.driver_features_select = value,
            register::DRIVER_FEATURES => self.set_features(value),
            register::QUEUE_SELECT => self.queue_select = value,
            register::QUEUE_NOTIFY => return self.notify(value),
            register::INTERRUPT_ACKNOWLEDGE => self.interrupt.acknowledge(value),
            register::STATUS => return self.set_status(value),
            _ => self.set_queue(offset, value),
        }
        Action::None
    }

    fn notify(&self, value: u32) -> Action {
        match u16::try_from(value) {
            Ok(index) if usize::from(index) < self.queues.len() => Action::Notify(index),
            _ => Action::None,
        }
    }

    fn register(&self, offset: u64) -> u32 {
        match offset {
            register::MAGIC => MAGIC_VALUE,
            register::VERSION => 2,
            register::DEVICE_ID => D::ID,
            register::VENDOR_ID => VENDOR,
            register::DEVICE_FEATURES => match self.device_features_select {
                0 => self.features() as u32,
                1 => (self.features() >> 32) as u32,
                _ => 0,
            },
            register::QUEUE_SIZE_MAX => self
                .selected()
                .map_or(0, |index| u32::from(self.queues[index].max_size())),
            register::QUEUE_READY => self
                .selected()
                .map_or(0, |index| u32::from(self.queues[index].ready())),
            register::INTERRUPT_STATUS => self.interrupt.causes(),
            register::STATUS => self.status,
            // There is no shared memory: its length reads as all ones.
            register::SHARED_MEMORY..register::SHARED_MEMORY_END if offset.is_multiple_of(4) => {
                u32::MAX
            }
            // This includes the configuration generation, which never changes.
            _ => 0,
        }
    }

    fn features(&self) -> u64 {
        self.device.features() | EVENT_IDX | VERSION_1
    }

    fn set_features(&mut self, value: u32) {
        let open = self.status & (status::DRIVER | status::FEATURES_OK) == status::DRIVER;
        let (shift, keep) = match self.driver_features_select {
            0 => (0, u64::from(u32::MAX) << 32),
            1 => (32, u64::from(u32::MAX)),
            _ => return,
        };
        if open {
            self.driver_features = self.driver_features & keep | u64::from(value) << shift;
        }
    }

    fn set_status(&mut self, value: u32) -> Action {
        if value == 0 {
            self.reset();
            return Action::Wake;
        }
        let before = self.status;
        let mut after = value & status::OF_DRIVER;
        let cleared = before & status::OF_DRIVER & !after != 0;
        let skipped = status::LADDER
            .windows(2)
            .any(|step| after & step[1] != 0 && after & step[0] == 0);
        if cleared || skipped {
            return Action::None;
        }
        let refused =
            self.driver_features & VERSION_1 == 0 || self.driver_features & !self.features() != 0;
        if before & status::FEATURES_OK == 0 && refused {
            after &= !(status::FEATURES_OK | status::DRIVER_OK);
        }
        self.status = after | before & status::NEEDS_RESET;
        if after & !before & status::DRIVER_OK != 0 {
            self.device.start(self.driver_features);
        }
        Action::Wake
    }

    fn reset(&mut self) {
        self.status = 0;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.driver_features = 0;
        self.queue_select = 0;
        self.places.fill(Place::default());
        self.queues.iter_mut().for_each(Queue::reset);
        self.interrupt.acknowledge(u32::MAX);
        self.device.reset();
    }

    fn selected(&self) -> Option<usize> {
        let index = usize::try_from(self.queue_select).ok()?;
        (index < self.queues.len()).then_some(index)
    }

    fn set_queue(&mut self, offset: u64, value: u32) {
        let Some(index) = self.selected() else {
            return;
        };
        if offset == register::QUEUE_READY && value == 0 {
            self.queues[index].set_ready(false);
            return;
        }
        // Queues are set up after feature negotiation and before `DRIVER_OK` (section 3.1.1).
        let open = self.status & (status::FEATURES_OK | status::DRIVER_OK | status::FAILED)
            == status::FEATURES_OK;
        if !open || self.queues[index].ready() {
            return;
        }
        let place = &mut self.places[index];
        match offset {
            register::QUEUE_SIZE => place.size = value,
            register::QUEUE_READY if value == 1 => {
                if let Err(fault) = self.ready(index) {
                    self.queues[index].reset();
                    self.fail(fault);
                }
            }
            _ => {
                let address = match offset & !4 {
                    register::QUEUE_DESCRIPTORS => &mut place.descriptors,
                    register::QUEUE_AVAILABLE => &mut place.available,
                    register::QUEUE_USED => &mut place.used,
                    _ => return,
                };
                let (high, low) = (*address >> 32, *address & u64::from(u32::MAX));
                *address = if offset & 4 == 0 {
                    high << 32 | u64::from(value)
                } else {
                    u64::from(value) << 32 | low
                };
            }
        }
    }

    /// Checks the addresses of a queue, and enables it.
    fn ready(&mut self, index: usize) -> Result<(), Fault> {
        let place = self.places[index];
        let queue = &mut self.queues[index];
        queue.reset();
        // A value of more than 16 bits is not a size.
        queue.try_set_size(u16::try_from(place.size).unwrap_or(0))?;
        queue.try_set_desc_table_address(GuestAddress(place.descriptors))?;
        queue.try_set_avail_ring_address(GuestAddress(place.available))?;
        queue.try_set_used_ring_address(GuestAddress(place.used))?;
        queue.set_event_idx(self.driver_features & EVENT_IDX != 0);
        queue.set_ready(true);
        if queue.is_valid(&*self.memory) {
            Ok(())
        } else {
            Err(Fault::Outside)
        }
    }
}
