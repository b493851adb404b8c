//! Runs a child in the foreground: it shares our terminal, and signals that would end us are left to it.
//!
//! Signal handlers belong to a whole process. They are installed where a session is told that it may
//! ([`crate::NextestStreams::Foreground`]), and nowhere else.
#![allow(unsafe_code)]

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use ktstr_vmm::CancelToken;
use ktstr_vmm::child::end_with_us;
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Scope, wait_for_end};

/// The signals by which a person or a CI system ends a program.
const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Process number of the child that signals are passed on to; 0 where there is none.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// The last signal that came before the child had started; 0 where there is none.
static MISSED: AtomicI32 = AtomicI32::new(0);

/// Runs `command` to its end.
///
/// A terminal's Ctrl-C reaches the child as it reaches us. It ends in its own order; we wait for that, as a shell does.
/// A signal that was sent to us alone is passed on to it. Should we be killed, the child is told to end (`SIGTERM`), as
/// it is when `cancel` is cancelled.
pub(super) fn run(
    command: &mut Command,
    cancel: &CancelToken,
    started: impl FnOnce(&Child),
) -> io::Result<ExitStatus> {
    end_with_us(command, Signal::TERM);
    // Before the child: a terminal's Ctrl-C may come as soon as that runs, which does not inherit handlers.
    let _handled = Handled::new();
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    CHILD.store(pid.as_raw_nonzero().get(), Ordering::SeqCst);
    if let Some(missed) = Signal::from_named_raw(MISSED.swap(0, Ordering::SeqCst)) {
        let _ = kill_process(pid, missed);
    }
    started(&child);
    // Not reaped before signals go elsewhere: its number stays its own.
    let waited = wait_for_end(&child, cancel, Scope::Process);
    CHILD.store(0, Ordering::SeqCst);
    waited?;
    child.wait()
}

/// Our handlers of the signals, installed while this value lives.
struct Handled {
    before: [libc::sigaction; SIGNALS.len()],
}

impl Handled {
    fn new() -> Self {
        MISSED.store(0, Ordering::SeqCst);
        let before = SIGNALS.map(|signal| {
            // SAFETY: all zeroes is a valid `sigaction`: the default action, no flags, an empty mask.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: as above.
            let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = pass_on as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            // SAFETY: the handler has the signature of SA_SIGINFO and calls nothing that a handler may not; both
            // structures live through the call.
            unsafe { libc::sigaction(signal, &raw const action, &raw mut before) };
            before
        });
        Self { before }
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        for (signal, before) in SIGNALS.iter().zip(&self.before) {
            // SAFETY: puts back what was there.
            unsafe { libc::sigaction(*signal, before, ptr::null_mut()) };
        }
        CHILD.store(0, Ordering::SeqCst);
    }
}

/// Passes a signal on that a process sent. Those of a terminal come from the kernel, and every process of the group in
/// its foreground gets them.
extern "C" fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler of SA_SIGINFO a valid pointer.
    if info.is_null() || unsafe { (*info).si_code } == libc::SI_KERNEL {
        return;
    }
    MISSED.store(signal, Ordering::SeqCst);
    let child = CHILD.load(Ordering::SeqCst);
    if child > 0 && MISSED.swap(0, Ordering::SeqCst) != 0 {
        // SAFETY: `kill` may be called in a handler, which puts back what it changes of its thread; the child is not reaped
        // while CHILD holds its number.
        unsafe {
            let errno = *libc::__errno_location();
            libc::kill(child, signal);
            *libc::__errno_location() = errno;
        }
    }
}
