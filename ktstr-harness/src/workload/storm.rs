//! Two cgroups that a worker moves itself between.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::{Errno, write};

/// The `cgroup.procs` of two cgroups, open for writing.
#[derive(Debug)]
pub(crate) struct Storm {
    home: OwnedFd,
    other: OwnedFd,
}

impl Storm {
    /// Of the cgroups at these directories; the first one is where workers begin.
    pub(crate) fn new(home: &Path, other: &Path) -> io::Result<Self> {
        let open = |dir: &Path| File::options().write(true).open(dir.join("cgroup.procs"));
        Ok(Self {
            home: open(home)?.into(),
            other: open(other)?.into(),
        })
    }

    /// Moves this process with all its threads.
    pub(super) fn move_this_process(&self, to_other: bool) -> Result<(), Errno> {
        let to = if to_other { &self.other } else { &self.home };
        // 0 stands for whoever writes (`cgroup_procs_write_start` of the kernel's kernel/cgroup/cgroup.c).
        write(to, b"0").map(|_| ())
    }
}
