//! The registers alone, right and wrong.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::super::console::{MULTIPORT, Named};
use super::super::device::Core;
use super::super::interrupt::{CONFIG_CHANGED, Interrupt, USED_BUFFER};
use super::super::mmio::{Action, EVENT_IDX, VERSION_1, register, status};
use super::super::port::Port;
use super::driver::{self, FEATURES, RAM, Rings};

/// A device without its thread.
pub(super) struct Bench {
    pub(super) core: RefCell<Core>,
    pub(super) interrupt: Arc<Interrupt>,
    pub(super) memory: vm_memory::GuestMemoryMmap,
    pub(super) host: UnixStream,
}

impl Bench {
    pub(super) fn new() -> Self {
        let memory = driver::ram();
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        let interrupt = Arc::new(Interrupt::new(event));
        let (host, device) = UnixStream::pair().unwrap();
        host.set_nonblocking(true).unwrap();
        let named = Named {
            name: "ktstr".to_owned(),
            port: Port::new(Arc::new(OwnedFd::from(device)), false),
        };
        let core = Core::new(memory.clone(), Arc::clone(&interrupt), vec![named]).unwrap();
        Self {
            core: RefCell::new(core),
            interrupt,
            memory,
            host,
        }
    }

    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        self.core.borrow().mmio.read(offset, data);
    }

    pub(super) fn get(&self, offset: u64) -> u32 {
        driver::get(&|offset, data| self.read(offset, data), offset)
    }

    pub(super) fn set(&self, offset: u64, value: u32) -> Action {
        let mut core = self.core.borrow_mut();
        core.mmio.write(offset, &value.to_le_bytes())
    }

    /// Brings the device up, and gives its queues.
    pub(super) fn bring_up(&self, features: u64) -> Vec<Rings> {
        let queues = Rings::all(&self.memory, 1, features);
        driver::bring_up(
            features,
            &queues,
            &|offset, data| self.read(offset, data),
            &|offset, value| {
                self.set(offset, value);
            },
        );
        queues
    }

    pub(super) fn fault(&self) -> Option<String> {
        self.core.borrow().mmio.fault().map(ToString::to_string)
    }

    /// As far as a driver gets that offers to speak `features`.
    fn negotiate(&self, features: u64) -> u32 {
        self.set(register::STATUS, 0);
        self.set(register::STATUS, status::ACKNOWLEDGE);
        self.set(register::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        self.set_features(features);
        let agreed = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.set(register::STATUS, agreed);
        self.get(register::STATUS)
    }

    fn set_features(&self, features: u64) {
        self.set(register::DRIVER_FEATURES_SELECT, 0);
        self.set(register::DRIVER_FEATURES, features as u32);
        self.set(register::DRIVER_FEATURES_SELECT, 1);
        self.set(register::DRIVER_FEATURES, (features >> 32) as u32);
    }
}

const AGREED: u32 = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;

#[test]
fn it_says_what_it_is() {
    let bench = Bench::new();
    assert_eq!(bench.get(register::MAGIC).to_le_bytes(), *b"virt");
    assert_eq!(bench.get(register::VERSION), 2);
    assert_eq!(bench.get(register::DEVICE_ID), 3);
    // There is no shared memory: its length is all ones.
    assert_eq!(bench.get(0x0b0), u32::MAX);
    assert_eq!(bench.get(0x0fc), 0);
    // Two ports with port 0; in pieces of any width, and nothing after the end.
    assert_eq!(bench.get(register::CONFIG + 4), 2);
    let mut wide = [0xee; 8];
    bench.read(register::CONFIG + 4, &mut wide);
    assert_eq!(wide, [2, 0, 0, 0, 0, 0, 0, 0]);
    let mut byte = [0xee];
    bench.read(register::CONFIG + 4, &mut byte);
    assert_eq!(byte, [2]);
    for offset in [register::CONFIG + 12, 0x1000, u64::MAX] {
        bench.read(offset, &mut wide);
        assert_eq!(wide, [0; 8], "{offset:#x}");
    }
}

