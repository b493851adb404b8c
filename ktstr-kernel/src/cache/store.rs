//! Writing entries.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ktstr_core::host::files::{sync_parent, temporary_beside};
use ktstr_core::host::{LockFile, LockMode};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Cache, CacheError, CacheKey, FileRecord, Metadata, integrity};
use crate::{hash, scratch};

/// How many logs of builds are kept.
const LOGS: usize = 16;

impl Cache {
    /// The directory of the builds' logs.
    pub fn logs_dir(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The directory of builds that are going on.
    pub(crate) fn scratch_dir(&self) -> PathBuf {
        self.root.join(".scratch")
    }

    /// Makes sure that entries can be written, before anything is built for them.
    pub(crate) fn prepare(&self) -> Result<(), CacheError> {
        let dirs = [
            self.kernels_dir(),
            self.locks_dir(),
            self.logs_dir(),
            self.scratch_dir(),
        ];
        for dir in dirs {
            fs::create_dir_all(&dir).map_err(|error| write_error(&dir, error))?;
            let probe = temporary_beside(&dir.join("probe"));
            let made = File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
            made.map_err(|error| write_error(&dir, error))?;
        }
        Ok(())
    }

    /// Removes what killed processes left, and the oldest logs. The caller holds the lock of `ours`.
    pub(crate) fn sweep(&self, ours: Option<&CacheKey>) {
        scratch::sweep(&self.scratch_dir());
        let items = fs::read_dir(self.kernels_dir()).into_iter().flatten();
        for item in items.flatten() {
            let name = item.file_name();
            let Some(key) = name.to_str().and_then(temporary_of) else {
                continue;
            };
            if ours == Some(&key) {
                let _ = fs::remove_dir_all(item.path());
                continue;
            }
            // An entry that is being written is locked.
            let lock = LockFile::try_acquire(&self.lock_path(&key), LockMode::Exclusive);
            if let Ok(Some(_lock)) = lock {
                let _ = fs::remove_dir_all(item.path());
            }
        }
        let modified =
            |item: &fs::DirEntry| item.metadata().and_then(|found| found.modified()).ok();
        let mut logs: Vec<_> = fs::read_dir(self.logs_dir())
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        logs.sort_by_cached_key(modified);
        for old in logs.iter().rev().skip(LOGS) {
            let _ = fs::remove_file(old.path());
        }
    }
}

/// The key whose entry a temporary name in `kernels` was for; see [`temporary_beside`].
fn temporary_of(name: &str) -> Option<CacheKey> {
    let (key, serial) = name
        .strip_prefix('.')?
        .strip_suffix(".tmp")?
        .rsplit_once('.')?;
    let (pid, number) = serial.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits(pid) && digits(number)).then(|| CacheKey::parse(key).ok())?
}

fn write_error(path: &Path, source: io::Error) -> CacheError {
    let path = path.to_owned();
    CacheError::Write { path, source }
}

impl FileRecord {
    /// Of the file at `path` as it is.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let sha256 = hash::sha256(&mut file, |_| {})?;
        let xxh3 = integrity::digest(path)?;
        let found = file.metadata()?;
        let name = path.file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            size: found.len(),
            sha256,
            xxh3: Some(xxh3),
            modified: Some(integrity::modified(&found)),
        })
    }
}

/// An entry that is being written under a temporary name. The caller holds the lock of its key.
#[derive(Debug)]
pub(crate) struct NewEntry {
    /// Where the entry will be.
    dir: PathBuf,
    /// Where it is put together; removed when dropped.
    temporary: PathBuf,
}

impl NewEntry {
    /// Begins one.
    pub(crate) fn new(cache: &Cache, key: &CacheKey) -> Result<Self, CacheError> {
        let dir = cache.entry_dir(key);
        let temporary = temporary_beside(&dir);
        fs::create_dir(&temporary).map_err(|error| write_error(&temporary, error))?;
        Ok(Self { dir, temporary })
    }

    /// Where files are put before they are [added](NewEntry::add).
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    /// Writes down the file `name`, which is complete now, and makes it last.
    pub(crate) fn add(&self, name: &str) -> Result<FileRecord, CacheError> {
        let path = self.path(name);
        let record = || {
            let record = FileRecord::of(&path)?;
            File::open(&path)?.sync_all()?;
            Ok(record)
        };
        record().map_err(|error| write_error(&path, error))
    }

