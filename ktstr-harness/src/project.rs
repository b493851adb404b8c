//! The project under test: its commit and its target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The commit that results belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Seven digits of the commit's hash.
    pub short: String,
    /// Whether the work tree has changes that are not committed.
    pub dirty: bool,
}

impl Commit {
    /// Asks git about the work tree around `dir`; `None` outside one, or without git.
    pub fn of(dir: &Path) -> Option<Self> {
        let git = |args: &[&str]| {
            let output = Command::new("git")
                .args(args)
                .current_dir(dir)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output()
                .ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let short = git(&["rev-parse", "--short=7", "HEAD"])?;
        // Untracked files do not count: results and scratch files are not part of the project.
        let dirty = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
        Some(Self { short, dirty })
    }

    /// Reads what [`Commit::to_string`] wrote; `None` for an empty text.
    pub fn parse(text: &str) -> Option<Self> {
        let (short, dirty) = match text.strip_suffix("-dirty") {
            Some(short) => (short, true),
            None => (text, false),
        };
        (!short.is_empty()).then(|| Self {
            short: short.to_owned(),
            dirty,
        })
    }
}

impl std::fmt::Display for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}{}",
            self.short,
            if self.dirty { "-dirty" } else { "" }
        )
    }
}

/// The cargo target directory that holds `binary`: cargo marks it with a `CACHEDIR.TAG`.
pub(crate) fn target_dir_of(binary: &Path) -> Option<PathBuf> {
    binary
        .ancestors()
        .skip(1)
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn commit_text_round_trips() {
        for text in ["abc1234", "abc1234-dirty"] {
            assert_eq!(Commit::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Commit::parse(""), None);
        assert_eq!(Commit::of(Path::new("/proc")), None);
    }

    #[test]
    fn target_dir_is_told_by_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let deps = dir.path().join("target/debug/deps");
        fs::create_dir_all(&deps).unwrap();
        assert_eq!(target_dir_of(&deps.join("t")), None);
        fs::write(dir.path().join("target/CACHEDIR.TAG"), "").unwrap();
        assert_eq!(
            target_dir_of(&deps.join("t")),
            Some(dir.path().join("target"))
        );
    }
}
