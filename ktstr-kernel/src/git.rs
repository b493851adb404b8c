//! What git knows of a source tree.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The state of a source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitState {
    /// Every tracked file is as committed.
    Clean {
        /// The commit, 40 hexadecimal digits.
        commit: String,
    },
    /// Tracked files have changes.
    Dirty,
    /// No git repository of its own, or git cannot say; with the reason where there is one.
    Unknown(Option<String>),
}

impl GitState {
    /// Asks git about `tree`, which must be absolute. Untracked files do not count: no Makefile knows them.
    ///
    /// `path` is the search path for `git`.
    pub fn of(tree: &Path, path: &OsStr) -> Self {
        if !tree.join(".git").exists() {
            return Self::Unknown(None);
        }
        let commit = match git(tree, path, &["rev-parse", "--verify", "HEAD"]) {
            Ok(commit) => commit.trim().to_owned(),
            Err(why) => return Self::Unknown(Some(why)),
        };
        if !(40..=64).contains(&commit.len()) || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Self::Unknown(Some(format!("git says HEAD is `{commit}`")));
        }
        match git(
            tree,
            path,
            &["status", "--porcelain", "--untracked-files=no"],
        ) {
            Ok(changes) if changes.trim().is_empty() => Self::Clean { commit },
            Ok(_) => Self::Dirty,
            Err(why) => Self::Unknown(Some(why)),
        }
    }
}

fn git(tree: &Path, path: &OsStr, args: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        // A build beside us may hold the index lock; we only look.
        .args(["--no-optional-locks", "-C"])
        .arg(tree)
        .args(args)
        .env("PATH", path)
        .env("LC_ALL", "C")
        // Set by hooks of whichever repository we were called from.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("git: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().next().unwrap_or("git failed");
        Err(line.trim_start_matches("fatal: ").to_owned())
    }
}
