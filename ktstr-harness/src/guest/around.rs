//! What a run finds around it: a machine of its own, or one that does other work as well.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{CGROUP_ROOT, trace};

/// What a run may use of the machine that it runs on, and what it leaves as it found it.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The cgroup2 directory below which scheduler and body have theirs.
    pub(crate) cgroup_root: &'a Path,
    /// The trace directory that the kernel's dumps of schedulers go to.
    pub(crate) tracing: &'a Path,
    /// CPUs to look at: those from 0 on, as many.
    pub(crate) cpus: u32,
    /// Readable once the run is to end early.
    pub(crate) interrupt: Option<BorrowedFd<'a>>,
    /// Called in the process of the body, before anything else.
    pub(crate) in_body: fn(),
    /// Called with the file of every kernel setting that is about to be changed.
    pub(crate) before_setting: &'a dyn Fn(&Path) -> std::io::Result<()>,
}

impl Around<'_> {
    /// A machine of its own: nothing of it is left when the run is over.
    pub(crate) fn guest(cpus: u32) -> Self {
        Self {
            cgroup_root: Path::new(CGROUP_ROOT),
            tracing: Path::new(trace::TRACING),
            cpus,
            interrupt: None,
            in_body: || {},
            before_setting: &|_| Ok(()),
        }
    }

    /// Whether the run is to end early.
    pub(crate) fn is_interrupted(&self) -> bool {
        let Some(fd) = self.interrupt else {
            return false;
        };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}
