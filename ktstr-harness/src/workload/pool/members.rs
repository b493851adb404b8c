//! The processes of a pool: children that are waited for, and killed at the end.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use crate::cpu_map::CpuMap;
use crate::workload::clock::{self, nanoseconds};
use crate::workload::report::{WorkerEnd, WorkerReport};
use crate::workload::slot::Slot;

/// A worker's process.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: usize,
    /// Number within the group.
    pub(super) worker: usize,
    pub(super) pid: Pid,
    state: WorkerState,
}

#[derive(Debug, Clone, Copy)]
enum WorkerState {
    Running,
    Ended(WaitStatus),
    /// Somebody else waited for it.
    Unknown,
}

impl Member {
    /// A child that was just made.
    pub(super) fn running(group: usize, worker: usize, pid: Pid) -> Self {
        Self {
            group,
            worker,
            pid,
            state: WorkerState::Running,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, WorkerState::Running)
    }

    pub(super) fn raw_pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// What became of it: how it ended, or what it reported in `slot`.
    pub(super) fn end(&self, slot: &Slot, cpus: CpuMap) -> WorkerEnd {
        if let WorkerState::Ended(status) = self.state {
            if let Some(signal) = status.terminating_signal() {
                return WorkerEnd::Killed { signal };
            }
            match status.exit_status() {
                Some(0) => {}
                Some(status) => return WorkerEnd::Exited { status },
                None => return WorkerEnd::Lost("ended in a way that the kernel does not name"),
            }
        }
        match WorkerReport::read(slot, cpus) {
            Ok(report) => WorkerEnd::Reported(report),
            Err(what) => WorkerEnd::Lost(what),
        }
    }
}

/// Collects the exit statuses that are there.
pub(super) fn reap(members: &mut [Member]) {
    for member in members.iter_mut().filter(|m| m.is_running()) {
        match waitpid(Some(member.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => member.state = WorkerState::Ended(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => member.state = WorkerState::Unknown,
        }
    }
}

/// Collects exit statuses until all are there or the time is over.
pub(super) fn reap_within(members: &mut [Member], limit: Duration) {
    let all: Vec<usize> = (0..members.len()).collect();
    reap_some_within(members, &all, limit);
}

/// The same until those of `some` are there, by their position; whether they are.
pub(super) fn reap_some_within(members: &mut [Member], some: &[usize], limit: Duration) -> bool {
    const PAUSE_NS: u64 = 2_000_000;
    let limit_ns = clock::monotonic_ns().saturating_add(nanoseconds(limit));
    loop {
        reap(members);
        let have_ended = !some.iter().any(|index| members[*index].is_running());
        let now = clock::monotonic_ns();
        if have_ended || now >= limit_ns {
            return have_ended;
        }
        clock::sleep_until(limit_ns.min(now + PAUSE_NS));
    }
}

/// Kills those that still run, and waits for them.
pub(super) fn kill_within(members: &mut [Member], limit: Duration) {
    for member in members.iter().filter(|m| m.is_running()) {
        // Not waited for yet, so that the number still is this process.
        let _ = kill_process(member.pid, Signal::KILL);
    }
    reap_within(members, limit);
}
