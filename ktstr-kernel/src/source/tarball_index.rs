//! What is known of tarballs that were seen before.
//!
//! The key of a tarball's kernel takes its checksum and version, and reading those takes seconds. They
//! are remembered for a file as long as it is the same one, untouched.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use ktstr_core::host::files::write_atomic;
use serde::{Deserialize, Serialize};

/// Name of the file, in the root of the cache.
const FILE: &str = "tarballs.json";
const MAX_BYTES: u64 = 1 << 20;
const REMEMBERED: usize = 64;

/// File systems keep times in steps: two changes within one look like one. None of those that Linux
/// itself keeps has longer steps.
const STEP: Duration = Duration::from_millis(20);

/// Which file it is, and whether it is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    dev: u64,
    ino: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// SHA-256, hexadecimal.
    pub(super) sha256: String,
    /// The version of the sources in it.
    pub(super) version: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    /// The newest first.
    files: Vec<(Identity, Facts)>,
}

impl Identity {
    /// Of the file as it is now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            dev: found.dev(),
            ino: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// How large the file is, bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Like [`of`](Self::of), for a file that is about to be read: any later change will show.
    pub(super) fn settled(path: &Path) -> io::Result<Self> {
        let identity = Self::of(path)?;
        let (seconds, nanos) = identity.changed;
        let changed = u64::try_from(seconds)
            .ok()
            .and_then(|seconds| {
                let nanos = u32::try_from(nanos).ok()?;
                SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
            })
            .and_then(|changed| changed.elapsed().ok());
        if changed.is_some_and(|age| age < STEP) {
            sleep(STEP);
            return Self::of(path);
        }
        Ok(identity)
    }
}

/// What is remembered of that file.
pub(super) fn recall(root: &Path, identity: &Identity) -> Option<Facts> {
    let files = read(root).files;
    let found = files.into_iter().find(|(known, _)| known == identity);
    found.map(|(_, facts)| facts)
}

/// Remembers `facts`. That it cannot be written costs a second look, no more.
pub(super) fn remember(root: &Path, identity: &Identity, facts: &Facts) {
    let mut index = read(root);
    index
        .files
        .retain(|(known, _)| (known.dev, known.ino) != (identity.dev, identity.ino));
    index.files.insert(0, (identity.clone(), facts.clone()));
    index.files.truncate(REMEMBERED);
    if let Ok(json) = serde_json::to_vec(&index) {
        let _ = fs::create_dir_all(root);
        let _ = write_atomic(&root.join(FILE), &json);
    }
}

/// One that is not there, or unreadable, remembers nothing.
fn read(root: &Path) -> Index {
    let mut json = Vec::new();
    let read =
        File::open(root.join(FILE)).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut json));
    match read {
        Ok(_) => serde_json::from_slice(&json).unwrap_or_default(),
        Err(_) => Index::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_until_it_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (root, path) = (dir.path().join("cache"), dir.path().join("file"));
        let facts = |sha256: &str| Facts {
            sha256: sha256.into(),
            version: "6.12.1".into(),
        };
        let look = || Identity::settled(&path).unwrap();
        fs::write(&path, "one").unwrap();
        let first = look();
        assert_eq!(recall(&root, &first), None);
        remember(&root, &first, &facts("1"));
        assert_eq!(recall(&root, &look()), Some(facts("1")));
        fs::write(&path, "two").unwrap();
        let second = look();
        assert_eq!(recall(&root, &second), None);
        remember(&root, &second, &facts("2"));
        assert_eq!(recall(&root, &second), Some(facts("2")));
        assert_eq!(read(&root).files.len(), 1);
        fs::write(root.join(FILE), "{broken").unwrap();
        assert_eq!(recall(&root, &second), None);
    }
}
