//! What a shell is for, which decides what it is given.

/// What reads commands, or names of programs, from elsewhere than the command that starts it.
const OPEN: &[&str] = &[
    ".", "bash", "busybox", "dash", "eval", "parallel", "read", "script", "sh", "source", "time",
    "tmux", "xargs",
];

/// What a shell is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellUse<'a> {
    /// A person types.
    Terminal,
    /// It runs a command, as `sh -c` does.
    Command {
        /// The command.
        line: &'a str,
        /// Whether the machine has other files that may run tools: include files, a scheduler.
        with_files: bool,
    },
    /// It reads commands from a pipe.
    Script,
}

impl ShellUse<'_> {
    /// Whether a command has `name` as a word of it.
    pub(super) fn names(self, name: &str) -> bool {
        let Self::Command { line, .. } = self else {
            return false;
        };
        let is_part = |c: char| c.is_alphanumeric() || "+-._[".contains(c);
        line.split(|c| !is_part(c)).any(|word| word == name)
    }

    /// Whether it is a command that runs no tool but those that its text has the names of. One that expands variables,
    /// or starts what reads commands or names from elsewhere, may run any.
    pub(super) fn names_all(self) -> bool {
        let Self::Command { line, with_files } = self else {
            return false;
        };
        let is_open = line.contains(['$', '`', '\\', '*', '?', '{']);
        !with_files && !is_open && !OPEN.iter().any(|name| self.names(name))
    }

    pub(super) fn has_large(self, name: &str) -> bool {
        self == Self::Terminal || self.names(name)
    }
}
