//! A shell or a command in a machine, at this process's terminal or with its streams.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::shell::Shell;
//! use ktstr_terminal::{shell, style};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // This program is also the machine's init, and the process that puts the terminal back.
//!     ktstr_harness::dispatch::enter_guest();
//!     shell::become_guardian();
//!
//!     let host = Host::of_this_process();
//!     let style = style("mine", &host);
//!     let status = shell::run(Shell::new(host, "."), None, &style)?;
//!     std::process::exit(status.into())
//! }
//! ```
//!
//! The terminal is in raw mode while the shell runs, so that every key goes to the guest. It is put back when this returns,
//! and when this process dies: then by the [guardian](become_guardian).

mod guardian;
mod raw;
mod signals;
mod watcher;

use std::io::{self, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::sync::Arc;

use ktstr_driver::shell::{
    GdbSocket, Shell, ShellControl, ShellEnd, ShellError, ShellExit, ShellOutcome, ShellStreams,
};
use ktstr_render::{Style, shell as text};
use ktstr_vmm::CancelToken;
use rustix::termios::isatty;

use crate::tell;
use signals::Signals;
use watcher::Watcher;

pub use guardian::become_guardian;

/// The exit status where the shell has none: what `timeout` and `docker run` have for a failure of their own.
pub const FAILED: u8 = 125;

/// A shell that did not run at this terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It did not run.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// Signals cannot be watched.
    #[error("the signals of this process: {0}")]
    Signals(#[from] io::Error),
}

/// Runs `shell` at the terminal of standard input, or with this process's streams where that is none or the shell has a
/// command. A debugger finds the machine at `gdb`. Returns the exit status for this process: that of the shell, 128 and the
/// signal that ended it or this process, or [`FAILED`].
///
/// What is said beside the shell goes to standard error: notes, how to leave it, how the machine ended.
///
/// While it runs, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGWINCH and SIGCONT of this process are handled: an interrupt goes to a
/// command that is running, once; the next one and others end the machine.
pub fn run(mut shell: Shell, gdb: Option<&GdbSocket>, style: &Style) -> Result<u8, RunError> {
    let (input, output, error) = (stdin(), stdout(), stderr());
    shell.gdb = gdb.map(GdbSocket::path);
    if shell.command.is_none() && isatty(&input) {
        shell.terminal = Some(raw::size(&input));
    }
    let cancel = CancelToken::new()?;
    let control = Arc::new(ShellControl::new()?);
    let at_terminal = shell.terminal.is_some();
    let signals = Signals::watch(at_terminal, cancel.clone(), Arc::clone(&control))?;
    let streams = ShellStreams {
        input: input.as_fd(),
        output: output.as_fd(),
        error: error.as_fd(),
        console: shell.verbose_console.then(|| error.as_fd()),
        control: &control,
    };
    let debugger = gdb.map(|gdb| gdb.command(shell.symbols().as_deref()));
    let mut watcher = Watcher::new(&shell, debugger, &signals, &style.program);
    let result = shell.run(streams, &mut watcher, &cancel);
    watcher.leave(result.as_ref().ok());
    match result {
        Ok(outcome) => Ok(ended(&outcome, &style.program)),
        Err(ShellError::Cancelled) => match signals.ended_by() {
            Some(signal) => Ok(u8::try_from(128 + signal).unwrap_or(FAILED)),
            None => Err(ShellError::Cancelled.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Tells how it ended, where that is not for the shell to tell; the exit status.
fn ended(outcome: &ShellOutcome, program: &str) -> u8 {
    if let Some(told) = text::end(outcome, program) {
        tell(told);
    }
    match &outcome.end {
        ShellEnd::Exited(exit @ (ShellExit::Exited(_) | ShellExit::Killed { .. })) => {
            exit.status().unwrap_or(FAILED)
        }
        _ => FAILED,
    }
}
