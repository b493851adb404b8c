//! The guardian: a process that puts the terminal back if this one is killed.
//!
//! It is this program again, under another name, in a session of its own. It reads the terminal's modes, and then a pipe
//! whose other end nobody but us has. When that closes without a word, we are gone. It never outlives us.

use std::env::args_os;
use std::io::{self, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::setsid;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::raw::TURN_OFF;

/// Its name: the first of its arguments.
const NAME: &str = "ktstr-terminal-guardian";

/// What it is told when the terminal was put back.
const DONE: &[u8] = b"done";

/// A guardian that runs.
pub(super) struct Guardian {
    process: Child,
    pipe: PipeWriter,
}

impl Guardian {
    /// One for `terminal`, once it knows the modes; `None` where it cannot be started: then nothing helps if we are killed.
    pub(super) fn of(terminal: &OwnedFd) -> Option<Self> {
        Self::start(terminal).ok()
    }

    fn start(terminal: &OwnedFd) -> io::Result<Self> {
        let (reader, pipe) = pipe()?;
        let mut process = Command::new("/proc/self/exe")
            .arg0(NAME)
            .stdin(reader)
            .stdout(Stdio::piped())
            .stderr(terminal.try_clone()?)
            .current_dir("/")
            .spawn()?;
        let mut ready = Vec::new();
        if let Some(mut output) = process.stdout.take() {
            output.read_to_end(&mut ready)?;
        }
        Ok(Self { process, pipe })
    }

    /// Ends it: there is nothing to put back.
    pub(super) fn dismiss(mut self) {
        let _ = self.pipe.write_all(DONE);
        drop(self.pipe);
        let _ = self.process.wait();
    }
}

/// Is the guardian and never returns, if that is what this process was started as by [`run`](super::run): a process that puts
/// the terminal back when the one at it is killed. Call it first of all.
pub fn become_guardian() {
    if args_os().next().is_some_and(|name| name == NAME) {
        guard();
        std::process::exit(0);
    }
}

/// Reads its pipe, standard input; the terminal is standard error.
fn guard() {
    // A signal of the terminal, or to our group, is none for it.
    let _ = setsid();
    let terminal = io::stderr();
    let Ok(modes) = tcgetattr(&terminal) else {
        return;
    };
    // Whoever started it reads until this is closed.
    let _ = rustix::stdio::dup2_stdout(&terminal);
    let mut told = Vec::new();
    let _ = io::stdin().read_to_end(&mut told);
    if told != DONE {
        let _ = tcsetattr(&terminal, OptionalActions::Now, &modes);
        let _ = terminal.lock().write_all(TURN_OFF);
    }
}
