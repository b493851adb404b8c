//! A terminal with a program at it, as a test sees both.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{LIMIT, family, wait_until, wait_until_gone};

/// A terminal, and a program that runs at it.
pub(super) struct Terminal {
    /// The other side of the terminal: what is typed goes there, what is shown comes from there.
    person: File,
    /// The side that programs have.
    programs: OwnedFd,
    shown: Vec<u8>,
    modes: String,
    child: Child,
    processes: Vec<u32>,
}

impl Terminal {
    /// Starts `command` at a terminal of 50 lines and 120 columns, which is its controlling one.
    pub(super) fn start(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let terminal = ioctl_tiocgptpeer(&ours, flags).unwrap();
        set_size(&terminal, 50, 120);
        let modes = modes(&terminal);
        let stream = || terminal.try_clone().unwrap();
        // In a session of its own, as the one of a terminal emulator is.
        let mut session = Command::new("setsid");
        session.arg("-c").arg(command.get_program());
        session.args(command.get_args());
        session.env_remove("KTSTR_SESSION");
        let child = session
            .env("TERM", "xterm")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        fcntl_setfl(&ours, OFlags::NONBLOCK | OFlags::RDWR).unwrap();
        Self {
            person: File::from(ours),
            programs: terminal,
            shown: Vec::new(),
            modes,
            child,
            processes: Vec::new(),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn type_in(&mut self, text: &str) {
        self.person.write_all(text.as_bytes()).unwrap();
    }

    /// Reads what is shown, as somebody who looks at it does.
    fn look(&mut self) {
        let mut bytes = [0; 4096];
        // Bounded: a flood never ends.
        for _ in 0..16 {
            match self.person.read(&mut bytes) {
                Ok(count) if count > 0 => self.shown.extend(&bytes[..count]),
                _ => return,
            }
        }
    }

    /// Waits until `text` is shown, and forgets what was shown until then.
    pub(super) fn expect(&mut self, text: &str) {
        let begin = Instant::now();
        loop {
            self.look();
            let found = self
                .shown
                .windows(text.len())
                .position(|it| it == text.as_bytes());
            if let Some(at) = found {
                self.shown.drain(..at + text.len());
                return;
            }
            // What comes next may begin in the last bytes.
            let old = self.shown.len().saturating_sub(64 << 10);
            self.shown.drain(..old);
            let shown = String::from_utf8_lossy(&self.shown);
            assert!(begin.elapsed() < LIMIT, "no {text:?} in {shown:?}");
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the guest's prompt, when the program and its machine all run.
    pub(super) fn expect_prompt(&mut self) {
        self.expect("# ");
        self.processes = family(self.pid());
        // The client, the guardian and the emulator, at least.
        assert!(self.processes.len() >= 2, "{:?}", self.processes);
        assert!(!is_sane(&self.programs), "the terminal is not raw");
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.programs, rows, columns);
    }

    /// Takes the terminal away, as the end of its emulator does.
    pub(super) fn hang_up(self) -> (Child, Vec<u32>) {
        (self.child, self.processes)
    }

    /// Waits for the program to end; then the terminal must be as before, and no process be left.
    pub(super) fn end(mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("the program does not end", || {
            self.look();
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        wait_until_gone(&self.processes);
        wait_until("the terminal stays raw", || is_sane(&self.programs));
        assert_eq!(modes(&self.programs), self.modes);
        self.look();
        let shown = String::from_utf8_lossy(&self.shown).into_owned();
        (status.unwrap(), shown)
    }
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

fn is_sane(terminal: &OwnedFd) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
}

fn modes(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}
