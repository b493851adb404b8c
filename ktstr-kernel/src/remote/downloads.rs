//! The directory of fetched tarballs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ktstr_core::host::files::{open_regular, temporary_beside, write_atomic};
use ktstr_core::host::{LockFile, LockMode};
use serde::{Deserialize, Serialize};

use super::error::FetchError;
use crate::cache::{Cache, CacheError};
use crate::hash;
use crate::progress::{Event, Progress};

/// How many tarballs stay.
const KEPT: usize = 3;
/// How long unused files stay.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long to wait for another process that fetches the same file.
const FETCH_WAIT: Duration = Duration::from_secs(3600);
/// Most that is read of a record, bytes.
const RECORD_LIMIT: u64 = 16 << 10;

/// `{cache}/downloads`: tarballs, `NAME.json` beside each with what is known of it, and [parts](super::part::Part).
#[derive(Debug, Clone)]
pub(super) struct Downloads {
    dir: PathBuf,
    locks: PathBuf,
}

/// What is known of a tarball that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Where it comes from.
    pub(super) address: String,
    /// Its SHA-256.
    pub(super) sha256: String,
    /// Whether that is what was published.
    pub(super) verified: bool,
}

impl Downloads {
    pub(super) fn new(cache: &Cache) -> Self {
        Self {
            dir: cache.root().join("downloads"),
            locks: cache.locks_dir(),
        }
    }

    /// Where the file of that name is, or will be.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes sure that files can be written, before anything is fetched.
    pub(super) fn prepare(&self) -> Result<(), FetchError> {
        for dir in [&self.dir, &self.locks] {
            let error = |source| match FetchError::io(dir, source) {
                // Not even a directory can be made: no single file is to blame.
                FetchError::NoSpace { .. } => FetchError::NoSpace {
                    dir: dir.clone(),
                    name: "downloads".to_owned(),
                    needed: None,
                },
                other => other,
            };
            fs::create_dir_all(dir).map_err(error)?;
            let probe = temporary_beside(&dir.join("probe"));
            let made = File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
            made.map_err(error)?;
        }
        Ok(())
    }

    /// Locks the file of that name: exclusively to write it, together with others to use it.
    pub(super) fn lock(
        &self,
        name: &str,
        mode: LockMode,
        progress: &dyn Progress,
    ) -> Result<LockFile, FetchError> {
        let path = self.lock_path(name);
        if let Some(lock) = LockFile::try_acquire(&path, mode)? {
            return Ok(lock);
        }
        let note = format!("{name}: another process is fetching it; waiting");
        progress.event(Event::Note(&note));
        let what = format!("the download of {name}");
        Ok(LockFile::acquire(&path, mode, FETCH_WAIT, &what)?)
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.locks.join(format!("{name}.lock"))
    }

    /// What is known of the file of that name.
    pub(super) fn record(&self, name: &str) -> Option<Record> {
        let mut json = Vec::new();
        let file = open_regular(&self.record_path(name)).ok()?;
        file.take(RECORD_LIMIT).read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Writes down what is known of the file of that name.
    pub(super) fn set_record(&self, name: &str, record: &Record) -> Result<(), FetchError> {
        let path = self.record_path(name);
        serde_json::to_vec_pretty(record)
            .map_err(io::Error::other)
            .and_then(|json| write_atomic(&path, &json))
            .map_err(|error| FetchError::io(path, error))
    }

    fn record_path(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.json"))
    }

    /// The SHA-256 of the file of that name; `None` when it is not there.
    pub(super) fn sha256(&self, name: &str) -> Result<Option<String>, FetchError> {
        let path = self.path(name);
        let sum = open_regular(&path).and_then(|mut file| hash::sha256(&mut file, |_| {}));
        match sum {
            Ok(sum) => Ok(Some(sum)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CacheError::Read { path, source }.into()),
        }
    }

    /// Removes the file of that name, whose lock we have.
    pub(super) fn remove(&self, name: &str) -> Result<(), FetchError> {
        let path = self.path(name);
        let _ = fs::remove_file(self.record_path(name));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FetchError::io(path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes unused files: all tarballs but the newest, and everything older than a week. A file from more than a week in
    /// the future was written with a wrong clock, and goes as well.
    pub(super) fn sweep(&self, now: SystemTime) {
        let mut tarballs = Vec::new();
        let mut stale = Vec::new();
        for item in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let Some(name) = item.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            let Ok(modified) = item.metadata().and_then(|found| found.modified()) else {
                continue;
            };
            if tarball_of(&name) == Some(&name) {
                tarballs.push((modified, name));
            } else if is_stale(modified, now) {
                stale.push(name);
            }
        }
        tarballs.sort();
        for (at, (modified, name)) in tarballs.iter().rev().enumerate() {
            if (at >= KEPT || is_stale(*modified, now))
                && let Ok(Some(_lock)) = self.try_lock(name)
            {
                let _ = self.remove(name);
            }
        }
        for name in &stale {
            match tarball_of(name) {
                // What is known of a tarball goes with it.
                Some(tarball) if *name == format!("{tarball}.json") => {
                    if self.path(tarball).exists() {
                        continue;
                    }
                    self.remove_unused(tarball, name);
                }
                Some(tarball) => self.remove_unused(tarball, name),
                // Left by a process that was killed while it wrote a small file.
                None if name.starts_with('.')
                    && Path::new(name).extension().is_some_and(|end| end == "tmp") =>
                {
                    let _ = fs::remove_file(self.path(name));
                }
                None => {}
            }
        }
    }

    fn remove_unused(&self, tarball: &str, name: &str) {
        if let Ok(Some(_lock)) = self.try_lock(tarball) {
            let _ = fs::remove_file(self.path(name));
        }
    }

    fn try_lock(&self, name: &str) -> Result<Option<LockFile>, FetchError> {
        Ok(LockFile::try_acquire(
            &self.lock_path(name),
            LockMode::Exclusive,
        )?)
    }
}

/// The tarball that a file of the directory belongs to, which may be itself.
fn tarball_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".json").unwrap_or(name);
    let stem = stem.strip_suffix(".part").unwrap_or(stem);
    let is_tarball = [".tar.xz", ".tar.gz"].iter().any(|end| stem.ends_with(end));
    (stem.starts_with("linux-") && is_tarball).then_some(stem)
}

fn is_stale(modified: SystemTime, now: SystemTime) -> bool {
    let apart = now
        .duration_since(modified)
        .unwrap_or_else(|error| error.duration());
    apart > STALE
}

/// A fetched tarball that stays as it is for as long as this lives.
#[derive(Debug)]
pub(super) struct InUse {
    _lock: LockFile,
}

impl InUse {
    pub(super) fn new(lock: LockFile) -> Self {
        Self { _lock: lock }
    }
}
