//! The end of a machine's run, and its output.

use std::fmt;
use std::time::Duration;

use ktstr_core::{signal, text};

use crate::channel::frame::FrameError;

/// Maximum number of characters of a console line that are quoted.
const MAX_QUOTED: usize = 200;

/// Maximum number of console lines that are quoted.
const MAX_LINES: usize = 5;

/// How a machine's run ended; see [`MachineExit::reason`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// The observer returned [`crate::Flow::Stop`].
    Stopped,
    /// The guest turned itself off.
    PoweredOff,
    /// The guest reset itself, or a triple fault reset it.
    Reset,
    /// All CPUs of the guest halted with interrupts off, so that nothing wakes them. A kernel halts like this when it
    /// is told to, or when it cannot start.
    Halted,
    /// The kernel panicked.
    KernelPanic(KernelPanic),
    /// No frame came before [`crate::MachineSpec::boot_deadline`].
    BootDeadline(GuestActivity),
    /// [`crate::MachineSpec::deadline`] passed.
    Deadline(GuestActivity),
    /// It was cancelled, see [`crate::CancelToken`].
    Cancelled,
    /// The guest sent something that is not a frame.
    Garbled(FrameError),
    /// The backend failed, for this reason, in one line.
    Crashed(String),
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped by its observer"),
            Self::PoweredOff => f.write_str("the guest powered off"),
            Self::Reset => f.write_str("the guest reset itself"),
            Self::Halted => f.write_str("the guest halted: all of its CPUs stopped for good"),
            Self::KernelPanic(panic) => write!(f, "kernel panic: {panic}"),
            Self::BootDeadline(activity) => write!(
                f,
                "the guest sent nothing before the boot deadline; {activity}"
            ),
            Self::Deadline(activity) => write!(f, "the deadline passed; {activity}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Garbled(error) => error.fmt(f),
            Self::Crashed(why) => f.write_str(why),
        }
    }
}

/// A kernel that panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelPanic {
    /// The kernel's own message, one line.
    pub message: String,
    /// How init ended, if that is the cause.
    pub init: Option<InitExit>,
    /// Whether the kernel reset the machine, as `panic=-1` requests. If not, the kernel printed its message, after
    /// which the guest sent nothing and none of its CPUs ran a program or waited for work, and the machine was ended.
    pub reset: bool,
}

impl KernelPanic {
    /// Parses the kernel's `message`.
    pub(crate) fn new(message: &str, reset: bool) -> Self {
        let message = one_line(message);
        Self {
            init: InitExit::of_panic(&message),
            message,
            reset,
        }
    }
}

impl fmt::Display for KernelPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(init) = self.init {
            write!(f, " ({init})")?;
        }
        Ok(())
    }
}

/// How a guest's init ended. It must never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InitExit {
    /// It exited with this status.
    Status(i32),
    /// It was killed by this signal. `SIGILL` before any output usually means that it was built for a newer CPU.
    Signal(i32),
}

impl InitExit {
    /// Parses the message of the kernel's `do_exit`: `Attempted to kill init! exitcode=0x0000000b`. The code is a wait
    /// status as in `wait(2)`.
    fn of_panic(message: &str) -> Option<Self> {
        let (_, rest) = message.split_once("Attempted to kill init!")?;
        let (_, hex) = rest.split_once("exitcode=0x")?;
        let digits = hex
            .find(|letter: char| !letter.is_ascii_hexdigit())
            .unwrap_or(hex.len());
        let code = u32::from_str_radix(&hex[..digits], 16).ok()?;
        Some(match (code & 0x7f).cast_signed() {
            0 => Self::Status((code >> 8 & 0xff).cast_signed()),
            signal => Self::Signal(signal),
        })
    }
}

impl fmt::Display for InitExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => write!(f, "init exited with status {status}"),
            Self::Signal(number) => {
                write!(f, "init was killed by {}", signal::name_or_number(number))
            }
        }
    }
}

/// The activity of a guest at its deadline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestActivity {
    /// Whether it has sent a frame.
    pub ready: bool,
    /// Time since its last frame; `None` if it never sent one.
    pub channel_silent: Option<Duration>,
    /// Time since its last console output; `None` if there was none.
    pub console_silent: Option<Duration>,
    /// The last lines of its console, without control characters; long lines are cut.
    pub last_lines: Vec<String>,
}

impl GuestActivity {
    /// The last lines of `console` that are not empty.
    pub(crate) fn last_lines(console: &[u8]) -> Vec<String> {
        let from = console.len().saturating_sub(MAX_LINES * MAX_QUOTED * 8);
        let text = String::from_utf8_lossy(&console[from..]);
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .map(one_line)
            .filter(|line| !line.is_empty())
            .take(MAX_LINES)
            .collect();
        lines.reverse();
        lines
    }
}

