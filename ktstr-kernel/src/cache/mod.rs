//! The cache of built kernels.
//!
//! Each kernel has a directory, named by its [key](CacheKey), with the boot image, the ELF kernel without debug sections,
//! the configuration and [`Metadata`]. Entries appear whole or not at all: they are written under a temporary name in the
//! same directory and renamed.

mod clean;
mod integrity;

mod metadata;
#[cfg(feature = "build")]
mod store;

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use crate::key::{CacheKey, CacheKeyError, ConfigOrigin};
pub use clean::{CleanFailures, CleanOptions, CleanPlan, Cleaned};
use integrity::Look;
pub use metadata::{FileRecord, Metadata, MetadataError, SourceRecord};
#[cfg(feature = "build")]
pub(crate) use store::NewEntry;

use crate::remedy::Remedy;
use crate::resolved::ResolvedKernel;

/// A directory of built kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// An entry of the cache: one kernel, usable or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its key.
    pub key: CacheKey,
    /// Its directory.
    pub dir: PathBuf,
    /// Whether it can be used.
    pub state: EntryState,
}

/// Whether a cache entry can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryState {
    /// Everything is there.
    Valid(Box<Metadata>),
    /// Something is missing or damaged: what, in one clause.
    Corrupt(String),
    /// It is in the format of another version of ktstr, which can use it: which format, in one clause.
    OtherVersion(String),
}

/// Why the cache does not return, take or remove an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The key is not there.
    #[error("no cached kernel `{key}`{}; a path starts with ./", near_text(near))]
    Unknown {
        /// The key asked for.
        key: CacheKey,
        /// Keys that look like it.
        near: Vec<CacheKey>,
    },
    /// The key is not there, but a file or directory of that name is.
    #[error("no cached kernel `{key}`; for the file or directory of that name write ./{key}")]
    IsPath {
        /// The key asked for.
        key: CacheKey,
    },
    /// The entry was made by another version of ktstr.
    #[error(
        "cached kernel `{key}` is from another ktstr version ({why}); use that version, or give the kernel's source to build it again"
    )]
    OtherVersion {
        /// The key asked for.
        key: CacheKey,
        /// In which format it is.
        why: String,
    },
    /// The entry cannot be used.
    #[error("cached kernel `{key}` is corrupt ({why})")]
    Corrupt {
        /// The key asked for.
        key: CacheKey,
        /// What is wrong.
        why: String,
    },
    /// The entry is being built.
    #[error("cached kernel `{key}` is being built; try again when that is done")]
    Busy {
        /// The entry.
        key: CacheKey,
    },
    /// The cache cannot be read.
    #[error(
        "kernel cache {path}: {source}; check its permissions, or set KTSTR_CACHE_DIR to another directory"
    )]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache cannot be written.
    #[error(
        "kernel cache {path} cannot be written: {source}; make it writable, or set KTSTR_CACHE_DIR to another directory"
    )]
    Write {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CacheError {
    /// What helps.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Unknown { .. } => Some(Remedy::ListKeys),
            Self::Corrupt { .. } => Some(Remedy::RemoveCorrupt),
            _ => None,
        }
    }
}

/// Sixteen hexadecimal digits that identify the tree at that path.
pub(crate) fn tree_hash(tree: &Path) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64(tree.as_os_str().as_encoded_bytes());
    format!("{hash:016x}")
}

fn near_text(near: &[CacheKey]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let keys: Vec<String> = near.iter().map(|key| format!("`{key}`")).collect();
    format!(" (there is {})", keys.join(", "))
}

/// How far in the future a build time may lie: clocks of hosts differ.
const CLOCK_ERROR: Duration = Duration::from_secs(24 * 3600);

