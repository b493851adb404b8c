//! The device with a well-behaved driver, for tests of its traffic.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::super::console::{CONTROL_RECEIVES, CONTROL_SENDS, receives};
use super::super::control::event;
use super::super::mmio::{EVENT_IDX, register};
use super::super::{Port, QUEUE_NOTIFY, VirtioConsole};
use super::driver::{self, Rings, message, said};

/// Bound against hanging; everything here takes less.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A page, which is what Linux receives into.
const PAGE: u32 = 4096;

pub(super) struct Machine {
    pub(super) memory: GuestMemoryMmap,
    pub(super) device: VirtioConsole,
    interrupt: EventFd,
    epoll: Epoll,
    pub(super) queues: Vec<Rings>,
    /// Whether to notify by eventfd, as KVM does, or by register.
    by_eventfd: bool,
}

pub(super) fn port(name: &str, console: bool) -> (UnixStream, Port) {
    let (host, device) = UnixStream::pair().unwrap();
    let port = Port {
        name: name.to_owned(),
        socket: OwnedFd::from(device),
        console,
    };
    (host, port)
}

impl Machine {
    pub(super) fn new(ports: Vec<Port>, features: u64) -> Self {
        let memory = driver::ram();
        let interrupt = EventFd::new(EFD_NONBLOCK).unwrap();
        let epoll = Epoll::new().unwrap();
        let watched = EpollEvent::new(EventSet::IN, 0);
        epoll
            .ctl(ControlOperation::Add, interrupt.as_raw_fd(), watched)
            .unwrap();
        let queues = Rings::all(&memory, ports.len(), features);
        let device =
            VirtioConsole::new(memory.clone(), interrupt.try_clone().unwrap(), ports).unwrap();
        assert_eq!(device.notify_eventfds().len(), queues.len());
        driver::bring_up(
            features,
            &queues,
            &|offset, data| device.read(offset, data),
            &|offset, value| device.write(offset, &value.to_le_bytes()),
        );
        Self {
            memory,
            device,
            interrupt,
            epoll,
            queues,
            by_eventfd: features & EVENT_IDX != 0,
        }
    }

    /// A machine with one port, opened by a program in the guest.
    pub(super) fn open(features: u64) -> (UnixStream, Self) {
        let (host, port) = port("ktstr", false);
        let mut machine = Self::new(vec![port], features);
        machine.fill(CONTROL_RECEIVES);
        machine.fill(receives(1));
        machine.say(0, event::DEVICE_READY, 1);
        assert_eq!(machine.hear(), (1, event::PORT_ADD, 1, String::new()));
        machine.say(1, event::PORT_READY, 1);
        assert_eq!(machine.hear(), (1, event::PORT_NAME, 1, "ktstr".to_owned()));
        assert_eq!(machine.hear(), (1, event::PORT_OPEN, 1, String::new()));
        machine.say(1, event::PORT_OPEN, 1);
        (host, machine)
    }

    pub(super) fn notify(&self, queue: usize) {
        if self.by_eventfd {
            self.device.notify_eventfds()[queue].write(1).unwrap();
        } else {
            let index = u32::try_from(queue).unwrap();
            self.device.write(QUEUE_NOTIFY, &index.to_le_bytes());
        }
    }

    /// Gives the device every buffer of a queue to write into.
    pub(super) fn fill(&mut self, queue: usize) {
        let size = self.queues[queue].size;
        let mut notify = false;
        for slot in 0..size {
            notify |= self.queues[queue].offer(slot, PAGE);
        }
        if notify {
            self.notify(queue);
        }
    }

    pub(super) fn offer(&mut self, queue: usize, slot: u16) {
        if self.queues[queue].offer(slot, PAGE) {
            self.notify(queue);
        }
    }

    pub(super) fn send(&mut self, queue: usize, slot: u16, bytes: &[u8]) {
        if self.queues[queue].send(slot, bytes) {
            self.notify(queue);
        }
    }

    /// Waits for an interrupt and acknowledges it as `vm_interrupt` does.
    pub(super) fn interrupted(&self) {
        let mut events = [EpollEvent::default()];
        let limit = PATIENCE.as_millis() as i32;
        let count = self.epoll.wait(limit, &mut events).unwrap();
        assert_eq!(count, 1, "no interrupt");
        self.interrupt.read().unwrap();
        let mut causes = [0; 4];
        self.device.read(register::INTERRUPT_STATUS, &mut causes);
        self.device.write(register::INTERRUPT_ACKNOWLEDGE, &causes);
    }

    /// Waits for the device to be done with a buffer.
    pub(super) fn used(&mut self, queue: usize) -> (u16, u32) {
        loop {
            if let Some(used) = self.queues[queue].used() {
                return used;
            }
            self.interrupted();
        }
    }

    /// Sends a control message; the driver spins until it is heard, as Linux does.
    pub(super) fn say(&mut self, port: u32, event: u16, value: u16) {
        self.send(CONTROL_SENDS, 0, &message(port, event, value));
        let start = Instant::now();
        while self.queues[CONTROL_SENDS].used().is_none() {
            assert!(start.elapsed() < PATIENCE, "nobody hears");
            thread::yield_now();
        }
    }

    /// Waits for a control message.
    pub(super) fn hear(&mut self) -> (u32, u16, u16, String) {
        let (slot, len) = self.used(CONTROL_RECEIVES);
        let bytes = self.queues[CONTROL_RECEIVES].content(slot, len);
        self.offer(CONTROL_RECEIVES, slot);
        said(&bytes)
    }
}
