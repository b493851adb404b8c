//! A well-behaved driver through the whole device: registers, thread, sockets.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use virtio_queue::desc::split::Descriptor;
use vm_memory::Bytes;

use super::super::VirtioConsole;
use super::super::console::{CONTROL_RECEIVES, receives};
use super::super::control::event;
use super::super::mmio::{EVENT_IDX, register};
use super::driver::{self, BUFFER, FEATURES, Rings};
use super::machine::{Machine, PATIENCE, port};

/// Bytes that differ everywhere.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len).collect()
}

/// Reads from the host's end until `len` bytes came.
fn collect(mut host: &UnixStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    host.read_exact(&mut bytes).unwrap();
    bytes
}

/// Sends `len` bytes both ways at once and checks them.
fn both_ways(features: u64, len: usize) {
    let (host, mut machine) = Machine::open(features);
    let (down, up) = (pattern(len, 1), pattern(len, 2));
    let (receive, transmit) = (receives(1), receives(1) + 1);
    thread::scope(|scope| {
        scope.spawn(|| (&host).write_all(&down).unwrap());
        let reader = scope.spawn(|| collect(&host, len) == up);
        let mut free: Vec<u16> = (0..machine.queues[transmit].size).collect();
        let mut to_send = up.chunks(BUFFER as usize).peekable();
        let mut received = 0;
        while received < len || to_send.peek().is_some() {
            let mut progress = false;
            while let Some((slot, _)) = machine.queues[transmit].used() {
                free.push(slot);
                progress = true;
            }
            while !free.is_empty()
                && let Some(bytes) = to_send.next()
            {
                machine.send(transmit, free.pop().unwrap(), bytes);
                progress = true;
            }
            while let Some((slot, count)) = machine.queues[receive].used() {
                let bytes = machine.queues[receive].content(slot, count);
                assert_eq!(bytes, down[received..received + bytes.len()]);
                received += bytes.len();
                machine.offer(receive, slot);
                progress = true;
            }
            if !progress {
                machine.interrupted();
            }
        }
        assert!(reader.join().unwrap(), "what the guest sent came out wrong");
    });
    assert_eq!(machine.device.fault(), None);
}

#[test]
fn sixty_four_mebibytes_pass_both_ways_intact() {
    both_ways(FEATURES, 64 << 20);
}

#[test]
fn a_driver_without_event_indices_and_ioeventfds_is_served_too() {
    both_ways(FEATURES & !EVENT_IDX, 4 << 20);
}

#[test]
fn ports_are_announced_with_their_kind_and_name() {
    let (_one, first) = port("ktstr", false);
    let (_two, second) = port("terminal", true);
    let mut machine = Machine::new(vec![first, second], FEATURES);
    machine.fill(CONTROL_RECEIVES);
    machine.say(0, event::DEVICE_READY, 1);
    assert_eq!(machine.hear(), (1, event::PORT_ADD, 1, String::new()));
    assert_eq!(machine.hear(), (2, event::PORT_ADD, 1, String::new()));
    machine.say(2, event::PORT_READY, 1);
    assert_eq!(machine.hear(), (2, event::CONSOLE_PORT, 1, String::new()));
    assert_eq!(
        machine.hear(),
        (2, event::PORT_NAME, 1, "terminal".to_owned())
    );
    assert_eq!(machine.hear(), (2, event::PORT_OPEN, 1, String::new()));
}

#[test]
fn a_terminal_holds_nobody_up() {
    let (host, port) = port("terminal", true);
    let mut machine = Machine::new(vec![port], FEATURES);
    let transmit = receives(1) + 1;
    let chunk = pattern(BUFFER as usize, 5);
    // Nobody reads, and the guest is not held up; nor is the end of the machine.
    for _ in 0..100 {
        machine.send(transmit, 0, &chunk);
        assert_eq!(machine.used(transmit), (0, 0));
    }
    machine.device.drain();
    assert!(ended(&machine.device, PATIENCE));
    assert!(
        collect(&host, chunk.len()) == chunk,
        "the beginning is there"
    );
}

#[test]
fn a_host_that_reads_nothing_holds_the_guest_up_and_loses_nothing() {
    let (host, mut machine) = Machine::open(FEATURES);
    let transmit = receives(1) + 1;
    // One descriptor over all buffers, then small ones after it.
    let big = pattern(2 << 20, 3);
    for (slot, bytes) in (0..).zip(big.chunks(BUFFER as usize)) {
        let buffer = machine.queues[transmit].buffer(slot);
        machine.memory.write_slice(bytes, buffer).unwrap();
    }
    let start = machine.queues[transmit].buffer(0);
    let descriptor = Descriptor::new(start.0, big.len() as u32, 0, 0);
    machine.queues[transmit].describe(0, descriptor);
    if machine.queues[transmit].publish(0) {
        machine.notify(transmit);
    }
    machine.send(transmit, 100, b"after");
    // The socket fills up.
    let mut fds = [PollFd::new(&host, PollFlags::IN)];
    let timeout = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut fds, Some(&timeout)), Ok(1));
    assert_eq!(
        machine.queues[transmit].used(),
        None,
        "two mebibytes in a socket"
    );
    assert!(collect(&host, big.len()) == big);
    assert_eq!(collect(&host, 5), b"after");
    assert_eq!(machine.used(transmit).0, 0);
    assert_eq!(machine.used(transmit).0, 100);
}

