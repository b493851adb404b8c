//! The signals of this process, while a shell runs.

use std::io::{self, stdin};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ktstr_driver::shell::ShellControl;
use ktstr_vmm::CancelToken;
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::{Handle, Signals as Incoming};

use super::raw;

/// Passes signals on to the shell, or ends its machine.
pub(super) struct Signals {
    state: Arc<State>,
    handle: Handle,
}

#[derive(Default)]
struct State {
    /// Whether the shell runs.
    started: AtomicBool,
    /// Whether it was interrupted once.
    interrupted: AtomicBool,
    /// The signal that ended the machine; 0 while there is none.
    ended_by: AtomicI32,
    /// The terminal in raw mode.
    raw: Mutex<Option<(OwnedFd, Termios)>>,
}

impl Signals {
    /// From now on. An interrupt goes to a command that runs, once; the next one, and others, cancel.
    pub(super) fn watch(
        at_terminal: bool,
        cancel: CancelToken,
        control: Arc<ShellControl>,
    ) -> io::Result<Self> {
        let mut incoming = Incoming::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT])?;
        let handle = incoming.handle();
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        thread::Builder::new().spawn(move || {
            for signal in incoming.forever() {
                seen.take(signal, at_terminal, &cancel, &control);
            }
        })?;
        Ok(Self { state, handle })
    }

    /// The shell runs now, with its terminal in these modes.
    pub(super) fn started(&self, raw: Option<(OwnedFd, Termios)>) {
        *self
            .state
            .raw
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = raw;
        self.state.started.store(true, Ordering::SeqCst);
    }

    /// The signal that ended the machine.
    pub(super) fn ended_by(&self) -> Option<i32> {
        Some(self.state.ended_by.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl State {
    fn take(&self, signal: i32, at_terminal: bool, cancel: &CancelToken, control: &ShellControl) {
        let is_started = self.started.load(Ordering::SeqCst);
        match signal {
            SIGWINCH if at_terminal => control.resize(raw::size(stdin())),
            SIGWINCH => {}
            SIGCONT => {
                let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((terminal, modes)) = &*raw {
                    let _ = tcsetattr(terminal, OptionalActions::Now, modes);
                    control.resize(raw::size(terminal));
                }
            }
            SIGINT | SIGQUIT
                if is_started && !at_terminal && !self.interrupted.swap(true, Ordering::SeqCst) =>
            {
                control.signal(signal);
            }
            _ => {
                let _ =
                    self.ended_by
                        .compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
                cancel.cancel();
            }
        }
    }
}
