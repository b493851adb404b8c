//! Ends a test process, and with it its machine, when its nextest was killed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::thread;
use std::time::Duration;

use ktstr_core::host::{Host, ProcessStat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How often to look for the parent, on a kernel without pidfds.
const POLL: Duration = Duration::from_millis(250);

/// The kernel's name of nextest's process.
const NEXTEST: &str = "cargo-nextest";

/// The kernel's name of a session's process.
const SESSION: &str = "cargo-ktstr";

/// The most processes to look at between a test and nextest.
const MAX_ANCESTORS: usize = 64;

/// Ends this process (and with it its machine) once nextest is gone, if that runs it, or anything between the two: cargo
/// puts a runner there where one is configured (`CARGO_TARGET_…_RUNNER`), which outlives a nextest that was killed.
///
/// `PR_SET_PDEATHSIG` would not do: it follows the *thread* that forked, and nextest's may end early.
pub(super) fn end_with_nextest(host: &Host) {
    if host.var("NEXTEST").is_none() {
        return;
    }
    let parent = parent_id();
    let above = watched(std::process::id(), &Process::read);
    let opened: Vec<Opened> = above.into_iter().map(Ancestor::open).collect();
    let ended = opened.iter().any(|it| matches!(it, Opened::Ended));
    // A pidfd tells when the parent ends.
    let told = matches!(opened.first(), Some(Opened::Handle(_)));
    let handles: Vec<OwnedFd> = opened.into_iter().filter_map(Opened::handle).collect();
    thread::spawn(move || {
        let limit = (!told).then(|| Timespec::try_from(POLL).unwrap_or_default());
        while !ended && parent_id() == parent && !any_ended(&handles, limit.as_ref()) {}
        // The kernel kills QEMU with the thread that started it, and that goes with this process.
        std::process::exit(i32::from(ktstr_core::EXIT_FAIL));
    });
}

/// Waits until one of these processes ends, or for `limit`.
fn any_ended(handles: &[OwnedFd], limit: Option<&Timespec>) -> bool {
    let handle = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut fds: Vec<PollFd<'_>> = handles.iter().map(|fd| handle(fd.as_fd())).collect();
    // After a signal it is waited again.
    poll(&mut fds, limit).is_ok() && fds.iter().any(|fd| !fd.revents().is_empty())
}

/// Facts about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let ProcessStat { name, parent, .. } = ProcessStat::read(pid)?;
        Some(Self { name, parent })
    }
}

/// A process above this one, and the one below it, whose parent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ancestor {
    pid: u32,
    child: u32,
}

/// The result of opening a pidfd.
#[derive(Debug)]
enum Opened {
    /// It becomes readable when the process ends.
    Handle(OwnedFd),
    /// The process has ended meanwhile.
    Ended,
    /// The system gives none.
    Refused,
}

impl Opened {
    fn handle(self) -> Option<OwnedFd> {
        match self {
            Self::Handle(handle) => Some(handle),
            Self::Ended | Self::Refused => None,
        }
    }
}

impl Ancestor {
    fn open(self) -> Opened {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let handle = match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Ok(handle)) => handle,
            Some(Err(Errno::SRCH)) => return Opened::Ended,
            Some(Err(_)) | None => return Opened::Refused,
        };
        // Where the process had ended its child has another parent, and its number may be somebody else's.
        match Process::read(self.child) {
            Some(child) if child.parent == self.pid => Opened::Handle(handle),
            _ => Opened::Ended,
        }
    }
}

/// The processes above `pid` that it must not outlive, nearest first: its parent, and where nextest is above it, all up
/// to that and up to the session that started it.
fn watched(pid: u32, read: &dyn Fn(u32) -> Option<Process>) -> Vec<Ancestor> {
    let mut above: Vec<(Ancestor, String)> = Vec::new();
    let mut child = pid;
    while let Some(parent) = read(child).map(|process| process.parent)
        && parent != 0
        && above.len() < MAX_ANCESTORS
    {
        let Some(process) = read(parent) else { break };
        above.push((Ancestor { pid: parent, child }, process.name));
        child = parent;
    }
    let nextest = above.iter().position(|(_, name)| name == NEXTEST);
    let count = match nextest {
        None => 1,
        // Cargo may stand between it and a session, but nobody else does.
        Some(nextest) => {
            let above = above[nextest + 1..].iter();
            let ours = above.take_while(|(_, name)| name == SESSION || name == "cargo");
            let session = ours.map(|(_, name)| name == SESSION).collect::<Vec<_>>();
            let session = session.iter().rposition(|is_session| *is_session);
            nextest + 1 + session.map_or(0, |at| at + 1)
        }
    };
    let above = above.into_iter().take(count);
    above.map(|(ancestor, _)| ancestor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of what a process with these above it, nearest first, is not to outlive.
    fn above(names: &[&str]) -> Vec<u32> {
        // The test is 100, its parent 99 and so on; the last one is the first process.
        let read = |pid: u32| {
            let at = (100 - pid) as usize;
            let name = if at == 0 { "test" } else { names.get(at - 1)? };
            let parent = if at == names.len() { 0 } else { pid - 1 };
            let name = name.to_string();
            Some(Process { name, parent })
        };
        watched(100, &read).iter().map(|it| it.pid).collect()
    }

    #[test]
    fn all_up_to_nextest_and_its_session_are_watched() {
        assert_eq!(above(&["cargo-nextest", "bash", "init"]), [99]);
        assert_eq!(
            above(&["timeout", "sh", "cargo-nextest", "bash", "init"]),
            [99, 98, 97]
        );
        assert_eq!(
            above(&["timeout", "cargo-nextest", "cargo-ktstr", "bash", "init"]),
            [99, 98, 97]
        );
        assert_eq!(
            above(&["cargo-nextest", "cargo", "cargo-ktstr", "bash", "init"]),
            [99, 98, 97]
        );
        // Cargo alone lives no longer than nextest.
        assert_eq!(above(&["cargo-nextest", "cargo", "bash", "init"]), [99]);
        // A nextest whose tests run nextest: the nearer one counts.
        assert_eq!(
            above(&["sh", "cargo-nextest", "test", "cargo-nextest"]),
            [99, 98]
        );
        // None that can be seen, as in a namespace of its own.
        assert_eq!(above(&["sh", "bwrap"]), [99]);
        assert!(above(&[]).is_empty());
        let endless = |pid| {
            let name = "sh".to_owned();
            Some(Process { name, parent: pid })
        };
        assert_eq!(watched(7, &endless).len(), 1);
    }

    #[test]
    fn an_ancestor_that_ended_is_noticed() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let handles = [handle];
        let none = Timespec::default();
        assert!(!any_ended(&handles, Some(&none)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(any_ended(&handles, None));
        // Whoever is no longer the parent has ended.
        let stranger = Ancestor {
            pid: std::process::id(),
            child: parent_id(),
        };
        assert!(matches!(stranger.open(), Opened::Ended));
        let parent = Ancestor {
            pid: parent_id(),
            child: std::process::id(),
        };
        assert!(parent.open().handle().is_some());
    }
}
