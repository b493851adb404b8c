//! The commit of the project under test.

use std::path::Path;
use std::process::Stdio;

use super::{Host, git_command};

/// The commit that results belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Seven digits of the commit's hash.
    pub short: String,
    /// Whether the work tree has changes that are not committed.
    pub dirty: bool,
}

impl Commit {
    /// Asks the git of `host` about the work tree around `dir`; `None` if there is no work tree or no git.
    pub fn of(host: &Host, dir: &Path) -> Option<Self> {
        let git = |args: &[&str]| {
            let output = git_command(host, dir)
                .args(args)
                .stderr(Stdio::null())
                .output()
                .ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let short = git(&["rev-parse", "--short=7", "HEAD"])?;
        // Untracked files are ignored: results and scratch files are not part of the project.
        let dirty = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
        Some(Self { short, dirty })
    }

    /// Parses the [`Display`](std::fmt::Display) form; `None` for an empty string.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::host::git::OF_ANOTHER_REPOSITORY;

    #[test]
    fn commit_text_round_trips() {
        for text in ["abc1234", "abc1234-dirty"] {
            assert_eq!(Commit::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Commit::parse(""), None);
        assert_eq!(
            Commit::of(&Host::of_this_process(), Path::new("/proc")),
            None
        );
    }

    /// Run by another test, in the environment of a hook.
    #[test]
    #[ignore = "part of another test"]
    fn tells_the_commit_around_the_current_directory() {
        let host = Host::of_this_process();
        let commit = Commit::of(&host, &host.dir);
        println!(
            "\ncommit: {}",
            commit.map_or_else(String::new, |commit| commit.to_string())
        );
    }

    #[test]
    fn a_hook_of_another_repository_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        let git = |dir: &Path, args: &[&str]| {
            let mut command = Command::new("git");
            for name in OF_ANOTHER_REPOSITORY {
                command.env_remove(name);
            }
            let config = ["user.name=a", "user.email=a@b", "commit.gpgsign=false"];
            let output = command
                .args(config.iter().flat_map(|value| ["-c", value]))
                .args(args)
                .current_dir(dir)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let commits = ["ours", "theirs"].map(|name| {
            let repository = dir.path().join(name);
            fs::create_dir(&repository).unwrap();
            git(&repository, &["init", "--quiet"]);
            fs::write(repository.join("file"), name).unwrap();
            git(&repository, &["add", "file"]);
            git(&repository, &["commit", "--quiet", "-m", name]);
            git(&repository, &["rev-parse", "--short=7", "HEAD"])
        });
        let ours = dir.path().join("ours");
        let index = ours.join(".git/index");
        // Same content, another time: git would refresh its index, had it not been told to leave that.
        fs::write(ours.join("file"), "ours").unwrap();
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
        let file = fs::File::options().write(true).open(ours.join("file"));
        file.unwrap().set_modified(time).unwrap();
        let before = fs::read(&index).unwrap();
        let theirs = dir.path().join("theirs");
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg(test_name("tells_the_commit_around_the_current_directory"))
            .current_dir(&ours)
            .env("GIT_DIR", theirs.join(".git"))
            .env("GIT_WORK_TREE", &theirs)
            .env("GIT_INDEX_FILE", theirs.join(".git/index"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let line = format!("commit: {}\n", commits[0]);
        assert!(said.contains(&line), "{said}");
        assert_ne!(commits[0], commits[1]);
        assert_eq!(fs::read(&index).unwrap(), before, "the index was written");
    }

    /// What the test harness calls a test of this module.
    fn test_name(function: &str) -> String {
        let (_, module) = module_path!().split_once("::").unwrap();
        format!("{module}::{function}")
    }
}
