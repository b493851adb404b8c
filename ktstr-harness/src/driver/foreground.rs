//! A child in the foreground: it shares our terminal, and Ctrl-C is its to handle.
#![allow(unsafe_code)]

use std::io;
use std::process::{Command, ExitStatus};

use ktstr_vmm::child::end_with_us;
use rustix::process::Signal;

/// Runs `command` to its end.
///
/// A terminal's Ctrl-C reaches the child, which ends in its own order; we wait for that, as a shell
/// does. Should we be killed, the child is told to end (`SIGTERM`).
pub(super) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    end_with_us(command, Signal::TERM);
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
