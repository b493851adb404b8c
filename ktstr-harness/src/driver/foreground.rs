//! A child in the foreground: it shares our terminal, and Ctrl-C is its to handle.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Runs `command` to its end.
///
/// A terminal's Ctrl-C reaches the child, which ends in its own order; we wait for that, as a shell
/// does. Should we be killed, the child is told to end (`SIGTERM`).
pub(super) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    let parent = getpid();
    // SAFETY: between fork and exec the closure makes system calls and nothing else.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // We may have died before the signal was asked for.
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
    // After the fork, so that the child does not inherit it.
    let mut child = command.spawn()?;
    let _ignored = [Ignored::new(libc::SIGINT), Ignored::new(libc::SIGQUIT)];
    child.wait()
}

/// A signal that is ignored while this value lives.
struct Ignored {
    signal: libc::c_int,
    before: libc::sighandler_t,
}

impl Ignored {
    fn new(signal: libc::c_int) -> Self {
        // SAFETY: ignoring a signal runs no code of ours.
        let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
        Self { signal, before }
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        if self.before != libc::SIG_ERR {
            // SAFETY: puts back the disposition that was there.
            unsafe { libc::signal(self.signal, self.before) };
        }
    }
}