impl Cache {
    /// The cache below `root`, which need not exist. [`ktstr_core::env::cache_root`] says where it is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root of everything cached.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that holds the entries.
    pub fn kernels_dir(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// The directory an entry has, or would have.
    pub fn entry_dir(&self, key: &CacheKey) -> PathBuf {
        self.kernels_dir().join(key.as_str())
    }

    /// The lock that is held while the entry is written.
    pub fn lock_path(&self, key: &CacheKey) -> PathBuf {
        self.locks_dir().join(format!("{key}.lock"))
    }

    /// The directory that the source tree at `tree`, an absolute path, is built in: its objects and its kernel.
    pub fn build_dir(&self, tree: &Path) -> PathBuf {
        let name = tree.file_name().unwrap_or_default().to_string_lossy();
        let plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let name: String = name.chars().filter(plain).take(32).collect();
        self.builds_dir()
            .join(format!("{name}-{}", tree_hash(tree)))
    }

    /// The directories that source trees are built in.
    pub fn builds_dir(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// Where the locks of the cache are.
    pub fn locks_dir(&self) -> PathBuf {
        self.root.join(".locks")
    }

    /// Every entry: valid ones newest first, then corrupt ones by key. Only the metadata is read.
    ///
    /// An entry whose build time is more than a day in the future was built with a wrong clock, and counts as the oldest:
    /// otherwise it would hide every later build.
    pub fn list(&self) -> Result<Vec<CacheEntry>, CacheError> {
        let dir = self.kernels_dir();
        let read_error = |source| CacheError::Read {
            path: dir.clone(),
            source,
        };
        let items = match fs::read_dir(&dir) {
            Ok(items) => items,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(read_error(error)),
        };
        let mut entries = Vec::new();
        for item in items {
            let name = item.map_err(read_error)?.file_name();
            // Names that are no keys are not ours, or are entries in the making.
            let key = name.to_str().and_then(|name| CacheKey::parse(name).ok());
            entries.extend(key.and_then(|key| self.get(&key)));
        }
        let soon = SystemTime::now() + CLOCK_ERROR;
        entries.sort_by_cached_key(|entry| {
            let built = entry.metadata().and_then(Metadata::built_at);
            let believed = built.filter(|built| *built <= soon);
            let rank = (Reverse(built.is_some()), Reverse(believed), Reverse(built));
            (rank, entry.key.clone())
        });
        Ok(entries)
    }

    /// The entry of `key`, usable or not; `None` where there is none.
    pub fn get(&self, key: &CacheKey) -> Option<CacheEntry> {
        let dir = self.entry_dir(key);
        let state = match read_entry(&dir, key) {
            Ok(metadata) => EntryState::Valid(Box::new(metadata)),
            Err(_) if !dir.is_dir() => return None,
            Err(state) => state,
        };
        let key = key.clone();
        Some(CacheEntry { key, dir, state })
    }

    /// The kernel of `key`, ready to boot.
    pub fn lookup(&self, key: &CacheKey) -> Result<ResolvedKernel, CacheError> {
        let Some(entry) = self.get(key) else {
            let keys = self.list()?.into_iter().map(|entry| entry.key);
            return Err(CacheError::Unknown {
                key: key.clone(),
                near: near(key, keys.collect()),
            });
        };
        entry.kernel()
    }

    /// As [`lookup`](Self::lookup) does; where there is no such key, but something of that name in `dir`, the error says
    /// how to name that.
    pub(crate) fn lookup_beside(
        &self,
        key: &CacheKey,
        dir: &Path,
    ) -> Result<ResolvedKernel, CacheError> {
        match self.lookup(key) {
            Err(CacheError::Unknown { key, .. }) if dir.join(key.as_str()).exists() => {
                Err(CacheError::IsPath { key })
            }
            other => other,
        }
    }

    /// The newest kernel that can be booted.
    pub fn newest(&self) -> Result<Option<CacheEntry>, CacheError> {
        let entries = self.list()?;
        Ok(entries.into_iter().find(|entry| entry.kernel().is_ok()))
    }
}

/// The metadata of an entry that can be used, else its state.
fn read_entry(dir: &Path, key: &CacheKey) -> Result<Metadata, EntryState> {
    let json = Metadata::read(dir)
        .map_err(|error| EntryState::Corrupt(format!("{}: {error}", Metadata::FILE)))?;
    let metadata = Metadata::parse(&json).map_err(|error| match error {
        MetadataError::OtherVersion(_) => EntryState::OtherVersion(error.to_string()),
        MetadataError::Damaged(why) => EntryState::Corrupt(why),
    })?;
    if metadata.key != *key {
        let why = format!("its metadata belongs to `{}`", metadata.key);
        return Err(EntryState::Corrupt(why));
    }
    for file in metadata.files() {
        integrity::check(dir, file, Look::Size).map_err(EntryState::Corrupt)?;
    }
    Ok(metadata)
}

/// Up to three keys that share the longest start with `key`, or hold it.
fn near(key: &CacheKey, mut keys: Vec<CacheKey>) -> Vec<CacheKey> {
    let shared = |other: &CacheKey| {
        let pairs = key.as_str().bytes().zip(other.as_str().bytes());
        pairs.take_while(|(a, b)| a == b).count()
    };
    keys.retain(|other| shared(other) >= 3 || other.as_str().contains(key.as_str()));
    keys.sort_by_cached_key(|other| Reverse(shared(other)));
    keys.truncate(3);
    keys
}

impl CacheEntry {
    /// Its metadata; `None` where it cannot be used.
    pub fn metadata(&self) -> Option<&Metadata> {
        match &self.state {
            EntryState::Valid(metadata) => Some(metadata),
            EntryState::Corrupt(_) | EntryState::OtherVersion(_) => None,
        }
    }

    /// The error that says why it cannot be used.
    pub(crate) fn error(&self, why: String) -> CacheError {
        let key = self.key.clone();
        match &self.state {
            EntryState::OtherVersion(_) => CacheError::OtherVersion { key, why },
            EntryState::Valid(_) | EntryState::Corrupt(_) => CacheError::Corrupt { key, why },
        }
    }

    /// Whether ktstr's configuration fragments changed since it was built.
    pub fn is_stale(&self) -> bool {
        self.metadata().is_some_and(Metadata::is_stale)
    }

    /// Checks that image and configuration have the content that was stored, and so has the ELF kernel where its time
    /// changed. The error is one clause.
    pub fn verify(&self) -> Result<(), String> {
        match &self.state {
            EntryState::Valid(metadata) => {
                integrity::check(&self.dir, &metadata.image, Look::Content)?;
                integrity::check(&self.dir, &metadata.config, Look::Content)?;
                integrity::check(&self.dir, &metadata.vmlinux, Look::Time)
            }
            EntryState::Corrupt(why) | EntryState::OtherVersion(why) => Err(why.clone()),
        }
    }

    /// The kernel in it. The content of files whose time changed since they were stored is checked.
    pub fn kernel(&self) -> Result<ResolvedKernel, CacheError> {
        match &self.state {
            EntryState::Valid(metadata) => {
                for file in metadata.files() {
                    let checked = integrity::check(&self.dir, file, Look::Time);
                    checked.map_err(|why| self.error(why))?;
                }
                Ok(self.kernel_of(metadata))
            }
            EntryState::Corrupt(why) | EntryState::OtherVersion(why) => {
                Err(self.error(why.clone()))
            }
        }
    }

    fn kernel_of(&self, metadata: &Metadata) -> ResolvedKernel {
        ResolvedKernel {
            image: self.dir.join(&metadata.image.name),
            vmlinux: Some(self.dir.join(&metadata.vmlinux.name)),
            config: Some(self.dir.join(&metadata.config.name)),
            label: metadata.label(),
            version: metadata.version.clone(),
            cache_key: Some(self.key.clone()),
            dirty: false,
        }
    }
}

/// How long to wait for a build of another process: enough for a big configuration on a small machine.
pub const BUILD_WAIT: Duration = Duration::from_secs(3 * 3600);

#[cfg(test)]
mod tests;