    /// Makes it the entry of its key, in place of what may be there.
    pub(crate) fn commit(self, metadata: &Metadata) -> Result<(), CacheError> {
        let commit = || {
            let json = serde_json::to_vec_pretty(metadata).map_err(io::Error::other)?;
            let mut file = File::create_new(self.path(Metadata::FILE))?;
            file.write_all(&json)?;
            file.sync_all()?;
            File::open(&self.temporary)?.sync_all()?;
            match fs::rename(&self.temporary, &self.dir) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => self.replace()?,
                other => other?,
            }
            sync_parent(&self.dir)
        };
        commit().map_err(|error| write_error(&self.dir, error))
    }

    /// Takes the place of the entry that is there, which then has our temporary name.
    fn replace(&self) -> io::Result<()> {
        let swap = renameat_with(CWD, &self.temporary, CWD, &self.dir, RenameFlags::EXCHANGE);
        if swap.is_ok() {
            return Ok(());
        }
        // Some file systems cannot: there the key has no entry for a moment.
        let old = temporary_beside(&self.dir);
        fs::rename(&self.dir, &old)?;
        fs::rename(&self.temporary, &self.dir)?;
        fs::rename(&old, &self.temporary)
    }
}

impl Drop for NewEntry {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::tests::sample;
    use super::*;

    fn fill(cache: &Cache, key: &CacheKey, content: &str) -> (NewEntry, Metadata) {
        let entry = NewEntry::new(cache, key).unwrap();
        let record = |name: &str| {
            fs::write(entry.path(name), content).unwrap();
            entry.add(name).unwrap()
        };
        let mut metadata = sample(key.as_str(), "2026-01-01T00:00:00Z");
        metadata.image = record("bzImage");
        metadata.vmlinux = record("vmlinux");
        metadata.config = record(".config");
        (entry, metadata)
    }

    #[test]
    fn an_entry_appears_whole_and_replaces_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        cache.prepare().unwrap();
        let key = CacheKey::parse("k").unwrap();
        let names = || fs::read_dir(cache.kernels_dir()).unwrap().count();
        for content in ["one", "two, longer"] {
            let before = cache.get(&key);
            let (entry, metadata) = fill(&cache, &key, content);
            assert_eq!(cache.get(&key), before);
            entry.commit(&metadata).unwrap();
            let image = cache.lookup(&key).unwrap().image;
            assert_eq!(fs::read_to_string(image).unwrap(), content);
            assert_eq!(names(), 1);
        }
        drop(fill(&cache, &key, "never done"));
        assert_eq!(names(), 1);
        assert_eq!(
            fs::read_to_string(cache.lookup(&key).unwrap().image).unwrap(),
            "two, longer"
        );
    }

    #[test]
    fn leftovers_go_but_not_what_somebody_works_on() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        cache.prepare().unwrap();
        let key = |text: &str| CacheKey::parse(text).unwrap();
        let kernels = cache.kernels_dir();
        for name in [".dead-1.2.77-0.tmp", ".live.77-1.tmp", ".other", "valid"] {
            fs::create_dir(kernels.join(name)).unwrap();
        }
        let lock = LockFile::try_acquire(&cache.lock_path(&key("live")), LockMode::Exclusive);
        let _lock = lock.unwrap().unwrap();
        for n in 0..30 {
            fs::write(cache.logs_dir().join(format!("{n}.log")), "").unwrap();
        }
        fs::create_dir(kernels.join(".ours.1.76-4.tmp")).unwrap();
        let ours = LockFile::try_acquire(&cache.lock_path(&key("ours.1")), LockMode::Exclusive);
        let _ours = ours.unwrap().unwrap();
        cache.sweep(Some(&key("ours.1")));
        let mut left: Vec<_> = fs::read_dir(&kernels)
            .unwrap()
            .flatten()
            .map(|i| i.file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".live.77-1.tmp", ".other", "valid"]);
        assert_eq!(fs::read_dir(cache.logs_dir()).unwrap().count(), LOGS);
        assert_eq!(temporary_of(".6.12.9-x.12-3.tmp"), Some(key("6.12.9-x")));
        assert_eq!(temporary_of(".6.12.9-x.tmp"), None);
    }
}
