//! The directory that holds the results of a run.

mod records;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::sidecar::Sidecar;
use crate::Verdict;
use crate::host::files::{Staged, read_bounded, temporary_beside, write_atomic};
use crate::host::{LockError, LockFile, LockMode};

pub(super) use records::is_record_name;
pub use records::{Record, RecordFile, RecordKind, Standing, standing, standing_by};

/// Name of the file that lists the runs that wrote into a directory, one per line, the most recent one last.
pub(super) const EPOCH_FILE: &str = ".epoch";

/// Maximum number of runs that it lists.
const EPOCHS: usize = 32;

/// Maximum size of that file that is read.
const EPOCH_FILE_LIMIT: u64 = 64 << 10;

/// Updates of a directory are short: a process that holds the lock for so long is stuck.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Bytes that must be free before a case runs: about the size of the evidence of a failure.
const ROOM: usize = 256 << 10;

/// Age at which a temporary file must be the leftover of a killed process.
const LEFTOVER: Duration = Duration::from_secs(3600);

/// Name of the check that reports a test that did not end.
pub const INTERRUPTED: &str = "interrupted";

/// One run's directory: `target/ktstr/{kernel}-{project_commit}[-dirty]/`.
///
/// Only a newer record of the same case, iteration and attempt replaces a record. The directory may hold records of
/// several runs; their epochs distinguish them, and all processes of one run share an epoch.
///
/// | file | |
/// |---|---|
/// | `{stem}.ktstr.json` | the newest record of a case |
/// | `{stem}.failure-dump.json` | the evidence of its failure |
/// | `{stem}.attempt-1.json`, `{stem}.stress-2-attempt-1.json` | an earlier attempt, an earlier iteration of a stress run |
/// | `{stem}.attempt-1.failure-dump.json` | the evidence of its failure |
/// | `{stem}.attempt-1.unfinished.json` | an attempt that is running or was killed |
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    epoch: String,
}

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunDirError {
    /// The directory or a file in it could not be written.
    #[error(
        "run directory {path}: {source}; free space or point KTSTR_SIDECAR_DIR to a directory that can be written"
    )]
    Write {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process kept the directory locked.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// A running case. The record that [`RunDir::begin`] wrote exists until the case ends, however that happens.
#[derive(Debug)]
#[must_use = "the case counts as interrupted until `end` is called"]
pub struct Begun {
    path: PathBuf,
    epoch: String,
}

/// The directory name of a run: `{kernel}-{commit}`, with `unknown` for a missing part.
///
/// `commit` ends in `-dirty` if the work tree has changes.
pub fn run_name(kernel: Option<&str>, commit: Option<&str>) -> String {
    let part = |text: Option<&str>| {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        };
        match text {
            Some(text) if !text.is_empty() => text.chars().map(safe).collect(),
            _ => "unknown".to_owned(),
        }
    };
    format!("{}-{}", part(kernel), part(commit))
}

/// A generated name for a run: `nanos` since some epoch, and the id of the process that starts it.
pub fn new_epoch(nanos: u128, pid: u32) -> String {
    format!("{nanos}-{pid}")
}

/// Checks that records can be written to `dir`: creates it if it is missing, and writes and removes a file in it.
pub fn check(dir: &Path) -> Result<(), RunDirError> {
    let probe = temporary_beside(&dir.join("check"));
    let written = fs::create_dir_all(dir).and_then(|()| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&probe)?;
        file.write_all(&vec![b'x'; ROOM])
    });
    let _ = fs::remove_file(&probe);
    written.map_err(|source| RunDirError::Write {
        path: dir.to_owned(),
        source,
    })
}

