//! The system calls of a run on bare metal that need `unsafe`, and the signals that end it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use ktstr_core::CpuSet;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Signals that end a run, and all that it made first.
const ENDING: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The first signal that came; 0 before.
static FIRST: AtomicI32 = AtomicI32::new(0);

/// Where the handler writes.
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// Tells that a signal came. The handlers belong to the process, which is one run.
#[derive(Debug)]
pub(super) struct Signals {
    read_end: OwnedFd,
    _write_end: OwnedFd,
}

extern "C" fn note(signal: libc::c_int) {
    let _ = FIRST.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    // SAFETY: write(2) may be called in a handler; one byte of a static is read. The descriptor is open for as long as
    // the process lives, or no longer set. The interrupted code finds errno as it left it.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(WRITE_END.load(Ordering::SeqCst), b"!".as_ptr().cast(), 1);
        *errno = before;
    }
}

fn handle(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value, with an empty mask; the handler is one of this module or the default.
    let set = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

impl Signals {
    /// From now on, signals that would end this process are noted.
    pub(super) fn watch() -> io::Result<Self> {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        WRITE_END.store(write_end.as_raw_fd(), Ordering::SeqCst);
        for signal in ENDING {
            handle(
                signal,
                note as extern "C" fn(libc::c_int) as libc::sighandler_t,
            )?;
        }
        Ok(Self {
            read_end,
            _write_end: write_end,
        })
    }
}

/// The signal that came first, of those that are watched for.
pub(super) fn first_signal() -> Option<i32> {
    Some(FIRST.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }
}

/// Has this process told to end when `parent` does.
pub(super) fn end_with(parent: Option<Pid>) -> io::Result<()> {
    let Some(parent) = parent else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if getppid() != Some(parent) {
        return Err(io::Error::other("it is gone"));
    }
    Ok(())
}

/// Makes this process, just forked, that of a body: signals end it, and it ends with its parent.
pub(super) fn become_body() {
    for signal in ENDING {
        let _ = handle(signal, libc::SIG_DFL);
    }
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Lets this process run on `cpus`, whatever the shell that it was started from is confined to.
pub(super) fn run_on(cpus: &CpuSet) -> io::Result<()> {
    let mut mask = rustix::thread::CpuSet::new();
    for cpu in cpus
        .iter()
        .filter(|cpu| (*cpu as usize) < rustix::thread::CpuSet::MAX_CPU)
    {
        mask.set(cpu as usize);
    }
    Ok(rustix::thread::sched_setaffinity(None, &mask)?)
}

/// Gives this process mounts of its own.
pub(super) fn leave_mounts() -> io::Result<()> {
    // SAFETY: plain system call without pointers.
    match unsafe { libc::unshare(libc::CLONE_NEWNS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
