//! A process that holds a lock.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::super::lock::LockMode;

/// Maximum number of bytes of a command line that are read.
const MAX_COMMAND: u64 = 64 << 10;

/// A process that took a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockHolder {
    /// The process that took the lock. A child may still hold it after this process exits.
    pub pid: u32,
    /// Whether it holds the lock alone or shares it.
    pub mode: LockMode,
    /// Its program and arguments; `None` if the process has exited or has no command line.
    pub command: Option<Vec<String>>,
}

/// Longest command line that a [`LockHolder`] displays, in characters.
const SHOWN_COMMAND: usize = 120;

/// `` `cargo ktstr kernel build` (pid 123)``: fit for a terminal, and one line.
impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(words) = &self.command else {
            return write!(f, "process {} (exited; a child is still running)", self.pid);
        };
        let mut words = words.iter().map(String::as_str);
        let program = words.next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        let mut words = words.peekable();
        let mut command = match (program, words.peek()) {
            // Cargo runs `cargo-ktstr ktstr` for `cargo ktstr`.
            ("cargo-ktstr", Some(&"ktstr")) => "cargo".to_owned(),
            _ => program.to_owned(),
        };
        for word in words {
            command.push(' ');
            command.push_str(word);
        }
        let shown = command.chars().take(SHOWN_COMMAND);
        let shown: String = shown
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        let rest = if shown.len() < command.len() {
            "..."
        } else {
            ""
        };
        write!(f, "`{shown}{rest}` (pid {})", self.pid)
    }
}

/// The process `pid`, with its command line.
pub(super) fn holder(root: &Path, (pid, mode): (u32, LockMode)) -> LockHolder {
    LockHolder {
        pid,
        mode,
        command: command(root, pid),
    }
}

/// Program and arguments of the process `pid`.
fn command(root: &Path, pid: u32) -> Option<Vec<String>> {
    let file = File::open(root.join(format!("proc/{pid}/cmdline"))).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_COMMAND).read_to_end(&mut bytes).ok()?;
    let words = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    let words = words.split(|byte| *byte == 0);
    (!bytes.is_empty()).then(|| {
        words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_named_as_it_was_typed() {
        let named = |words: &[&str]| {
            let command = words.iter().map(ToString::to_string).collect();
            let holder = LockHolder {
                pid: 7,
                mode: LockMode::Exclusive,
                command: Some(command),
            };
            holder.to_string()
        };
        assert_eq!(
            named(&[
                "/root/.cargo/bin/cargo-ktstr",
                "ktstr",
                "test",
                "--kernel",
                "6.14"
            ]),
            "`cargo ktstr test --kernel 6.14` (pid 7)"
        );
        assert_eq!(named(&["./ktstr", "doctor"]), "`ktstr doctor` (pid 7)");
        assert_eq!(
            named(&["sh", "-c", "a\n\u{1b}[1m"]),
            "`sh -c a??[1m` (pid 7)"
        );
        assert_eq!(named(&[]), "`` (pid 7)");
        let long = named(&["x", &"\u{e9}".repeat(500)]);
        assert_eq!(long.chars().count(), SHOWN_COMMAND + "``... (pid 7)".len());
    }
}
