//! What host and guest tell each other of a shell, but for the bytes of its streams.

use ktstr_core::Topology;
use serde::{Deserialize, Serialize};

use super::{SchedulerReport, SchedulerSpec};

/// What the guest mounts the host's root directory by.
pub const HOST_ROOT_TAG: &str = "ktstr-host-root";

/// A shell, or one command of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShellSpec {
    /// Shape of the machine.
    pub topology: Topology,
    /// The command that `/bin/sh -c` runs; without one, a shell that reads its commands.
    pub command: Option<String>,
    /// The terminal that it runs at; without one, it has three pipes.
    pub terminal: Option<TerminalSize>,
    /// Environment variables, beside those of a login.
    pub env: Vec<(String, String)>,
    /// Whether the shell's root directory is that of the host, mounted by [`HOST_ROOT_TAG`] and with a layer above it.
    pub host_root: bool,
    /// The scheduler to start first, where that is not the kernel's own.
    pub scheduler: Option<SchedulerSpec>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Its lines.
    pub rows: u16,
    /// Its columns.
    pub columns: u16,
}

/// How a shell ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShellExit {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// It could not be started; why.
    NotStarted(String),
}

impl ShellExit {
    /// Its exit status as shells count it: 128 and the signal for one that was killed. `None` where it never ran.
    pub fn status(&self) -> Option<u8> {
        let status = match self {
            Self::Exited(status) => *status,
            Self::Killed { signal } => signal.saturating_add(128),
            Self::NotStarted(_) => return None,
        };
        Some(u8::try_from(status).unwrap_or(u8::MAX))
    }
}

/// The end of a scheduler beside a shell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerEnd {
    /// How it ended.
    pub report: SchedulerReport,
    /// The end of the kernel log.
    pub kernel_log: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_that_of_a_shell() {
        assert_eq!(ShellExit::Exited(7).status(), Some(7));
        assert_eq!(ShellExit::Killed { signal: 9 }.status(), Some(137));
        assert_eq!(ShellExit::NotStarted(String::new()).status(), None);
        // The guest is not believed.
        assert_eq!(ShellExit::Exited(-1).status(), Some(255));
        let signal = i32::MAX;
        assert_eq!(ShellExit::Killed { signal }.status(), Some(255));
    }
}
