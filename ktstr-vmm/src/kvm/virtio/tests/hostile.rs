//! Drivers that do what none should, one thing each; the fuzz runs do all of it at random.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::epoll::EventSet;

use super::super::console::{CONTROL_RECEIVES, CONTROL_SENDS, receives};
use super::super::control::event;
use super::super::interrupt::CONFIG_CHANGED;
use super::super::mmio::{VERSION_1, register, status};
use super::super::ring::TURN;
use super::driver::{FEATURES, INDIRECT, NEXT, RAM, Rings, WRITE, message, said};
use super::registers::Bench;

const RECEIVES: usize = receives(1);
const SENDS: usize = RECEIVES + 1;

/// A device whose port is open.
fn open() -> (Bench, Vec<Rings>) {
    let bench = Bench::new();
    let mut queues = bench.bring_up(FEATURES);
    say(&bench, &mut queues, &message(1, event::PORT_READY, 1));
    say(&bench, &mut queues, &message(1, event::PORT_OPEN, 1));
    (bench, queues)
}

/// Turns until there is nothing more to do; gives their number.
fn settle(bench: &Bench) -> u32 {
    let mut turns = 1;
    while bench.core.borrow_mut().step() {
        turns += 1;
        assert!(turns < 100_000, "it never ends");
    }
    turns
}

fn say(bench: &Bench, queues: &mut [Rings], bytes: &[u8]) {
    queues[CONTROL_SENDS].send(0, bytes);
    settle(bench);
    assert_eq!(queues[CONTROL_SENDS].used(), Some((0, 0)));
}

fn arrived(mut host: &UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = host.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..count]);
    }
    bytes
}

/// The device gave the driver up, said so, does nothing more, and works after a reset.
fn given_up(bench: &Bench, queues: &mut Vec<Rings>) {
    assert_ne!(bench.get(register::STATUS) & status::NEEDS_RESET, 0);
    assert_ne!(bench.interrupt.causes() & CONFIG_CHANGED, 0);
    assert!(bench.fault().is_some());
    assert!(!bench.core.borrow_mut().step());
    assert!(bench.core.borrow_mut().wants(0).is_empty());
    bench.set(register::STATUS, 0);
    queues.iter().for_each(Rings::clear);
    *queues = bench.bring_up(FEATURES);
    queues[SENDS].send(0, b"again");
    settle(bench);
    assert_eq!(queues[SENDS].used(), Some((0, 0)));
    assert!(arrived(&bench.host).ends_with(b"again"));
}

#[test]
fn chains_that_bite_their_tail_end() {
    let (bench, mut queues) = open();
    let sends = &mut queues[SENDS];
    let buffer = sends.buffer(0).0;
    sends.describe(0, Descriptor::new(buffer, 1, NEXT, 1));
    sends.describe(1, Descriptor::new(buffer, 1, NEXT, 0));
    sends.publish(0);
    settle(&bench);
    // A chain is at most as long as its queue.
    assert_eq!(arrived(&bench.host).len(), 128);
    assert_eq!(queues[SENDS].used(), Some((0, 0)));
    assert_eq!(bench.fault(), None);
}

#[test]
fn buffers_outside_of_ram_are_the_end_of_it() {
    let edge = RAM as u64 - 8;
    for (address, len) in [(edge, 9), (edge, u32::MAX), (u64::MAX, 1), (1 << 40, 16)] {
        for (queue, flags) in [(SENDS, 0), (RECEIVES, WRITE), (CONTROL_SENDS, 0)] {
            let (bench, mut queues) = open();
            queues[queue].describe(0, Descriptor::new(address, len, flags, 0));
            queues[queue].publish(0);
            let sent = vec![7; 100];
            (&bench.host).write_all(&sent).unwrap();
            settle(&bench);
            if queue == CONTROL_SENDS && address == edge {
                // The message itself is in RAM, and more is not looked at.
                assert_eq!(bench.fault(), None);
            } else {
                given_up(&bench, &mut queues);
            }
        }
    }
}