#[test]
fn odd_accesses_read_zero_and_write_nothing() {
    let bench = Bench::new();
    for width in [0, 1, 2, 3, 8] {
        let mut data = vec![0xee; width];
        bench.read(register::MAGIC, &mut data);
        assert_eq!(data, vec![0; width]);
        let action = bench
            .core
            .borrow_mut()
            .mmio
            .write(register::STATUS, &vec![1; width]);
        assert_eq!((action, bench.get(register::STATUS)), (Action::None, 0));
    }
    for offset in [1, 2, 3, 0x71, 0x0b2, 0x0c0, 0x0fe] {
        assert_eq!(bench.get(offset), 0, "{offset:#x}");
        assert_eq!(bench.set(offset, 1), Action::None);
    }
    assert_eq!(bench.set(register::CONFIG + 4, 9), Action::None);
    assert_eq!(bench.get(register::CONFIG + 4), 2);
}

#[test]
fn features_must_be_ours_and_modern() {
    let bench = Bench::new();
    let before = AGREED & !status::FEATURES_OK;
    assert_eq!(bench.negotiate(VERSION_1), AGREED);
    assert_eq!(bench.negotiate(FEATURES), AGREED);
    assert_eq!(bench.negotiate(0), before);
    assert_eq!(bench.negotiate(MULTIPORT | EVENT_IDX), before);
    for bit in (0..64)
        .map(|bit| 1 << bit)
        .filter(|bit| FEATURES & bit == 0)
    {
        assert_eq!(bench.negotiate(FEATURES | bit), before, "{bit:#x}");
    }
    // What was refused does not run either.
    bench.set(register::STATUS, before | status::DRIVER_OK);
    assert_eq!(bench.get(register::STATUS), before);
    // What was agreed on stays so.
    assert_eq!(bench.negotiate(VERSION_1), AGREED);
    bench.set_features(FEATURES);
    bench.set(register::STATUS, AGREED | status::DRIVER_OK);
    assert!(bench.core.borrow_mut().mmio.running().is_some());
    bench.set(register::DRIVER_FEATURES_SELECT, 7);
    bench.set(register::DEVICE_FEATURES_SELECT, 7);
    assert_eq!(bench.get(register::DEVICE_FEATURES), 0);
}

#[test]
fn the_status_climbs_step_by_step_and_never_down() {
    let bench = Bench::new();
    for value in [status::DRIVER, status::FEATURES_OK, status::DRIVER_OK, 0x4e] {
        bench.set(register::STATUS, value);
        assert_eq!(bench.get(register::STATUS), 0, "{value:#x}");
    }
    bench.bring_up(FEATURES);
    bench.set(register::STATUS, status::ACKNOWLEDGE);
    assert_eq!(bench.get(register::STATUS), AGREED | status::DRIVER_OK);
    // A driver that gives up is left alone; it cannot claim what is the device's.
    let failed = AGREED | status::DRIVER_OK | status::FAILED;
    bench.set(register::STATUS, failed | status::NEEDS_RESET);
    assert_eq!(bench.get(register::STATUS), failed);
    assert!(bench.core.borrow_mut().mmio.running().is_none());
    assert_eq!(bench.set(register::STATUS, 0), Action::Wake);
    assert_eq!(bench.get(register::STATUS), 0);
}

#[test]
fn a_reset_forgets_everything() {
    let bench = Bench::new();
    bench.bring_up(FEATURES);
    bench.interrupt.raise(USED_BUFFER | CONFIG_CHANGED);
    assert_eq!(bench.get(register::INTERRUPT_STATUS), 3);
    bench.set(register::INTERRUPT_ACKNOWLEDGE, USED_BUFFER);
    assert_eq!(bench.get(register::INTERRUPT_STATUS), CONFIG_CHANGED);
    bench.set(register::STATUS, 0);
    assert_eq!(bench.get(register::INTERRUPT_STATUS), 0);
    for queue in 0..6 {
        bench.set(register::QUEUE_SELECT, queue);
        assert_eq!(bench.get(register::QUEUE_READY), 0);
    }
    assert!(!bench.core.borrow_mut().step());
    bench.bring_up(FEATURES);
}

