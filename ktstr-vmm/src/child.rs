//! Child processes that do not outlive their parent.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Has the kernel send `signal` to the process that `command` starts when the thread that starts it ends.
pub fn end_with_us(command: &mut Command, signal: Signal) {
    let parent = getpid();
    // SAFETY: between fork and exec the closure makes system calls and nothing else: no allocation,
    // no lock.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(signal))?;
            // We may have died before the signal was asked for.
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

/// Starts `command` so that the kernel kills it when the calling thread ends, and with `inherited` open
/// in it under the numbers they have here.
///
/// It leads a process group of its own: a terminal's Ctrl-C is for the parent, which ends it in order.
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
