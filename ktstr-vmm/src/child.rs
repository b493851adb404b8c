//! Child processes that do not outlive their parent.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Makes the kernel send `signal` to the process of `command` when the thread that starts it ends.
pub fn end_with_us(command: &mut Command, signal: Signal) {
    let parent = getpid();
    // SAFETY: between fork and exec the closure makes system calls and nothing else: no allocation,
    // no lock.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(signal))?;
            // The parent may have died before this call.
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

/// Makes the process of `command` run in the cgroup whose open `cgroup.procs` is `procs`: nothing of it runs elsewhere.
pub fn start_in_cgroup(command: &mut Command, procs: OwnedFd) {
    // SAFETY: as above.
    unsafe {
        command.pre_exec(move || {
            rustix::io::write(&procs, b"0")?;
            Ok(())
        });
    }
}

/// Starts `command` so that the kernel kills it when the calling thread ends. It inherits the descriptors `inherited`
/// under the same numbers.
///
/// It leads a process group of its own, so that Ctrl-C on a terminal only reaches the parent, which ends the child.
pub(crate) fn spawn_bound(command: &mut Command, inherited: &[OwnedFd]) -> io::Result<Child> {
    let fds: Vec<i32> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
    command.process_group(0);
    end_with_us(command, Signal::KILL);
    // SAFETY: as above; the descriptors are open, as `inherited` is borrowed until the child was started.
    unsafe {
        command.pre_exec(move || {
            for &fd in &fds {
                let fd = rustix::fd::BorrowedFd::borrow_raw(fd);
                rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
            }
            Ok(())
        });
    }
    command.spawn()
}