#[test]
fn a_descriptor_that_ends_where_ram_ends_is_fine() {
    let (bench, mut queues) = open();
    queues[SENDS].describe(0, Descriptor::new(RAM as u64 - 8, 8, 0, 0));
    queues[SENDS].publish(0);
    settle(&bench);
    assert_eq!(arrived(&bench.host), [0; 8]);
    assert_eq!(bench.fault(), None);
}

#[test]
fn descriptors_of_the_wrong_direction_and_empty_ones_are_skipped() {
    let (bench, mut queues) = open();
    let sends = &mut queues[SENDS];
    let buffer = sends.buffer(0);
    bench.memory.write_slice(b"yesno", buffer).unwrap();
    sends.describe(0, Descriptor::new(buffer.0 + 3, 2, NEXT | WRITE, 1));
    sends.describe(1, Descriptor::new(u64::MAX, 0, NEXT, 2));
    sends.describe(2, Descriptor::new(buffer.0, 3, 0, 0));
    sends.publish(0);
    sends.describe(3, Descriptor::new(buffer.0, 5, WRITE, 0));
    sends.publish(3);
    // To receive into: first one to read, then one of nothing, then a good one.
    let receives = &mut queues[RECEIVES];
    let room = receives.buffer(0);
    receives.describe(0, Descriptor::new(room.0, 9, 0, 0));
    receives.publish(0);
    receives.describe(1, Descriptor::new(room.0, 0, WRITE, 0));
    receives.publish(1);
    receives.describe(2, Descriptor::new(room.0, 2, WRITE | NEXT, 3));
    receives.describe(3, Descriptor::new(room.0 + 8, 9, WRITE, 0));
    receives.publish(2);
    (&bench.host).write_all(b"down").unwrap();
    settle(&bench);
    assert_eq!(arrived(&bench.host), b"yes");
    let used: Vec<_> = (0..2).filter_map(|_| queues[SENDS].used()).collect();
    assert_eq!(used, [(0, 0), (3, 0)]);
    let used: Vec<_> = (0..3).filter_map(|_| queues[RECEIVES].used()).collect();
    assert_eq!(used, [(0, 0), (1, 0), (2, 4)]);
    let got = queues[RECEIVES].content(0, 10);
    assert_eq!((&got[..2], &got[8..]), (&b"do"[..], &b"wn"[..]));
}

#[test]
fn huge_indirect_tables_take_many_turns_and_nested_ones_end() {
    let (bench, mut queues) = open();
    // The largest table, of empty descriptors, for every chain of the queue.
    let table = GuestAddress(0x400_0000);
    let count = u32::from(u16::MAX);
    for index in 0..u64::from(count) {
        let empty = Descriptor::new(0, 0, NEXT, index as u16 + 1);
        let at = GuestAddress(table.0 + index * 16);
        bench.memory.write_obj(empty, at).unwrap();
    }
    let sends = &mut queues[SENDS];
    sends.describe(0, Descriptor::new(table.0, count * 16, INDIRECT, 0));
    let chains = 4;
    for _ in 0..chains {
        sends.publish(0);
    }
    assert!(settle(&bench) >= chains * count / TURN);
    // One more is not a table, nor is a piece of one; a table in a table is not followed.
    for len in [(count + 1) * 16, 17, 0] {
        queues[SENDS].describe(0, Descriptor::new(table.0, len, INDIRECT, 0));
        queues[SENDS].publish(0);
    }
    let nested = Descriptor::new(table.0, 16, INDIRECT, 0);
    bench.memory.write_obj(nested, table).unwrap();
    queues[SENDS].describe(1, nested);
    queues[SENDS].publish(1);
    settle(&bench);
    let mut used = 0;
    while queues[SENDS].used().is_some() {
        used += 1;
    }
    assert_eq!(used, chains + 4);
    assert_eq!(arrived(&bench.host), b"");
    assert_eq!(bench.fault(), None);
}

