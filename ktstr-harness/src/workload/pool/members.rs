//! The processes of a pool: children that are waited for, and killed at the end.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use crate::cpu_map::CpuMap;
use crate::workload::clock::{self, nanoseconds};
use crate::workload::report::{WorkerEnd, WorkerReport};
use crate::workload::slot::Slot;
use crate::workload::{WorkType, kinds};

/// A worker: a process, or a thread of one.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: usize,
    /// Number within the group.
    pub(super) worker: usize,
    pub(super) work: WorkType,
    /// The process.
    pid: Pid,
    /// The thread, as far as that is known.
    pub(super) tid: Pid,
    /// Whether it shares its process with others.
    pub(super) is_thread: bool,
    /// Position of the member that is waited for in its place; `None` where it is waited for itself.
    leader: Option<usize>,
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
    pub(super) fn process(group: usize, worker: usize, work: WorkType, pid: Pid) -> Self {
        Self {
            group,
            worker,
            work,
            pid,
            tid: pid,
            is_thread: false,
            leader: None,
            state: WorkerState::Running,
        }
    }

    /// A thread of a child that was just made. The worker at position `leader` is its first.
    pub(super) fn thread(
        group: usize,
        worker: usize,
        work: WorkType,
        pid: Pid,
        leader: usize,
    ) -> Self {
        Self {
            is_thread: true,
            leader: (worker > 0).then_some(leader),
            ..Self::process(group, worker, work, pid)
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, WorkerState::Running)
    }

    pub(super) fn raw_tid(&self) -> u32 {
        self.tid.as_raw_pid().cast_unsigned()
    }

    /// What became of it: how it ended, or what it reported in `slot`.
    pub(super) fn end(&self, slot: &Slot, cpus: CpuMap) -> WorkerEnd {
        if let Some(refused) = WorkerEnd::refused(slot) {
            return refused;
        }
        // A thread that was through does not answer for the others of its process.
        let answers = !(self.is_thread && slot.has_ended());
        if let (true, WorkerState::Ended(status)) = (answers, self.state) {
            if let Some(signal) = status.terminating_signal() {
                return WorkerEnd::Killed { signal };
            }
            match status.exit_status() {
                Some(0) => {}
                Some(status) => return WorkerEnd::Exited { status },
                None => return WorkerEnd::Lost("ended in a way that the kernel does not name"),
            }
        }
        match WorkerReport::read(slot, cpus, kinds::counts(&self.work)) {
            Ok(report) => WorkerEnd::Reported(report),
            Err(what) => WorkerEnd::Lost(what),
        }
    }
}

/// Collects the exit statuses that are there.
pub(super) fn reap(members: &mut [Member]) {
    for index in 0..members.len() {
        if let Some(leader) = members[index].leader {
            members[index].state = members[leader].state;
            continue;
        }
        let member = &mut members[index];
        if !member.is_running() {
            continue;
        }
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
    reap_some_within(members, &all, limit, |_| false);
}

/// The same until those of `some` are there, by their position; whether they are. For a thread it is enough that it
/// `is_through`.
pub(super) fn reap_some_within(
    members: &mut [Member],
    some: &[usize],
    limit: Duration,
    is_through: impl Fn(usize) -> bool,
) -> bool {
    const PAUSE_NS: u64 = 2_000_000;
    let limit_ns = clock::monotonic_ns().saturating_add(nanoseconds(limit));
    loop {
        reap(members);
        let runs = |index: &usize| {
            let member = &members[*index];
            member.is_running() && !(member.is_thread && is_through(*index))
        };
        let have_ended = !some.iter().any(runs);
        let now = clock::monotonic_ns();
        if have_ended || now >= limit_ns {
            return have_ended;
        }
        clock::sleep_until(limit_ns.min(now + PAUSE_NS));
    }
}

/// Kills those that still run, and waits for them.
pub(super) fn kill_within(members: &mut [Member], limit: Duration) {
    for member in members
        .iter()
        .filter(|m| m.is_running() && m.leader.is_none())
    {
        // Not waited for yet, so that the number still is this process.
        let _ = kill_process(member.pid, Signal::KILL);
    }
    reap_within(members, limit);
}
