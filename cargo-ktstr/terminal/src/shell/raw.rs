//! The terminal in raw mode: every key goes to the guest.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use ktstr_driver::shell::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::guardian::Guardian;

/// The size of a terminal that does not tell it.
const USUAL: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// What programs of the guest may have turned on in the terminal, and cannot turn off once they are gone: the other
/// screen, bracketed paste, reports of the mouse, a hidden cursor, colours, line drawing (`console_codes(4)` and
/// xterm's `ctlseqs`).
pub(super) const TURN_OFF: &[u8] =
    b"\x1b[?1047l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\
    \x1b[?1l\x1b>\x1b[?25h\x1b[0m\x0f\r\n";

/// The size of a terminal.
pub(super) fn size(terminal: impl AsFd) -> TerminalSize {
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => TerminalSize {
            rows: size.ws_row,
            columns: size.ws_col,
        },
        _ => USUAL,
    }
}

/// A terminal in raw mode. Dropping it puts it back, and so does its guardian if this process dies.
pub(super) struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
    raw: Termios,
    guardian: Option<Guardian>,
}

impl RawTerminal {
    /// `None` where it has no modes that can be set: then it is none, or gone.
    pub(super) fn enter(terminal: impl AsFd) -> Option<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        // It reads the modes itself, so it comes first.
        let guardian = Guardian::of(&terminal);
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
        Some(Self {
            terminal,
            before,
            raw,
            guardian,
        })
    }

    /// The terminal and its raw modes: whoever stops and continues this process changes them.
    pub(super) fn modes(&self) -> Option<(OwnedFd, Termios)> {
        Some((self.terminal.try_clone().ok()?, self.raw.clone()))
    }

    /// Puts the terminal back; also what programs did to it that were cut off.
    pub(super) fn leave(self, was_cut_off: bool) {
        if was_cut_off {
            let _ = std::io::stdout().write_all(TURN_OFF);
            let _ = std::io::stdout().flush();
        }
        drop(self);
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // One that is gone needs nothing.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
    }
}
