//! The system calls of init that need `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

/// The two sides of a fork.
#[derive(Debug)]
pub(super) enum Forked {
    /// In the parent: the child's id.
    Parent(Pid),
    /// In the child.
    Child,
}

/// Forks this process, which must have one thread.
pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: init has started no thread, so the child owns a consistent copy of every lock and
    // allocator state, and may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Pid::from_raw(pid)
            .map(Forked::Parent)
            .ok_or_else(|| io::Error::other("fork returned no pid")),
    }
}

/// Sets environment variables; this process must have one thread.
pub(super) fn set_env(variables: &[(String, String)]) {
    for (name, value) in variables {
        // A name with `=` or NUL cannot be set and would panic; the host sends none.
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        // SAFETY: init has started no thread that could read the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Gives this process, but none that it starts, a real-time priority, so that the scheduler under test does not decide
/// when it runs.
pub(crate) fn run_above_schedulers() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 50 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: plain system call; the parameter is read before it returns.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts a process under the enabled sched_ext scheduler, also where that takes only tasks that ask for it.
pub(super) fn run_under_sched_ext(pid: u32) -> io::Result<()> {
    /// `include/uapi/linux/sched.h` of the kernel.
    const SCHED_EXT: libc::c_int = 7;
    let parameter = libc::sched_param { sched_priority: 0 };
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: plain system call; the parameter is read before it returns.
    match unsafe { libc::sched_setscheduler(pid, SCHED_EXT, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel's log, as much of its end as there is room for: one system call, where `/dev/kmsg` takes one for each
/// message.
pub(super) fn kernel_log() -> String {
    /// `SYSLOG_ACTION_READ_ALL`, syslog(2).
    const READ_ALL: libc::c_int = 3;
    const ROOM: libc::c_int = 512 << 10;
    let mut log = vec![0_u8; ROOM as usize];
    // SAFETY: the kernel writes at most as many bytes as there are, into memory that lives until the call returns.
    let length = unsafe { libc::klogctl(READ_ALL, log.as_mut_ptr().cast(), ROOM) };
    log.truncate(usize::try_from(length).unwrap_or(0));
    String::from_utf8_lossy(&log).into_owned()
}

/// Ends this process at once: nothing of the parent's is flushed or dropped twice.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(code) }
}

/// Where the handler of `SIGCHLD` writes; -1 before there is one.
static CHILD_ENDED: AtomicI32 = AtomicI32::new(-1);

/// A descriptor that becomes readable when a child of init has ended, also one that init only inherited. To be called
/// once.
///
/// A handler, not a blocked signal: programs that init starts would inherit that.
pub(super) fn child_endings() -> io::Result<OwnedFd> {
    let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
    let (reader, writer) = rustix::pipe::pipe_with(flags)?;
    CHILD_ENDED.store(writer.as_raw_fd(), Ordering::SeqCst);
    // The handler may write to it as long as init runs.
    let _ = writer.into_raw_fd();
    // SAFETY: all zeroes is a valid `sigaction`: an empty mask, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = note_child_ended as *const () as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
    // SAFETY: the handler has the signature of one without SA_SIGINFO and calls nothing that a handler may not; the
    // structure lives through the call.
    match unsafe { libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(reader),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn note_child_ended(_: libc::c_int) {
    // SAFETY: `write` may be called in a handler, which puts back what it changes of its thread; the byte lives through
    // the call, and the descriptor is never closed. When the pipe is full there is something to read.
    unsafe {
        let errno = *libc::__errno_location();
        let byte = 0_u8;
        libc::write(
            CHILD_ENDED.load(Ordering::SeqCst),
            (&raw const byte).cast(),
            1,
        );
        *libc::__errno_location() = errno;
    }
}

/// A child that has ended and was not waited for; it still is not.
pub(super) fn ended_child() -> Option<Pid> {
    // SAFETY: all zeroes is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the structure lives through the call, which fills it in.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    if result != 0 {
        return None;
    }
    // SAFETY: `waitid` filled the structure in as that of a child, or left it zero where there is none.
    Pid::from_raw(unsafe { info.si_pid() })
}

/// Kills every process but init.
pub(super) fn kill_everyone_else() {
    // SAFETY: plain system call; for PID 1 the target -1 is every process but itself.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Kills one process; one that is gone already is fine.
pub(super) fn kill(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
}

/// Turns the machine off.
pub(super) fn power_off() -> ! {
    // SAFETY: plain system calls without pointers; init of a throw-away machine has nothing to lose.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
    // Only a kernel without a way to power off gets here; the host ends the machine.
    loop {
        std::thread::park();
    }
}