impl fmt::Display for GuestActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.channel_silent {
            Some(silent) => write!(f, "it sent its last frame {} s before", silent.as_secs())?,
            None => f.write_str("it was never ready")?,
        }
        match (self.console_silent, self.last_lines.last()) {
            (Some(silent), Some(line)) => {
                let seconds = silent.as_secs();
                write!(f, "; its console last said, {seconds} s before: {line}")
            }
            _ => f.write_str("; its console said nothing"),
        }
    }
}

/// `text` as one line without control characters, cut if it is long.
fn one_line(text: &str) -> String {
    text::cut(text::line(text).trim(), MAX_QUOTED)
}

/// The result of a run. Nothing of the machine is left on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineExit {
    /// How it ended.
    pub reason: ExitReason,
    /// The console output; if it is very long, its first 256 KiB and last 4 MiB.
    pub console: Vec<u8>,
    /// When the steps of the run happened.
    pub timings: Timings,
    /// Further information about the run, however it ended.
    pub diagnostics: Vec<Diagnostic>,
    /// Version of the program that ran the machine, such as QEMU's `7.2.19`. On KVM, that is this crate; the host's kernel
    /// has its own.
    pub backend_version: Option<String>,
}

/// Information about a run beside its end. It displays as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Diagnostic {
    /// A part of performance mode that the host did not grant.
    Performance(String),
    /// The guest's driver violated the protocol of a device; the device has stopped.
    Device(String),
    /// A line that QEMU printed.
    Qemu(String),
    /// The console showed the message of a kernel panic, but the guest continued: a program wrote it.
    PanicWords(String),
}

impl Diagnostic {
    /// The message that the console showed.
    pub(crate) fn panic_words(words: &str) -> Self {
        Self::PanicWords(one_line(words))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Performance(what) => write!(f, "performance mode: {what}"),
            Self::Device(what) => write!(f, "virtio console: {what}"),
            Self::Qemu(line) => write!(f, "QEMU: {line}"),
            Self::PanicWords(words) => write!(
                f,
                "a program wrote the words of a kernel panic to the console, and the kernel ran on: {words}"
            ),
        }
    }
}

/// When the steps of a run happened, from the call of [`crate::Machine::run`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// The machine was running.
    pub started: Duration,
    /// The console's first byte came.
    pub first_console: Option<Duration>,
    /// The guest's first frame came.
    pub first_frame: Option<Duration>,
    /// The end of the run was known.
    pub decided: Duration,
    /// Nothing of the machine was left.
    pub end: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_init_is_read_from_the_kernels_words() {
        let init = |message: &str| KernelPanic::new(message, true).init;
        let code = |hex: &str| init(&format!("Attempted to kill init! exitcode=0x{hex}"));
        assert_eq!(code("00000004"), Some(InitExit::Signal(libc::SIGILL)));
        // With a core dump.
        assert_eq!(code("0000008b"), Some(InitExit::Signal(libc::SIGSEGV)));
        assert_eq!(code("00000300\r"), Some(InitExit::Status(3)));
        assert_eq!(code("00000000"), Some(InitExit::Status(0)));
        for other in [
            "sysrq triggered crash",
            "Attempted to kill init!",
            "Attempted to kill init! exitcode=0xfffffffff",
            "Attempted to kill init! exitcode=0x",
            "exitcode=0x00000004",
        ] {
            assert_eq!(init(other), None, "{other}");
        }
        let panic = KernelPanic::new("Attempted to kill init! exitcode=0x00000004", true);
        assert!(
            panic.to_string().ends_with("(init was killed by SIGILL)"),
            "{panic}"
        );
    }

    #[test]
    fn what_a_guest_wrote_commands_no_terminal() {
        let alarm = Diagnostic::panic_words("oops \u{1b}[2J\u{7}");
        assert!(alarm.to_string().ends_with(": oops ?"), "{alarm}");
    }

    #[test]
    fn deadlines_say_what_the_guest_was_doing() {
        let never = ExitReason::BootDeadline(GuestActivity::default());
        assert_eq!(
            never.to_string(),
            "the guest sent nothing before the boot deadline; it was never ready; its console said nothing"
        );
        let console = b"boot\r\n\r\n[    1.5] \x1b[31mred\x1b[0m \x07bell\r\n\r\n\xff";
        let late = ExitReason::Deadline(GuestActivity {
            ready: true,
            channel_silent: Some(Duration::from_millis(12_300)),
            console_silent: Some(Duration::from_secs(4)),
            last_lines: GuestActivity::last_lines(&console[..console.len() - 1]),
        });
        assert_eq!(
            late.to_string(),
            "the deadline passed; it sent its last frame 12 s before; \
             its console last said, 4 s before: [    1.5] red ?bell"
        );
        let lines = GuestActivity::last_lines(console);
        assert_eq!(lines, ["boot", "[    1.5] red ?bell", "\u{fffd}"]);
        let long = GuestActivity::last_lines(&vec![b'x'; 1 << 20]);
        assert_eq!(long[0].chars().count(), MAX_QUOTED + "...".len());
        let many = GuestActivity::last_lines(&b"line\n".repeat(1000));
        assert_eq!(many.len(), MAX_LINES);
    }
}