#[test]
fn a_long_chain_to_receive_into_takes_a_bounded_turn() {
    let (bench, mut queues) = open();
    let table = GuestAddress(0x400_0000);
    for index in 0..=u64::from(TURN) {
        let empty = Descriptor::new(0, 0, NEXT | WRITE, index as u16 + 1);
        let at = GuestAddress(table.0 + index * 16);
        bench.memory.write_obj(empty, at).unwrap();
    }
    let long = Descriptor::new(table.0, (TURN + 1) * 16, INDIRECT, 0);
    queues[RECEIVES].describe(0, long);
    queues[RECEIVES].publish(0);
    queues[RECEIVES].offer(1, 64);
    (&bench.host).write_all(b"through").unwrap();
    assert!(settle(&bench) > 1);
    assert_eq!(queues[RECEIVES].used(), Some((0, 0)));
    assert_eq!(queues[RECEIVES].used(), Some((1, 7)));
}

#[test]
fn heads_and_indices_that_cannot_be_are_the_end_of_it() {
    for queue in [1, RECEIVES, SENDS, CONTROL_SENDS] {
        for head in [128, u16::MAX] {
            let (bench, mut queues) = open();
            (&bench.host).write_all(b"something").unwrap();
            queues[queue].publish(head);
            settle(&bench);
            given_up(&bench, &mut queues);
        }
        let (bench, mut queues) = open();
        (&bench.host).write_all(b"something").unwrap();
        // One more than a queue can hold, beyond what was taken.
        let taken = if queue == CONTROL_SENDS { 2 } else { 0 };
        let size = queues[queue].size;
        queues[queue].set_available(taken + size + 1);
        settle(&bench);
        given_up(&bench, &mut queues);
    }
}

#[test]
fn the_same_buffer_over_and_over_stays_in_the_used_ring() {
    let (bench, mut queues) = open();
    for _ in 0..1000 {
        queues[SENDS].send(0, b"x");
        settle(&bench);
        assert_eq!(arrived(&bench.host), b"x");
    }
    assert_eq!(bench.fault(), None);
}

#[test]
fn control_messages_of_any_kind_change_nothing_they_should_not() {
    let (bench, mut queues) = open();
    for port in [0, 2, 1000, u32::MAX] {
        for event in [event::PORT_READY, event::PORT_OPEN] {
            say(&bench, &mut queues, &message(port, event, 1));
        }
    }
    for event in [event::PORT_ADD, event::PORT_NAME, 2, 5, 8, u16::MAX] {
        say(&bench, &mut queues, &message(1, event, 0));
    }
    for len in 0..8 {
        say(&bench, &mut queues, &message(1, event::PORT_OPEN, 0)[..len]);
    }
    say(&bench, &mut queues, &vec![0xff; 0x8000]);
    // Port 1 was told its name and that it is open, and nothing else.
    for slot in 0..4 {
        queues[CONTROL_RECEIVES].offer(slot, 64);
    }
    settle(&bench);
    let mut events = Vec::new();
    while let Some((slot, len)) = queues[CONTROL_RECEIVES].used() {
        events.push(said(&queues[CONTROL_RECEIVES].content(slot, len)).1);
    }
    assert_eq!(events, [event::PORT_NAME, event::PORT_OPEN]);
    queues[RECEIVES].offer(0, 64);
    (&bench.host).write_all(b"still open").unwrap();
    settle(&bench);
    assert_eq!(queues[RECEIVES].used(), Some((0, 10)));
}

