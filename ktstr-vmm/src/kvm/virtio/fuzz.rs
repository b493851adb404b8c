//! A hostile guest, made of any bytes: what cargo-fuzz and the fixed-seed tests run.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::console::{CONTROL_SENDS, MULTIPORT, Named, receives};
use super::control::{Message, event};
use super::device::{Core, Flush};
use super::interrupt::Interrupt;
use super::mmio::{EVENT_IDX, VERSION_1, register, status};
use super::port::Port;
use crate::fuzz_input::{Input, Report};
use crate::stream::{self, Got};

/// RAM with a hole in it: start and size.
const RAM: [(u64, usize); 3] = [(0, 0x1_0000), (0x1_0000, 0x8000), (0x2_0000, 0x8000)];

/// Where the first queue is; the others follow.
const QUEUES: u64 = 0x1000;

/// Room of a queue, and where its rings are in it.
const QUEUE: u64 = 0x1000;
const AVAILABLE: u64 = 0x800;
const USED: u64 = 0xa00;

/// Where control messages are written.
const MESSAGE: u64 = 0xf000;

struct Guest {
    core: Core,
    memory: GuestMemoryMmap,
    interrupt: EventFd,
    hosts: Vec<Option<OwnedFd>>,
    buffer: Vec<u8>,
    report: Report,
}

/// Does to a device what `data` says.
pub(crate) fn run(data: &[u8]) -> std::io::Result<Report> {
    let mut guest = Guest::new()?;
    let mut input = Input::new(data);
    while !input.is_empty() {
        guest.act(&mut input);
        guest.report.actions += 1;
        // A turn that never ends its work would spin: each one must leave less.
        for _ in 0..4 {
            if !guest.core.step() {
                break;
            }
        }
        guest.observe();
    }
    guest.report.faults += u64::from(guest.core.mmio.fault().is_some());
    Ok(guest.report)
}

