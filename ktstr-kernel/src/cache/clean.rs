//! Removing kernels, and what source trees were built in.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::temporary_beside;
use ktstr_core::host::{LockFile, LockMode};

use super::{Cache, CacheEntry, CacheError, EntryState, Metadata};
use crate::key::CacheKey;

/// What to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanOptions {
    /// How many of the newest valid entries stay. Others do not count.
    pub keep: usize,
    /// Remove only corrupt entries; `keep` does not matter then.
    pub corrupt_only: bool,
}

/// What [`Cache::clean`] would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CleanPlan {
    /// Entries, newest first, then corrupt ones.
    pub entries: Vec<CacheEntry>,
    /// Directories that source trees were built in.
    pub builds: Vec<PathBuf>,
}

/// What was removed, and what was not.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// Entries that were removed.
    pub entries: Vec<CacheKey>,
    /// Build directories that were removed.
    pub builds: Vec<PathBuf>,
    /// Build directories that stay because a build is using them.
    pub in_use: Vec<PathBuf>,
    /// Why others could not be removed.
    pub errors: Vec<CacheError>,
}

/// What could not be removed: each in a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct CleanFailures(pub Vec<CacheError>);

impl Cleaned {
    /// An error where something could not be removed.
    pub fn into_result(self) -> Result<(), CleanFailures> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(CleanFailures(self.errors))
    }
}

impl CleanPlan {
    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.builds.is_empty()
    }

    /// The size of the entries, bytes, as far as their metadata tell: those of corrupt entries do not.
    pub fn size(&self) -> u64 {
        let metadata = self.entries.iter().filter_map(CacheEntry::metadata);
        let files = metadata.flat_map(Metadata::files);
        files.map(|file| file.size).sum()
    }
}

impl Cache {
    /// Plans a clean; nothing is removed yet. The [content](CacheEntry::verify) of entries is looked at.
    ///
    /// Entries of other versions of ktstr, and build directories, go only where nothing is kept.
    pub fn plan_clean(&self, options: &CleanOptions) -> Result<CleanPlan, CacheError> {
        let removes_all = options.keep == 0 && !options.corrupt_only;
        let is_of_other_version =
            |entry: &CacheEntry| matches!(entry.state, EntryState::OtherVersion(_));
        let mut entries = self.list()?;
        entries.retain(|entry| removes_all || !is_of_other_version(entry));
        for entry in &mut entries {
            if let EntryState::Valid(_) = entry.state
                && let Err(why) = entry.verify()
            {
                entry.state = EntryState::Corrupt(why);
            }
        }
        let (valid, corrupt): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.metadata().is_some());
        let kept = if options.corrupt_only {
            usize::MAX
        } else {
            options.keep
        };
        Ok(CleanPlan {
            entries: valid.into_iter().skip(kept).chain(corrupt).collect(),
            // They make the next build of a tree short: where kernels are kept, so are they.
            builds: if removes_all {
                self.builds()
            } else {
                Vec::new()
            },
        })
    }

    /// Carries out `plan`. What fails keeps nothing else from being removed.
    pub fn clean(&self, plan: &CleanPlan) -> Cleaned {
        let mut cleaned = Cleaned::default();
        for entry in &plan.entries {
            match self.remove(&entry.key) {
                Ok(()) => cleaned.entries.push(entry.key.clone()),
                Err(error) => cleaned.errors.push(error),
            }
        }
        for dir in &plan.builds {
            match self.remove_build(dir) {
                Ok(true) => cleaned.builds.push(dir.clone()),
                Ok(false) => cleaned.in_use.push(dir.clone()),
                Err(error) => cleaned.errors.push(error),
            }
        }
        cleaned
    }

    /// Removes an entry, unless it is being built just now.
    pub fn remove(&self, key: &CacheKey) -> Result<(), CacheError> {
        let dir = self.entry_dir(key);
        let write_error = |source| CacheError::Write {
            path: dir.clone(),
            source,
        };
        let lock = LockFile::try_acquire(&self.lock_path(key), LockMode::Exclusive)
            .map_err(|error| write_error(io::Error::other(error)))?;
        let Some(_lock) = lock else {
            return Err(CacheError::Busy { key: key.clone() });
        };
        // First out of sight: half an entry must never be seen under its key.
        let trash = temporary_beside(&dir);
        match fs::rename(&dir, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| fs::remove_dir_all(&trash)),
        }
        .map_err(write_error)
    }

    /// The directories that source trees were built in.
    pub fn builds(&self) -> Vec<PathBuf> {
        let items = fs::read_dir(self.builds_dir()).into_iter().flatten();
        let mut builds: Vec<PathBuf> = items.flatten().map(|item| item.path()).collect();
        builds.sort();
        builds
    }

    /// Removes one of these directories; `false` where a build is using it.
    pub fn remove_build(&self, dir: &Path) -> Result<bool, CacheError> {
        // The digits of the tree's path are the end of both names.
        let hash = dir.to_string_lossy().rsplit('-').next().map(str::to_owned);
        let lock = self.tree_lock_of(&hash.unwrap_or_default());
        let _lock = match File::open(&lock) {
            Ok(lock) if lock.try_lock().is_err() => return Ok(false),
            lock => lock.ok(),
        };
        match fs::remove_dir_all(dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CacheError::Write {
                path: dir.to_owned(),
                source,
            }),
            _ => Ok(true),
        }
    }

    /// The lock that is held while the source tree at `tree` is built.
    #[cfg(feature = "build")]
    pub(crate) fn tree_lock(&self, tree: &Path) -> PathBuf {
        self.tree_lock_of(&super::tree_hash(tree))
    }

    fn tree_lock_of(&self, hash: &str) -> PathBuf {
        self.locks_dir().join(format!("tree-{hash}.lock"))
    }
}