impl RunDir {
    /// The directory at `path`, for the run `epoch`. It is created by the first write.
    pub fn new(path: impl Into<PathBuf>, epoch: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            epoch: epoch.into(),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records that the case of `sidecar` is running. If its process is killed, this stays as its record.
    ///
    /// Fails if no record can be written, so that this is known before the case runs.
    pub fn begin(&self, sidecar: &Sidecar) -> Result<Begun, RunDirError> {
        check(&self.path)?;
        let verdict = Verdict::fail(
            INTERRUPTED,
            "it began and did not end: its process was killed, at its time limit or by somebody; run it again",
        );
        let sidecar = Sidecar {
            verdict,
            ..self.own(sidecar)
        };
        let path = self.file(&sidecar, Some(&tag(&sidecar)), records::UNFINISHED);
        let _lock = self.lock()?;
        self.writing(|| {
            self.enter()?;
            // Not synced: after a crash of the host, a lost marker is the least problem.
            let temporary = temporary_beside(&path);
            fs::write(&temporary, serde_json::to_vec_pretty(&sidecar)?)
                .and_then(|()| fs::rename(&temporary, &path))
                .inspect_err(|_| drop(fs::remove_file(&temporary)))
        })?;
        Ok(Begun {
            path,
            epoch: self.epoch.clone(),
        })
    }

    /// Writes `sidecar` as a record of this run, with the evidence of its failure if there is any; returns the record's
    /// path.
    pub fn write(
        &self,
        sidecar: &Sidecar,
        failure_dump: Option<&impl Serialize>,
    ) -> Result<PathBuf, RunDirError> {
        let sidecar = self.own(sidecar);
        let path = self.file(&sidecar, None, Sidecar::SUFFIX);
        let dump_path = self.file(&sidecar, None, Sidecar::FAILURE_DUMP_SUFFIX);
        let _lock = self.lock()?;
        self.writing(|| {
            self.enter()?;
            // Everything is written before an existing file is moved, so that a full disk loses nothing.
            let record = Staged::write(&path, &serde_json::to_vec_pretty(&sidecar)?)?;
            let dump = failure_dump
                .map(|dump| Staged::write(&dump_path, &serde_json::to_vec_pretty(dump)?))
                .transpose()?;
            self.set_aside(&sidecar, &path, &dump_path)?;
            // In this order, whoever is killed in between leaves no record beside the evidence of another.
            remove_if_there(&dump_path)?;
            record.publish()?;
            if let Some(dump) = dump {
                dump.publish()?;
            }
            // The record that this one replaces, if another attempt of the case was written after it.
            let tag = tag(&sidecar);
            for suffix in [records::EARLIER, Sidecar::FAILURE_DUMP_SUFFIX] {
                remove_if_there(&self.file(&sidecar, Some(&tag), suffix))?;
            }
            Ok(())
        })?;
        Ok(path)
    }

    /// Whether the run `epoch` wrote into the directory at `path`.
    pub fn has_epoch(path: &Path, epoch: &str) -> bool {
        epochs(path).iter().any(|other| other == epoch)
    }

    /// The epoch of the run that began writing here most recently; `None` if there is none.
    pub fn last_epoch(path: &Path) -> Option<String> {
        epochs(path).pop()
    }

    /// Renames the newest record of the case of `sidecar`, unless `sidecar` replaces it.
    fn set_aside(&self, sidecar: &Sidecar, path: &Path, dump_path: &Path) -> io::Result<()> {
        // A record that cannot be read has no attempt to name it by.
        let Ok(before) = Sidecar::read(path) else {
            return Ok(());
        };
        let (before, now) = (tag(&before), tag(sidecar));
        if before == now {
            return Ok(());
        }
        let earlier = self.file(sidecar, Some(&before), records::EARLIER);
        let dump = self.file(sidecar, Some(&before), Sidecar::FAILURE_DUMP_SUFFIX);
        // What has that name is older. A record has its evidence at every moment, as the process may be killed.
        remove_if_there(&earlier)?;
        remove_if_there(&dump)?;
        link(dump_path, &dump)?;
        fs::rename(path, earlier)?;
        remove_if_there(dump_path)
    }

    /// `sidecar` as a record of this run.
    fn own(&self, sidecar: &Sidecar) -> Sidecar {
        Sidecar {
            epoch: self.epoch.clone(),
            ..sidecar.clone()
        }
    }

    /// A file of the case of `sidecar`.
    fn file(&self, sidecar: &Sidecar, tag: Option<&str>, suffix: &str) -> PathBuf {
        let tag = tag.map(|tag| format!(".{tag}")).unwrap_or_default();
        self.path.join(format!("{}{tag}{suffix}", sidecar.stem()))
    }

    fn lock(&self) -> Result<LockFile, RunDirError> {
        self.writing(|| fs::create_dir_all(&self.path))?;
        let runs = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}.lock");
        let what = format!("the run directory {}", self.path.display());
        let lock = |dir: &Path| {
            let path = dir.join(".locks").join(&name);
            LockFile::acquire(&path, LockMode::Exclusive, LOCK_WAIT, &what)
        };
        match lock(runs) {
            // It may be the only directory there that this process can write.
            Err(LockError::Open { .. } | LockError::Denied { .. }) => Ok(lock(&self.path)?),
            locked => Ok(locked?),
        }
    }

    fn writing<T>(&self, write: impl FnOnce() -> io::Result<T>) -> Result<T, RunDirError> {
        write().map_err(|source| RunDirError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// Adds this run to the list of those that write here. The caller holds the lock.
    fn enter(&self) -> io::Result<()> {
        let mut epochs = epochs(&self.path);
        if epochs.contains(&self.epoch) {
            return Ok(());
        }
        remove_leftovers(&self.path)?;
        epochs.push(self.epoch.clone());
        let first = epochs.len().saturating_sub(EPOCHS);
        let mut text = epochs[first..].join("\n");
        text.push('\n');
        write_atomic(&self.path.join(EPOCH_FILE), text.as_bytes())
    }
}

impl Begun {
    /// Ends the case: its record is written, or none is wanted.
    pub fn end(self) {
        // If another run of the case has begun in the meantime, the file belongs to that one.
        let ours = Sidecar::read(&self.path).is_ok_and(|sidecar| sidecar.epoch == self.epoch);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The part of a file name that distinguishes the records of a case: `attempt-2`, `stress-3-attempt-1`.
fn tag(sidecar: &Sidecar) -> String {
    match sidecar.stress {
        Some(iteration) => format!("stress-{iteration}-attempt-{}", sidecar.attempt),
        None => format!("attempt-{}", sidecar.attempt),
    }
}

/// The runs that wrote into the directory at `path`, as far as they are listed, the most recent one last.
pub(super) fn epochs(path: &Path) -> Vec<String> {
    let read = read_bounded(&path.join(EPOCH_FILE), EPOCH_FILE_LIMIT);
    let text = read.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Removes temporary files that killed processes left.
fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let modified = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if name.starts_with('.')
            && name.ends_with(".tmp")
            && modified().is_some_and(|age| age > LEFTOVER)
        {
            // It may belong to another user.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Gives the file at `from`, if there is one, the name `to` as well, or instead where files have one name only.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    let linked = match fs::hard_link(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::StorageFull => return Err(error),
        linked => linked,
    };
    linked.or_else(|_| fs::rename(from, to))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
