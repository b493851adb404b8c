//! What git says has changed, and which files there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::paths;
use crate::baseline::Baseline;
use crate::git::{Git, GitError, odd};

/// What every difference is asked with: both names of what was renamed, submodules whatever their configuration says, and
/// no program of the project's.
const DIFF: &[&str] = &[
    "-z",
    "--name-only",
    "--no-renames",
    "--no-relative",
    "--no-ext-diff",
    "--ignore-submodules=none",
];

/// The mode of a symbolic link in git's index.
const SYMLINK: &[u8] = b"120000";

/// The mode of a submodule.
const SUBMODULE: &[u8] = b"160000";

/// The files of a work tree, from its root on.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// In the index, or neither there nor ignored.
    pub(super) all: BTreeSet<PathBuf>,
    /// Submodules.
    pub(super) submodules: Vec<PathBuf>,
    /// Symbolic links, and what each leads to in the work tree.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// Those that git was told not to look at, which may have changed.
    unwatched: Vec<PathBuf>,
    untracked: Vec<PathBuf>,
}

impl Files {
    /// Of the work tree at `root`, which `git` runs in.
    pub(super) fn read(git: &Git<'_>, root: &Path) -> Result<Self, GitError> {
        let mut files = Self::default();
        let args = ["ls-files", "-z", "-v", "--stage"];
        for entry in records(&git.output(&args)?) {
            files
                .add(entry, root)
                .ok_or_else(|| odd(&args, "an entry"))?;
        }
        let args = ["ls-files", "-z", "--others", "--exclude-standard"];
        for path in records(&git.output(&args)?) {
            let path = paths::of_git(path);
            files.link(&path, root);
            files.untracked.push(path.clone());
            files.all.insert(path);
        }
        Ok(files)
    }

    /// Adds an entry of the index: tag, mode, hash and stage, then a tab and the path.
    fn add(&mut self, entry: &[u8], root: &Path) -> Option<()> {
        let tab = entry.iter().position(|byte| *byte == b'\t')?;
        let mut words = entry[..tab].split(|byte| *byte == b' ');
        let tag = *words.next()?.first()?;
        let mode = words.next()?;
        let path = paths::of_git(&entry[tab + 1..]);
        if mode == SUBMODULE {
            self.submodules.push(path.clone());
        } else if mode == SYMLINK {
            self.link(&path, root);
        }
        // A small letter is a file that is assumed to be unchanged; S one that is not checked out, unless it is there.
        let is_there = || fs::symlink_metadata(root.join(&path)).is_ok();
        if tag.is_ascii_lowercase() || (tag == b'S' && is_there()) {
            self.unwatched.push(path.clone());
        }
        self.all.insert(path);
        Some(())
    }

    fn link(&mut self, path: &Path, root: &Path) {
        let Ok(to) = fs::read_link(root.join(path)) else {
            return;
        };
        // Links may lead to links.
        let real = root.join(path).canonicalize().ok();
        let real = real.and_then(|real| Some(real.strip_prefix(root).ok()?.to_owned()));
        let named = path.parent().and_then(|dir| paths::join(dir, &to));
        let found: BTreeSet<PathBuf> = real.into_iter().chain(named).collect();
        self.links
            .extend(found.into_iter().map(|to| (path.to_owned(), to)));
    }

    /// `path`, and every other name that symbolic links give it.
    pub(super) fn names(&self, path: &Path) -> BTreeSet<PathBuf> {
        let mut names = BTreeSet::from([path.to_owned()]);
        let mut new = vec![path.to_owned()];
        while let Some(name) = new.pop() {
            for (link, to) in &self.links {
                let other = if let Ok(rest) = name.strip_prefix(to) {
                    link.join(rest)
                } else if to.starts_with(&name) && !link.starts_with(&name) {
                    // A whole directory changed.
                    link.clone()
                } else {
                    continue;
                };
                // Joining nothing adds a slash. A link into a directory above it has endless names.
                let other = paths::normal(&other);
                if other.components().count() < 100
                    && names.len() < 1000
                    && names.insert(other.clone())
                {
                    new.push(other);
                }
            }
        }
        names
    }

    /// Whether git sees changes of `path`: it is in the index, or would be added, or belongs to a submodule.
    pub(super) fn sees(&self, path: &Path) -> bool {
        self.all.contains(path) || self.submodules.iter().any(|dir| path.starts_with(dir))
    }
}

/// The paths that differ between `baseline` and the work tree: by commits, by what is not committed, and by files that are
/// not tracked and not ignored.
pub(super) fn changed(
    git: &Git<'_>,
    baseline: &Baseline,
    files: &Files,
) -> Result<BTreeSet<PathBuf>, GitError> {
    let mut changed: BTreeSet<PathBuf> = files
        .untracked
        .iter()
        .chain(&files.unwatched)
        .cloned()
        .collect();
    let bases = [&baseline.commit]
        .into_iter()
        .chain(&baseline.other_merge_bases);
    for base in bases.filter(|base| **base != baseline.head) {
        let mut args = vec!["diff-tree", "-r"];
        args.extend(DIFF);
        args.extend([base.as_str(), &baseline.head]);
        changed.extend(records(&git.output(&args)?).map(paths::of_git));
    }
    let mut args = vec!["diff"];
    args.extend(DIFF);
    args.extend([baseline.head.as_str(), "--"]);
    changed.extend(records(&git.output(&args)?).map(paths::of_git));
    Ok(changed)
}

/// What git parted by zeros.
fn records(printed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let records = printed.split(|byte| *byte == 0);
    records.filter(|record| !record.is_empty())
}
