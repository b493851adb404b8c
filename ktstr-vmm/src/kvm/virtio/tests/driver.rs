//! A driver in memory, after `drivers/char/virtio_console.c` and `drivers/virtio/virtio_ring.c`.

use std::sync::atomic::{Ordering, fence};

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::super::console::{CONTROL_RECEIVES, CONTROL_SENDS, MULTIPORT};
use super::super::control::Message;
use super::super::mmio::{EVENT_IDX, VERSION_1, register, status};

/// Says that another descriptor follows: virtio 1.2, 2.7.5.
pub(super) const NEXT: u16 = 1;
/// The device writes, not reads.
pub(super) const WRITE: u16 = 2;
/// The descriptor is a table of descriptors.
pub(super) const INDIRECT: u16 = 4;

/// What a driver agrees to.
pub(super) const FEATURES: u64 = VERSION_1 | MULTIPORT | EVENT_IDX;

/// Room of a queue, and what is in it.
const QUEUES: u64 = 0x10_0000;
const QUEUE: u64 = 0x80_0000;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const BUFFERS: u64 = 0x1_0000;

/// Room of a buffer.
pub(super) const BUFFER: u64 = 0x8000;

/// All of it.
pub(super) const RAM: usize = 0x480_0000;

pub(super) fn ram() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM)]).unwrap()
}

/// Reads a register.
pub(super) fn get(read: &dyn Fn(u64, &mut [u8]), offset: u64) -> u32 {
    let mut word = [0xee; 4];
    read(offset, &mut word);
    u32::from_le_bytes(word)
}

/// Negotiates and places `queues`; what the driver sees is checked.
pub(super) fn bring_up(
    features: u64,
    queues: &[Rings],
    read: &dyn Fn(u64, &mut [u8]),
    write: &dyn Fn(u64, u32),
) {
    write(register::STATUS, 0);
    assert_eq!(get(read, register::STATUS), 0);
    let mut reached = 0;
    let climb = |reached: &mut u32, bit| {
        *reached |= bit;
        write(register::STATUS, *reached);
        assert_eq!(get(read, register::STATUS), *reached);
    };
    climb(&mut reached, status::ACKNOWLEDGE);
    climb(&mut reached, status::DRIVER);
    let half = |select| {
        write(register::DEVICE_FEATURES_SELECT, select);
        u64::from(get(read, register::DEVICE_FEATURES))
    };
    assert_eq!(half(0) | half(1) << 32, FEATURES);
    for (select, half) in [(1, features >> 32), (0, features)] {
        write(register::DRIVER_FEATURES_SELECT, select);
        write(register::DRIVER_FEATURES, half as u32);
    }
    climb(&mut reached, status::FEATURES_OK);
    for rings in queues {
        rings.place(read, write);
    }
    climb(&mut reached, status::DRIVER_OK);
}

/// The driver's side of one queue.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) index: usize,
    pub(super) size: u16,
    memory: GuestMemoryMmap,
    event_idx: bool,
    offered: u16,
    seen: u16,
}

impl Rings {
    pub(super) fn new(memory: &GuestMemoryMmap, index: usize, features: u64) -> Self {
        Self {
            index,
            size: match index {
                0 | 1 => 16,
                CONTROL_RECEIVES | CONTROL_SENDS => 32,
                _ => 128,
            },
            memory: memory.clone(),
            event_idx: features & EVENT_IDX != 0,
            offered: 0,
            seen: 0,
        }
    }

    /// All queues of a device with `ports`.
    pub(super) fn all(memory: &GuestMemoryMmap, ports: usize, features: u64) -> Vec<Self> {
        (0..4 + 2 * ports)
            .map(|index| Self::new(memory, index, features))
            .collect()
    }

    fn at(&self, offset: u64) -> GuestAddress {
        GuestAddress(QUEUES + self.index as u64 * QUEUE + offset)
    }

    fn place(&self, read: &dyn Fn(u64, &mut [u8]), write: &dyn Fn(u64, u32)) {
        write(register::QUEUE_SELECT, self.index as u32);
        assert_eq!(get(read, register::QUEUE_READY), 0);
        assert_eq!(get(read, register::QUEUE_SIZE_MAX), u32::from(self.size));
        write(register::QUEUE_SIZE, u32::from(self.size));
        for (offset, place) in [
            (register::QUEUE_DESCRIPTORS, 0),
            (register::QUEUE_AVAILABLE, AVAILABLE),
            (register::QUEUE_USED, USED),
        ] {
            write(offset, self.at(place).0 as u32);
            write(offset + 4, (self.at(place).0 >> 32) as u32);
        }
        write(register::QUEUE_READY, 1);
        assert_eq!(get(read, register::QUEUE_READY), 1);
    }