/// Queues as much as there are buffers, which is more than a socket holds; gives what it was.
fn queue_much(machine: &mut Machine) -> Vec<u8> {
    let transmit = receives(1) + 1;
    let bytes = pattern(
        usize::from(machine.queues[transmit].size) * BUFFER as usize,
        4,
    );
    for (slot, chunk) in (0..).zip(bytes.chunks(BUFFER as usize)) {
        machine.send(transmit, slot, chunk);
    }
    bytes
}

fn ended(device: &VirtioConsole, limit: Duration) -> bool {
    let fd = device.ended();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Timespec::try_from(limit).ok().as_ref()) == Ok(1)
}

#[test]
fn what_the_guest_sent_before_it_powered_off_arrives() {
    let (host, mut machine) = Machine::open(FEATURES);
    let sent = queue_much(&mut machine);
    machine.device.drain();
    assert!(collect(&host, sent.len()) == sent);
    assert!(ended(&machine.device, PATIENCE));
    machine.device.stop();
}

#[test]
fn a_drain_ends_without_a_host_and_a_stop_overrides_it() {
    let (_host, mut machine) = Machine::open(FEATURES);
    queue_much(&mut machine);
    machine.device.drain();
    assert!(ended(&machine.device, PATIENCE));
    let (_host, mut machine) = Machine::open(FEATURES);
    queue_much(&mut machine);
    machine.device.drain();
    machine.device.stop();
    assert!(ended(&machine.device, Duration::ZERO));
    // Its registers are still there for a virtual CPU that runs on.
    let status = driver::get(
        &|offset, data| machine.device.read(offset, data),
        register::STATUS,
    );
    assert_eq!(status, 0xf);
    machine.notify(receives(1));
}

#[test]
fn a_stop_delivers_what_the_host_takes_at_once() {
    let (host, mut machine) = Machine::open(FEATURES);
    machine.send(receives(1) + 1, 0, b"last words");
    machine.device.stop();
    assert_eq!(collect(&host, 10), b"last words");
}

#[test]
fn a_host_that_leaves_is_missed_after_its_last_words() {
    let (mut host, mut machine) = Machine::open(FEATURES);
    let (receive, transmit) = (receives(1), receives(1) + 1);
    host.write_all(b"goodbye").unwrap();
    drop(host);
    let (slot, len) = machine.used(receive);
    assert_eq!(machine.queues[receive].content(slot, len), b"goodbye");
    assert_eq!(machine.hear(), (1, event::PORT_OPEN, 0, String::new()));
    // A guest that goes on sending is not held up, and nothing spins: the thread can be stopped.
    for slot in 0..100 {
        machine.send(transmit, slot, &[0; 4096]);
    }
    for _ in 0..100 {
        machine.used(transmit);
    }
    machine.device.stop();
    assert_eq!(machine.device.fault(), None);
}

#[test]
fn a_host_that_leaves_before_anybody_opened_the_port_is_noticed() {
    let (host, port) = port("ktstr", false);
    let mut machine = Machine::new(vec![port], FEATURES);
    machine.fill(CONTROL_RECEIVES);
    host.shutdown(Shutdown::Both).unwrap();
    machine.say(1, event::PORT_READY, 1);
    assert_eq!(machine.hear().1, event::PORT_NAME);
    // The hang-up is seen once the port is watched.
    machine.fill(receives(1));
    machine.say(1, event::PORT_OPEN, 1);
    let mut open = machine.hear();
    if open.2 == 1 {
        open = machine.hear();
    }
    assert_eq!(open, (1, event::PORT_OPEN, 0, String::new()));
}

#[test]
fn a_closed_port_gets_nothing_and_a_reset_keeps_what_waits() {
    let (mut host, mut machine) = Machine::open(FEATURES);
    let receive = receives(1);
    machine.say(1, event::PORT_OPEN, 0);
    host.write_all(b"for the next one").unwrap();
    machine.say(1, event::PORT_OPEN, 0);
    assert_eq!(machine.queues[receive].used(), None);
    // Another driver takes over; once the reset is written nobody touches the rings.
    machine.device.write(register::STATUS, &[0; 4]);
    machine.queues = Rings::all(&machine.memory, 1, FEATURES);
    machine.queues.iter().for_each(Rings::clear);
    let device = &machine.device;
    driver::bring_up(
        FEATURES,
        &machine.queues,
        &|offset, data| device.read(offset, data),
        &|offset, value| device.write(offset, &value.to_le_bytes()),
    );
    machine.fill(receive);
    machine.say(1, event::PORT_READY, 1);
    machine.say(1, event::PORT_OPEN, 1);
    let (slot, len) = machine.used(receive);
    assert_eq!(
        machine.queues[receive].content(slot, len),
        b"for the next one"
    );
}