impl Guest {
    fn new() -> std::io::Result<Self> {
        let ranges = RAM.map(|(start, size)| (GuestAddress(start), size));
        let memory = GuestMemoryMmap::from_ranges(&ranges).map_err(std::io::Error::other)?;
        let interrupt = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?;
        let mut ports = Vec::new();
        let mut hosts = Vec::new();
        for (name, console) in [("stream", false), ("console", true)] {
            let (host, device) = stream::pair()?;
            hosts.push(Some(host));
            ports.push(Named {
                name: name.to_owned(),
                port: Port::new(Arc::new(device), console),
            });
        }
        let raised = Arc::new(Interrupt::new(interrupt.try_clone()?));
        let core = Core::new(memory.clone(), raised, ports).map_err(std::io::Error::other)?;
        Ok(Self {
            core,
            memory,
            interrupt,
            hosts,
            buffer: vec![0; 16 << 10],
            report: Report::default(),
        })
    }

    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 | 1 => self.write_register(input),
            2 => {
                let mut data = [0; 9];
                let width = usize::from(input.byte() % 10);
                let offset = u64::from(input.word() % 0x120);
                self.core.mmio.read(offset, &mut data[..width]);
            }
            3 => self.bring_up(input),
            4 => {
                let address = address(input);
                self.poke(address, input.bytes(32));
            }
            5..8 => self.queue_chain(input),
            8 => self.open(input),
            9 | 10 => self.say(input),
            11 => {
                let host = usize::from(input.byte()) % self.hosts.len();
                let count = usize::from(input.word()) % self.buffer.len();
                if let Some(socket) = &self.hosts[host] {
                    let _ = stream::write(socket, &self.buffer[..count]);
                }
            }
            12 => self.read_hosts(),
            13 => {
                let queue = u64::from(input.byte() % 8);
                let index = input.word();
                self.poke(QUEUES + queue * QUEUE + AVAILABLE + 2, &index.to_le_bytes());
            }
            14 => {
                if self.core.flush() == Flush::Blocked {
                    self.read_hosts();
                }
            }
            _ => {
                let host = usize::from(input.byte());
                if host < self.hosts.len() {
                    self.hosts[host] = None;
                }
            }
        }
    }

    fn write_register(&mut self, input: &mut Input<'_>) {
        let registers = [
            register::DEVICE_FEATURES_SELECT,
            register::DRIVER_FEATURES,
            register::DRIVER_FEATURES_SELECT,
            register::QUEUE_SELECT,
            register::QUEUE_SIZE,
            register::QUEUE_READY,
            register::QUEUE_NOTIFY,
            register::INTERRUPT_ACKNOWLEDGE,
            register::STATUS,
            register::QUEUE_DESCRIPTORS,
            register::QUEUE_AVAILABLE + 4,
            register::QUEUE_USED,
        ];
        let choice = usize::from(input.byte());
        let offset = registers
            .get(choice)
            .copied()
            .unwrap_or_else(|| u64::from(input.word() % 0x120));
        let value = u64::from(input.byte()) | u64::from(input.word()) << 8;
        let width = match input.byte() {
            width @ 0..9 => usize::from(width),
            _ => 4,
        };
        self.core.mmio.write(offset, &value.to_le_bytes()[..width]);
    }

    fn set(&mut self, offset: u64, value: u64) {
        self.core.mmio.write(offset, &(value as u32).to_le_bytes());
    }

    /// What a driver does to begin, mostly right.
    fn bring_up(&mut self, input: &mut Input<'_>) {
        let mut features = VERSION_1 | MULTIPORT | EVENT_IDX;
        let odd = input.byte();
        if odd < 16 {
            features ^= 1 << (input.byte() % 64);
        }
        self.set(register::STATUS, 0);
        let begun = status::ACKNOWLEDGE | status::DRIVER;
        self.set(register::STATUS, u64::from(status::ACKNOWLEDGE));
        self.set(register::STATUS, u64::from(begun));
        for (select, half) in [(0, features), (1, features >> 32)] {
            self.set(register::DRIVER_FEATURES_SELECT, select);
            self.set(register::DRIVER_FEATURES, half);
        }
        let agreed = begun | status::FEATURES_OK;
        self.set(register::STATUS, u64::from(agreed));
        for queue in 0..8 {
            let place = QUEUES + queue * QUEUE;
            self.poke(place, &[0; QUEUE as usize]);
            self.set(register::QUEUE_SELECT, queue);
            self.set(register::QUEUE_SIZE, 1 << (3 + input.byte() % 3));
            self.set(register::QUEUE_DESCRIPTORS, place);
            self.set(register::QUEUE_AVAILABLE, place + AVAILABLE);
            self.set(register::QUEUE_USED, place + USED);
            self.set(register::QUEUE_READY, 1);
        }
        self.set(register::STATUS, u64::from(agreed | status::DRIVER_OK));
    }

    /// Descriptors of any kind in any queue, and one more chain available.
    fn queue_chain(&mut self, input: &mut Input<'_>) {
        let queue = u64::from(input.byte() % 8);
        let head = u16::from(input.byte() % 10);
        for _ in 0..=input.byte() % 4 {
            let index = u64::from(input.byte() % 10);
            let len = match input.byte() {
                0..4 => u32::MAX - u32::from(input.byte()),
                4..16 => 0,
                16..64 => u32::from(input.word()) * 16,
                _ => u32::from(input.word() % 0x1000),
            };
            // What a driver does in most cases, so that something comes through.
            let flags = match input.byte() {
                flags @ 0..64 => u16::from(flags),
                _ if queue % 2 == 0 => 2,
                _ => 0,
            };
            let next = u16::from(input.byte() % 10);
            let descriptor = Descriptor::new(address(input), len, flags, next);
            let at = GuestAddress(QUEUES + queue * QUEUE + index * 16);
            let _ = self.memory.write_obj(descriptor, at);
        }
        self.publish(queue, head);
    }

    /// What a driver says when a program opens a port, and buffers for it.
    fn open(&mut self, input: &mut Input<'_>) {
        let port = u32::from(input.byte() % 3);
        for event in [event::DEVICE_READY, event::PORT_READY, event::PORT_OPEN] {
            let message = Message {
                port,
                event,
                value: 1,
            };
            self.tell(&message.encode(""), 8);
            self.core.step();
        }
        let queue = receives(port as usize) as u64;
        let descriptor = Descriptor::new(address(input), u32::from(input.word()), 2, 0);
        let at = GuestAddress(QUEUES + queue * QUEUE);
        let _ = self.memory.write_obj(descriptor, at);
        self.publish(queue, 0);
    }

    /// A control message, mostly of a kind that exists.
    fn say(&mut self, input: &mut Input<'_>) {
        let port = u32::from(input.byte() % 4);
        let event = match input.byte() {
            255 => input.word(),
            event @ 128.. => u16::from(event % 8),
            event => [0, 3, 6][usize::from(event % 3)],
        };
        let value = u16::from(input.byte() != 0);
        let len = if input.byte() < 16 {
            u32::from(input.byte())
        } else {
            8
        };
        let message = Message { port, event, value };
        self.tell(&message.encode(""), len);
    }

    /// Sends a control message that claims to have `len` bytes.
    fn tell(&self, message: &[u8], len: u32) {
        self.poke(MESSAGE, message);
        let queue = CONTROL_SENDS as u64;
        let at = GuestAddress(QUEUES + queue * QUEUE);
        let descriptor = Descriptor::new(MESSAGE, len, 0, 0);
        let _ = self.memory.write_obj(descriptor, at);
        self.publish(queue, 0);
    }

    /// Makes the chain at `head` available.
    fn publish(&self, queue: u64, head: u16) {
        let ring = QUEUES + queue * QUEUE + AVAILABLE;
        let index: u16 = self
            .memory
            .read_obj(GuestAddress(ring + 2))
            .unwrap_or_default();
        // Right for every size of queue that is brought up, as long as all entries say the same.
        for slot in [8, 16, 32].map(|size| u64::from(index % size)) {
            self.poke(ring + 4 + slot * 2, &head.to_le_bytes());
        }
        self.poke(ring + 2, &index.wrapping_add(1).to_le_bytes());
    }

    fn poke(&self, address: u64, bytes: &[u8]) {
        // The guest itself cannot write outside of RAM either.
        let _ = self.memory.write_slice(bytes, GuestAddress(address));
    }

    fn read_hosts(&mut self) {
        for host in self.hosts.iter().flatten() {
            if let Ok(Got::Bytes(count)) = stream::read(host, &mut self.buffer) {
                self.report.to_host += count as u64;
            }
        }
    }

    fn observe(&mut self) {
        self.report.running += u64::from(self.core.mmio.running().is_some());
        let ports = 0..self.hosts.len();
        let reading = ports
            .filter(|&port| !self.core.wants(port).is_empty())
            .count();
        self.report.reading += reading as u64;
        let _ = self.interrupt.read();
    }
}

/// An address that is often in RAM, often at an edge of it.
fn address(input: &mut Input<'_>) -> u64 {
    let place = u64::from(input.word());
    match input.byte() {
        0..8 => u64::MAX - place,
        8..24 => RAM[1].0 + 0x8000 - place % 64,
        24..40 => RAM[2].0 + 0x8000 - place % 64,
        40..56 => RAM[1].0 - place % 64,
        56..64 => place << 16,
        _ => place,
    }
}
