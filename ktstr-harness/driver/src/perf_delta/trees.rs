//! Scratch work trees: the sources of two commits, in directories that go again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use ktstr_core::env;
use ktstr_core::host::{Host, LockFile, LockMode};
use ktstr_harness::runner::NoCacheRoot;
use xxhash_rust::xxh3::xxh3_64;

use super::error::PerfDeltaError;
use super::report::SideName;
use crate::git::Git;

/// How long another comparison of the project is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Directories around a work tree, for what its packages name beside it: `../../other`.
const AROUND: &str = "1/2/3/4";

/// Name of the work tree in there.
const TREE: &str = "tree";

/// The place of a repository's scratch work trees: below the cache, where no `Cargo.toml` and no `.cargo` of the project is
/// above them. Only one process has it at a time.
#[derive(Debug)]
pub(super) struct Trees<'h> {
    host: &'h Host,
    /// The root of the work tree that the user has.
    root: PathBuf,
    place: PathBuf,
    _lock: LockFile,
}

/// A scratch work tree; dropping it removes it.
#[derive(Debug)]
pub(super) struct Tree<'t> {
    trees: &'t Trees<'t>,
    /// Everything of this tree.
    place: PathBuf,
    path: PathBuf,
}

impl<'h> Trees<'h> {
    /// Takes the place for the work tree at `root`, and removes what a killed process left there.
    pub(super) fn take(host: &'h Host, root: PathBuf) -> Result<Self, PerfDeltaError> {
        let cache = env::cache_root(host).ok_or(NoCacheRoot)?;
        let name = format!("{:016x}", xxh3_64(root.as_os_str().as_encoded_bytes()));
        let place = crate::cargo::absolute(&cache.join("perf-delta")).join(name);
        let lock = LockFile::acquire(
            &place.join("lock"),
            LockMode::Exclusive,
            LOCK_WAIT,
            "the comparison of this project's commits",
        )?;
        let trees = Self {
            host,
            root,
            place,
            _lock: lock,
        };
        for side in [SideName::Base, SideName::Head] {
            trees.remove(&trees.place_of(side));
        }
        Ok(trees)
    }

    /// Checks `commit` out for `side`. No hook of the repository runs.
    pub(super) fn add(&self, side: SideName, commit: &str) -> Result<Tree<'_>, PerfDeltaError> {
        let place = self.place_of(side);
        let around = place.join(AROUND);
        fs::create_dir_all(&around).map_err(|source| PerfDeltaError::Write {
            path: around.clone(),
            source,
        })?;
        // Before git runs, so that whatever it leaves is removed.
        let tree = Tree {
            trees: self,
            path: around.join(TREE),
            place,
        };
        let words = ["-c", "core.hooksPath=/dev/null", "worktree", "add"];
        let mut args: Vec<OsString> = words.map(Into::into).to_vec();
        args.extend(["--detach", "--force", "--quiet"].map(Into::into));
        args.extend([tree.path.clone().into(), commit.into()]);
        self.git().output(&args)?;
        Ok(tree)
    }

    fn git(&self) -> Git<'_> {
        Git::new(self.host, &self.root)
    }

    fn place_of(&self, side: SideName) -> PathBuf {
        self.place.join(match side {
            SideName::Base => "base",
            SideName::Head => "head",
        })
    }

    /// Removes the work tree in `place`, and what git knows of it.
    fn remove(&self, place: &Path) {
        if !place.exists() {
            return;
        }
        // Not `prune`, which forgets the user's trees as well that are on a disk which is not mounted now.
        let mut args: Vec<OsString> = ["worktree", "remove", "--force"].map(Into::into).to_vec();
        args.push(place.join(AROUND).join(TREE).into());
        let _ = self.git().output(&args);
        let _ = fs::remove_dir_all(place);
    }
}

impl Tree<'_> {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory that is beside the user's work tree, such as `../ktstr`, one beside this tree as well: packages
    /// depend on others by such paths. `dependency` is where it would be, seen from here.
    pub(super) fn link_neighbour(&self, dependency: &Path) -> io::Result<()> {
        let (mut here, mut there) = (self.path.as_path(), self.trees.root.as_path());
        while here != self.place {
            if let Ok(below) = dependency.strip_prefix(here) {
                let Some(name) = below.components().next() else {
                    return Ok(());
                };
                let (link, target) = (here.join(name), there.join(name));
                if here == self.path || link.exists() || !target.exists() {
                    return Ok(());
                }
                return std::os::unix::fs::symlink(target, link);
            }
            let (Some(above), Some(above_there)) = (here.parent(), there.parent()) else {
                return Ok(());
            };
            (here, there) = (above, above_there);
        }
        Ok(())
    }
}