#[test]
fn questions_without_room_for_answers_do_not_pile_up() {
    let (bench, mut queues) = open();
    for _ in 0..5000 {
        say(&bench, &mut queues, &message(0, event::DEVICE_READY, 1));
        say(&bench, &mut queues, &message(1, event::PORT_READY, 1));
    }
    // One answer of each kind; one that has no room is cut.
    for (slot, len) in [(0, 64), (1, 10), (2, 64), (3, 64)] {
        queues[CONTROL_RECEIVES].offer(slot, len);
    }
    settle(&bench);
    let lengths: Vec<_> = std::iter::from_fn(|| queues[CONTROL_RECEIVES].used()).collect();
    assert_eq!(lengths, [(0, 8), (1, 10), (2, 8)]);
}

#[test]
fn a_reset_in_the_middle_of_a_chain_drops_the_rest_of_it() {
    let (bench, mut queues) = open();
    queues[SENDS].describe(0, Descriptor::new(0, 8 << 20, 0, 0));
    queues[SENDS].publish(0);
    settle(&bench);
    assert_eq!(queues[SENDS].used(), None);
    bench.set(register::STATUS, 0);
    queues.iter().for_each(Rings::clear);
    let mut queues = bench.bring_up(FEATURES);
    queues[SENDS].send(0, b"new");
    let mut all = Vec::new();
    for _ in 0..1000 {
        settle(&bench);
        all.extend(arrived(&bench.host));
    }
    assert!(all.ends_with(b"new"));
    assert!(
        all.len() < 1 << 20,
        "{} bytes of a dropped chain",
        all.len()
    );
}

#[test]
fn the_host_is_not_watched_for_what_the_guest_cannot_take() {
    let reading = |bench: &Bench| bench.core.borrow_mut().wants(0).contains(EventSet::IN);
    let spoilers: [fn(&Bench, &mut [Rings]); 5] = [
        |bench, queues| say(bench, queues, &message(1, event::PORT_OPEN, 0)),
        |bench, _| {
            bench.set(register::QUEUE_SELECT, RECEIVES as u32);
            bench.set(register::QUEUE_READY, 0);
        },
        |_, queues| {
            queues[SENDS].publish(u16::MAX);
        },
        |bench, _| {
            bench.set(register::STATUS, 0);
        },
        |bench, _| (&bench.host).write_all(b"fills the only buffer").unwrap(),
    ];
    for spoil in spoilers {
        let (bench, mut queues) = open();
        settle(&bench);
        assert!(!reading(&bench));
        queues[RECEIVES].offer(0, 4);
        settle(&bench);
        assert!(reading(&bench));
        spoil(&bench, &mut queues);
        settle(&bench);
        // Otherwise a host that has sent something would keep the thread spinning.
        assert!(!reading(&bench));
    }
}

#[test]
fn a_queue_that_is_taken_away_at_work_is_left_alone() {
    for queue in [SENDS, RECEIVES] {
        let (bench, mut queues) = open();
        queues[SENDS].describe(0, Descriptor::new(0, 8 << 20, 0, 0));
        queues[SENDS].publish(0);
        (&bench.host).write_all(b"waits").unwrap();
        settle(&bench);
        bench.set(register::QUEUE_SELECT, queue as u32);
        bench.set(register::QUEUE_READY, 0);
        arrived(&bench.host);
        settle(&bench);
        queues[RECEIVES].offer(0, 64);
        settle(&bench);
        assert_eq!(queues[RECEIVES].used().is_some(), queue == SENDS);
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn a_driver_that_knows_one_port_is_heard_and_not_held_up() {
    let bench = Bench::new();
    let mut queues = bench.bring_up(VERSION_1);
    settle(&bench);
    // Where the driver cannot say when it wants interrupts, there is one for what is used only.
    assert_eq!(bench.interrupt.causes(), 0);
    queues[1].send(0, b"early console");
    queues[SENDS].send(0, b"there is no such port for you");
    settle(&bench);
    assert_eq!(queues[1].used(), Some((0, 0)));
    assert_eq!(queues[SENDS].used(), None);
    assert_eq!(arrived(&bench.host), b"");
}
