//! What git knows of a source tree.

use std::io;
use std::path::Path;
use std::process::Stdio;

use ktstr_core::host::Host;

use crate::text::{line, quoted};

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
    /// No git repository of its own, or git cannot say; with the reason, a clause of its own, where there is one.
    Unknown(Option<String>),
}

impl GitState {
    /// Asks the git of `host` about `tree`, which must be absolute. Untracked files do not count: no Makefile knows them.
    pub fn of(host: &Host, tree: &Path) -> Self {
        if !tree.join(".git").exists() {
            return Self::Unknown(None);
        }
        let unknown = |why: &str| Self::Unknown(Some(why_unknown(tree, why)));
        let commit = match git(host, tree, &["rev-parse", "--verify", "HEAD"]) {
            Ok(commit) => commit.trim().to_owned(),
            Err(why) => return unknown(&why),
        };
        if !(40..=64).contains(&commit.len()) || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return unknown(&format!("HEAD is `{}`", line(&commit)));
        }
        match git(
            host,
            tree,
            &["status", "--porcelain", "--untracked-files=no"],
        ) {
            Ok(changes) if changes.trim().is_empty() => Self::Clean { commit },
            Ok(_) => Self::Dirty,
            Err(why) => unknown(&why),
        }
    }
}

const NOT_INSTALLED: &str = "git is not installed";

fn why_unknown(tree: &Path, why: &str) -> String {
    if why == NOT_INSTALLED {
        return why.to_owned();
    }
    // Git looks into no repository of another user, not even for root.
    if ["dubious ownership", "unsafe repository"]
        .iter()
        .any(|text| why.contains(text))
    {
        return format!(
            "it belongs to another user, and git does not trust it; to allow it, run: git config --global --add safe.directory {}",
            quoted(tree)
        );
    }
    format!("git does not know its state ({why})")
}

fn git(host: &Host, tree: &Path, args: &[&str]) -> Result<String, String> {
    let output = host
        .command("git")
        // A build beside us may hold the index lock; we only look.
        .args(["--no-optional-locks", "-C"])
        .arg(tree)
        .args(args)
        .env("LC_ALL", "C")
        // Set by hooks of whichever repository we were called from.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NOT_INSTALLED.to_owned(),
            _ => format!("git: {error}"),
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or("it failed");
        Err(line(first.trim_start_matches("fatal: ")))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn repository(dir: &Path) {
        let init = Command::new("git")
            .args(["init", "--quiet"])
            .arg(dir)
            .status();
        assert!(init.unwrap().success());
    }

    #[test]
    fn without_git_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path());
        let host = Host {
            path: dir.path().into(),
            ..Host::of_this_process()
        };
        let state = GitState::of(&host, dir.path());
        assert_eq!(state, GitState::Unknown(Some(NOT_INSTALLED.to_owned())));
    }

    #[test]
    fn a_tree_of_another_user_comes_with_the_line_that_allows_it() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("a tree");
        repository(&tree);
        if std::os::unix::fs::chown(&tree, Some(12345), None).is_err() {
            eprintln!("SKIP a_tree_of_another_user: only root gives files away");
            return;
        }
        fs::write(tree.join(".git/x"), "").unwrap();
        std::os::unix::fs::chown(tree.join(".git"), Some(12345), None).unwrap();
        let GitState::Unknown(Some(why)) = GitState::of(&Host::of_this_process(), &tree) else {
            panic!("git looks into it")
        };
        let command = format!(
            "run: git config --global --add safe.directory '{}'",
            tree.display()
        );
        assert!(why.contains("belongs to another user"), "{why}");
        assert!(why.ends_with(&command), "{why}");
        // It does.
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        let (_, command) = why.split_once("run: ").unwrap();
        let mut sh = Command::new("sh");
        let ran = sh
            .args(["-c", command])
            .env("HOME", &home)
            .env_remove("XDG_CONFIG_HOME");
        assert!(ran.status().unwrap().success());
        let mut git = Command::new("git");
        let git = git.arg("-C").arg(&tree).arg("status").env("HOME", &home);
        let output = git.env_remove("XDG_CONFIG_HOME").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