impl Drop for Tree<'_> {
    fn drop(&mut self) {
        self.trees.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A repository with two commits, and a directory beside it.
    struct Place {
        dir: tempfile::TempDir,
        commits: Vec<String>,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut place = Self {
                dir,
                commits: Vec::new(),
            };
            fs::create_dir_all(place.root()).unwrap();
            fs::create_dir_all(place.dir.path().join("beside/inner")).unwrap();
            place.git(&["init", "--quiet"]);
            for text in ["one", "two"] {
                fs::write(place.root().join("file"), text).unwrap();
                place.git(&["add", "file"]);
                place.git(&["commit", "--quiet", "-m", text]);
                let commit = place.git(&["rev-parse", "HEAD"]);
                place.commits.push(commit);
            }
            place
        }

        fn root(&self) -> PathBuf {
            self.dir.path().join("repository")
        }

        fn host(&self) -> Host {
            Host::of_this_process().with_vars([("KTSTR_CACHE_DIR", self.dir.path().join("cache"))])
        }

        fn git(&self, args: &[&str]) -> String {
            let config = ["user.name=a", "user.email=a@b", "commit.gpgsign=false"];
            let output = Command::new("git")
                .args(config.iter().flat_map(|value| ["-c", value]))
                .args(args)
                .current_dir(self.root())
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }

        fn trees_that_git_knows(&self) -> usize {
            self.git(&["worktree", "list"]).lines().count()
        }
    }

    #[test]
    fn trees_are_what_was_committed_and_go_again() {
        let place = Place::new();
        let host = place.host();
        let trees = Trees::take(&host, place.root()).unwrap();
        let hook = place.root().join(".git/hooks/post-checkout");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
        let mut mode = Command::new("chmod");
        assert!(mode.arg("755").arg(&hook).status().unwrap().success());
        let base = trees.add(SideName::Base, &place.commits[0]).unwrap();
        let head = trees.add(SideName::Head, &place.commits[1]).unwrap();
        let read = |tree: &Tree<'_>| fs::read_to_string(tree.path().join("file")).unwrap();
        assert_eq!(
            (read(&base), read(&head)),
            ("one".to_owned(), "two".to_owned())
        );
        assert_eq!(place.trees_that_git_knows(), 3);
        let error = trees.add(SideName::Base, "no-such-commit").unwrap_err();
        assert!(error.to_string().contains("no-such-commit"), "{error}");
        let path = head.path().to_owned();
        drop((base, head));
        assert!(!path.exists());
        assert_eq!(place.trees_that_git_knows(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let place = Place::new();
        let host = place.host();
        let trees = Trees::take(&host, place.root()).unwrap();
        let left = trees.add(SideName::Base, &place.commits[0]).unwrap();
        let path = left.path().to_owned();
        std::mem::forget(left);
        drop(trees);
        assert!(path.exists() && place.trees_that_git_knows() == 2);
        let trees = Trees::take(&host, place.root()).unwrap();
        assert!(!path.exists() && place.trees_that_git_knows() == 1);
        drop(trees.add(SideName::Base, &place.commits[1]).unwrap());
    }

    #[test]
    fn neighbours_of_the_project_are_beside_its_trees() {
        let place = Place::new();
        let host = place.host();
        let trees = Trees::take(&host, place.root()).unwrap();
        let tree = trees.add(SideName::Head, &place.commits[0]).unwrap();
        let beside = tree.path().parent().unwrap();
        tree.link_neighbour(&beside.join("beside/inner")).unwrap();
        assert!(tree.path().join("../beside/inner").is_dir());
        // Neither what is there already nor what is nowhere.
        tree.link_neighbour(&beside.join("beside/inner")).unwrap();
        tree.link_neighbour(&beside.join("nowhere")).unwrap();
        tree.link_neighbour(&tree.path().join("file")).unwrap();
        tree.link_neighbour("/usr".as_ref()).unwrap();
        assert_eq!(fs::read_dir(beside).unwrap().count(), 2);
        drop(tree);
        assert!(place.dir.path().join("beside/inner").is_dir());
    }
}