    /// Zeroes the rings, as a driver does before it uses them again.
    pub(super) fn clear(&self) {
        let zeros = vec![0; BUFFERS as usize];
        self.memory.write_slice(&zeros, self.at(0)).unwrap();
    }

    /// Address of buffer `slot`.
    pub(super) fn buffer(&self, slot: u16) -> GuestAddress {
        self.at(BUFFERS + u64::from(slot) * BUFFER)
    }

    /// Writes a descriptor.
    pub(super) fn describe(&self, slot: u16, descriptor: Descriptor) {
        let at = self.at(u64::from(slot) * 16);
        self.memory.write_obj(descriptor, at).unwrap();
    }

    /// Makes the chain at `head` available; true when the device wants to be notified.
    pub(super) fn publish(&mut self, head: u16) -> bool {
        let slot = u64::from(self.offered % self.size);
        let entry = self.at(AVAILABLE + 4 + slot * 2);
        self.memory.write_obj(head, entry).unwrap();
        let old = self.offered;
        self.set_available(old.wrapping_add(1));
        fence(Ordering::SeqCst);
        if !self.event_idx {
            let flags: u16 = self.memory.read_obj(self.at(USED)).unwrap();
            return flags & 1 == 0;
        }
        let event: u16 = self
            .memory
            .load(
                self.at(USED + 4 + u64::from(self.size) * 8),
                Ordering::SeqCst,
            )
            .unwrap();
        // `vring_need_event`.
        self.offered.wrapping_sub(event).wrapping_sub(1) < self.offered.wrapping_sub(old)
    }

    /// Says that so many chains were made available, in all.
    pub(super) fn set_available(&mut self, count: u16) {
        self.offered = count;
        let index = self.at(AVAILABLE + 2);
        self.memory.store(count, index, Ordering::SeqCst).unwrap();
    }

    /// Offers buffer `slot` with `len` bytes for the device to write.
    pub(super) fn offer(&mut self, slot: u16, len: u32) -> bool {
        self.describe(slot, Descriptor::new(self.buffer(slot).0, len, WRITE, 0));
        self.publish(slot)
    }

    /// Sends `bytes` in buffer `slot`.
    pub(super) fn send(&mut self, slot: u16, bytes: &[u8]) -> bool {
        let buffer = self.buffer(slot);
        self.memory.write_slice(bytes, buffer).unwrap();
        self.describe(slot, Descriptor::new(buffer.0, bytes.len() as u32, 0, 0));
        self.publish(slot)
    }

    /// The next chain that the device is done with, and how much it wrote.
    pub(super) fn used(&mut self) -> Option<(u16, u32)> {
        let index: u16 = self
            .memory
            .load(self.at(USED + 2), Ordering::SeqCst)
            .unwrap();
        if index == self.seen {
            return None;
        }
        let slot = u64::from(self.seen % self.size);
        let [head, len]: [u32; 2] = self.memory.read_obj(self.at(USED + 4 + slot * 8)).unwrap();
        self.seen = self.seen.wrapping_add(1);
        // Interrupt us at the next one.
        let event = self.at(AVAILABLE + 4 + u64::from(self.size) * 2);
        self.memory
            .store(self.seen, event, Ordering::SeqCst)
            .unwrap();
        fence(Ordering::SeqCst);
        Some((u16::try_from(head).unwrap(), len))
    }

    /// What the device wrote into buffer `slot`.
    pub(super) fn content(&self, slot: u16, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.memory
            .read_slice(&mut bytes, self.buffer(slot))
            .unwrap();
        bytes
    }
}

/// A control message and the name after it.
pub(super) fn said(bytes: &[u8]) -> (u32, u16, u16, String) {
    let message = Message::decode(bytes).unwrap();
    let name = String::from_utf8(bytes[8..].to_vec()).unwrap();
    (message.port, message.event, message.value, name)
}

/// The bytes of a control message.
pub(super) fn message(port: u32, event: u16, value: u16) -> Vec<u8> {
    Message { port, event, value }.encode("")
}