#[test]
fn queues_that_do_not_exist_are_nothing() {
    let bench = Bench::new();
    bench.negotiate(FEATURES);
    for queue in [6, 1 << 16, u32::MAX] {
        bench.set(register::QUEUE_SELECT, queue);
        assert_eq!(bench.get(register::QUEUE_SIZE_MAX), 0);
        bench.set(register::QUEUE_SIZE, 8);
        bench.set(register::QUEUE_READY, 1);
        assert_eq!(bench.get(register::QUEUE_READY), 0);
        assert_eq!(bench.set(register::QUEUE_NOTIFY, queue), Action::None);
    }
    assert_eq!(bench.set(register::QUEUE_NOTIFY, 5), Action::Notify(5));
    assert_eq!(bench.get(register::STATUS), AGREED);
}

#[test]
fn queues_that_cannot_work_need_a_reset() {
    let end = RAM as u64;
    let good = (8, 0x1000, 0x2000, 0x3000);
    let places = [
        (0, 0x1000, 0x2000, 0x3000),
        (3, 0x1000, 0x2000, 0x3000),
        (256, 0x1000, 0x2000, 0x3000),
        (1 << 16 | 8, 0x1000, 0x2000, 0x3000),
        (8, 0x1008, 0x2000, 0x3000),
        (8, 0x1000, 0x2001, 0x3000),
        (8, 0x1000, 0x2000, 0x3002),
        (8, end - 0x70, 0x2000, 0x3000),
        (8, 0x1000, end - 0x12, 0x3000),
        (8, 0x1000, 0x2000, end - 0x40),
        (8, !0xf, 0x2000, 0x3000),
        (8, 0x1000, !1, 0x3000),
        (8, 0x1000, 0x2000, !3),
    ];
    for place in [good].into_iter().chain(places) {
        let bench = Bench::new();
        bench.negotiate(FEATURES);
        bench.set(register::QUEUE_SELECT, 4);
        let (size, descriptors, available, used): (u32, u64, u64, u64) = place;
        bench.set(register::QUEUE_SIZE, size);
        for (offset, address) in [
            (register::QUEUE_DESCRIPTORS, descriptors),
            (register::QUEUE_AVAILABLE, available),
            (register::QUEUE_USED, used),
        ] {
            bench.set(offset + 4, (address >> 32) as u32);
            bench.set(offset, address as u32);
        }
        bench.set(register::QUEUE_READY, 1);
        let (ready, state) = (
            bench.get(register::QUEUE_READY),
            bench.get(register::STATUS),
        );
        if place == good {
            assert_eq!((ready, state), (1, AGREED));
        } else {
            assert_eq!(
                (ready, state),
                (0, AGREED | status::NEEDS_RESET),
                "{place:#x?}"
            );
            assert!(bench.fault().is_some());
            // It does not run before the reset, and does after it.
            bench.set(register::STATUS, AGREED | status::DRIVER_OK);
            assert!(!bench.core.borrow_mut().step());
            assert!(bench.core.borrow_mut().mmio.running().is_none());
            bench.bring_up(FEATURES);
        }
    }
}

#[test]
fn queues_are_placed_in_their_time_only() {
    let bench = Bench::new();
    let place = || {
        bench.set(register::QUEUE_SELECT, 4);
        bench.set(register::QUEUE_SIZE, 8);
        bench.set(register::QUEUE_DESCRIPTORS, 0x1000);
        bench.set(register::QUEUE_AVAILABLE, 0x2000);
        bench.set(register::QUEUE_USED, 0x3000);
        bench.set(register::QUEUE_READY, 1);
        bench.get(register::QUEUE_READY)
    };
    assert_eq!(place(), 0, "before the features");
    bench.negotiate(FEATURES);
    bench.set(register::STATUS, AGREED | status::DRIVER_OK);
    assert_eq!(place(), 0, "while the driver runs");
    bench.negotiate(FEATURES);
    assert_eq!(place(), 1);
    // One that is ready stays where it is until it is taken out of service.
    bench.set(register::QUEUE_DESCRIPTORS, 7);
    bench.set(register::QUEUE_READY, 0);
    assert_eq!(bench.get(register::QUEUE_READY), 0);
    bench.set(register::QUEUE_READY, 1);
    assert_eq!(bench.get(register::QUEUE_READY), 1);
    assert_eq!(bench.get(register::STATUS), AGREED);
}
