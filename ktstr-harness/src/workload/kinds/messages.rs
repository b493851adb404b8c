//! [`WorkType::PipeIo`](crate::workload::WorkType::PipeIo) and
//! [`WorkType::SocketTraffic`](crate::workload::WorkType::SocketTraffic).
//!
//! Press on synchronous wake-ups (`WF_SYNC`): `wake_up_interruptible_sync_poll` from `pipe_write` (`fs/pipe.c`) and from
//! `sock_def_readable` (`net/core/sock.c`), whose waker says that it is about to sleep. Measure how long after the write
//! the reader runs.

use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::{Acquire, Release};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, write};

use super::Site;
use super::common::{RECHECK_NS, was_given, work};
use crate::workload::clock;
use crate::workload::failure::{Call, Failure};
use crate::workload::slot::Recorder;

/// What fits into a pipe's buffer and a socket's, with room to spare: a write never waits for the reader.
pub(super) const BYTES: RangeInclusive<u32> = 1..=MOST as u32;
const MOST: usize = 16_384;

pub(super) fn run(recorder: &mut Recorder<'_>, site: &Site<'_>, bytes: u32) -> Result<(), Failure> {
    let Some(channel) = site.channel else {
        return Ok(());
    };
    let (input, output) = (channel.read_end(site.place), channel.write_end(site.place));
    let [own, other] = [&site.cells[site.place], &site.cells[1 - site.place]];
    let mut buffer = [0; MOST];
    let message = &mut buffer[..bytes as usize];
    let mut begins = site.place == 0;
    loop {
        if begins {
            begins = false;
        } else {
            let Some(slept) = receive(recorder, input, message)? else {
                return Ok(());
            };
            was_given(recorder, own.given_ns.load(Acquire), slept);
        }
        work(1);
        let go_on = recorder.iteration(1);
        recorder.add(0, u64::from(bytes));
        other.given_ns.store(clock::monotonic_ns(), Release);
        send(output, message)?;
        if !go_on {
            return Ok(());
        }
    }
}

/// Reads a whole message, and says whether it slept for it. `None`: the run ended first.
fn receive(
    recorder: &Recorder<'_>,
    input: BorrowedFd<'_>,
    message: &mut [u8],
) -> Result<Option<bool>, Failure> {
    let mut slept = false;
    let mut have = 0;
    while have < message.len() {
        let at_once = clock::timespec(0);
        if !is_readable(input, &at_once)? {
            let now = clock::monotonic_ns();
            if recorder.is_over(now) {
                return Ok(None);
            }
            slept = true;
            let limit = clock::timespec(RECHECK_NS.min(recorder.deadline_ns() - now));
            if !is_readable(input, &limit)? {
                continue;
            }
        }
        match read(input, &mut message[have..]) {
            Ok(0) => return Ok(None),
            Ok(more) => have += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Failure::of(Call::Read)(errno)),
        }
    }
    Ok(Some(slept))
}

fn is_readable(input: BorrowedFd<'_>, limit: &rustix::time::Timespec) -> Result<bool, Failure> {
    let mut fds = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
    match poll(&mut fds, Some(limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Failure::of(Call::Read)(errno)),
    }
}

fn send(output: BorrowedFd<'_>, message: &[u8]) -> Result<(), Failure> {
    let mut sent = 0;
    while sent < message.len() {
        match write(output, &message[sent..]) {
            Ok(more) => sent += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Failure::of(Call::Write)(errno)),
        }
    }
    Ok(())
}
