//! The project under test: its commit, its target directory, and where its sources are.

use std::ffi::OsString;
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

/// What git sets for its hooks, and whoever uses it by hand: the repository it names is not the one around a directory.
/// `git rev-parse --local-env-vars` lists them.
const OF_ANOTHER_REPOSITORY: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_INDEX_VERSION",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_SHALLOW_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
];

impl Commit {
    /// Asks git about the work tree around `dir`; `None` outside one, or without git.
    pub fn of(dir: &Path) -> Option<Self> {
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            for name in OF_ANOTHER_REPOSITORY {
                command.env_remove(name);
            }
            let output = command
                // Somebody's commit may hold the index lock; we only look.
                .arg("--no-optional-locks")
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

/// Where the sources of a test binary are, which may have moved since it was compiled: nextest runs archives elsewhere
/// (`--workspace-remap`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved(Option<FromTo>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FromTo {
    from: PathBuf,
    to: PathBuf,
}

impl Moved {
    /// By the directory that the package had when it was compiled and what nextest says it is now. Only nextest moves
    /// packages: without it, and where it says nothing, nothing has moved.
    pub fn find(compiled: Option<&Path>, lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| lookup(name).map(PathBuf::from);
        let (Some(compiled), Some(_)) = (compiled, lookup("NEXTEST")) else {
            return Self(None);
        };
        match path("CARGO_MANIFEST_DIR") {
            Some(now) => Self(FromTo::new(
                compiled,
                &now,
                path("NEXTEST_WORKSPACE_ROOT").as_deref(),
            )),
            None => Self(None),
        }
    }

    /// Where the directory is now that was `compiled` in.
    pub fn now(&self, compiled: &str) -> PathBuf {
        let path = Path::new(compiled);
        let moved = self.0.as_ref().and_then(|FromTo { from, to }| {
            let below = path.strip_prefix(from).ok()?;
            // Joining nothing would add a slash.
            Some(if below.as_os_str().is_empty() {
                to.clone()
            } else {
                to.join(below)
            })
        });
        moved.unwrap_or_else(|| path.to_owned())
    }
}

impl FromTo {
    /// From one package that was `compiled` at one place and is at another `now`, in the workspace whose `root` is told:
    /// what the workspace was, and what it is.
    fn new(compiled: &Path, now: &Path, root: Option<&Path>) -> Option<Self> {
        if compiled == now {
            return None;
        }
        let below = match root {
            Some(root) => now.strip_prefix(root).ok()?.to_owned(),
            // Nextest before 0.9.138: what both have in common at the end, which is the package's name at least.
            None => common_end(compiled, now)?,
        };
        Some(Self {
            from: above(compiled, &below)?,
            to: above(now, &below)?,
        })
    }
}

/// What `path` is `below`, which it must end in.
fn above(path: &Path, below: &Path) -> Option<PathBuf> {
    let is_there = path.ends_with(below) || below.as_os_str().is_empty();
    let above = path.ancestors().nth(below.components().count());
    above.filter(|_| is_there).map(Path::to_owned)
}

fn common_end(one: &Path, other: &Path) -> Option<PathBuf> {
    let ends = one.components().rev().zip(other.components().rev());
    let common = ends.take_while(|(one, other)| one == other);
    let mut common: Vec<_> = common.map(|(part, _)| part).collect();
    common.reverse();
    (!common.is_empty()).then(|| common.into_iter().collect())
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

    /// Run by another test, in the environment of a hook.
    #[test]
    #[ignore = "part of another test"]
    fn tells_the_commit_around_the_current_directory() {
        let commit = Commit::of(&std::env::current_dir().unwrap());
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
            .arg("project::tests::tells_the_commit_around_the_current_directory")
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

    fn moved(compiled: &str, variables: &[(&str, &str)]) -> Moved {
        Moved::find(Some(Path::new(compiled)), |name| {
            let pair = variables.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn a_workspace_that_nextest_moved_is_followed() {
        let of_member = [
            ("NEXTEST", "1"),
            ("CARGO_MANIFEST_DIR", "/new/place/crates/x"),
        ];
        let root = ("NEXTEST_WORKSPACE_ROOT", "/new/place");
        for variables in [&of_member[..], &[&of_member[..], &[root]].concat()] {
            let moved = moved("/old/crates/x", variables);
            assert_eq!(moved.now("/old/crates/y"), Path::new("/new/place/crates/y"));
            assert_eq!(moved.now("/elsewhere/z"), Path::new("/elsewhere/z"));
        }
        // A package that is the workspace, under another name.
        let variables = [
            ("NEXTEST", "1"),
            ("CARGO_MANIFEST_DIR", "/new"),
            ("NEXTEST_WORKSPACE_ROOT", "/new"),
        ];
        let of_root = moved("/old/ws", &variables);
        assert_eq!(of_root.now("/old/ws"), Path::new("/new"));
        assert_eq!(of_root.now("/old/ws/sub"), Path::new("/new/sub"));
    }

    #[test]
    fn nothing_moves_without_a_word_of_nextests() {
        let elsewhere = ("CARGO_MANIFEST_DIR", "/ws/b");
        for variables in [
            &[][..],
            // Some other package's tests run this binary.
            &[elsewhere],
            &[("NEXTEST", "1"), elsewhere],
            &[
                ("NEXTEST", "1"),
                elsewhere,
                ("NEXTEST_WORKSPACE_ROOT", "/ws"),
            ],
            &[("NEXTEST", "1"), ("CARGO_MANIFEST_DIR", "/ws/a")],
        ] {
            assert_eq!(moved("/ws/a", variables), Moved::default(), "{variables:?}");
        }
    }
}
