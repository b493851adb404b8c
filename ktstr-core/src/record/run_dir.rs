//! Where the results of a run are kept.

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
use crate::host::files::{Staged, temporary_beside, write_atomic};
use crate::host::{LockError, LockFile, LockMode};

pub use records::{Record, RecordKind, standing};

/// Names the runs that wrote into a directory, one a line, the last one last.
const EPOCH_FILE: &str = ".epoch";

/// How many runs of a directory are remembered.
const EPOCHS: usize = 32;

/// Directory entries are few and small; a peer that holds the lock this long is stuck.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// What no record is written without being able to: about as much as a failure's evidence takes.
const ROOM: usize = 256 << 10;

/// A temporary file that is older is a killed process's.
const LEFTOVER: Duration = Duration::from_secs(3600);

/// The check that a test which did not end is told as.
pub const INTERRUPTED: &str = "interrupted";

/// One run's directory: `target/ktstr/{kernel}-{project_commit}[-dirty]/`.
///
/// A record is replaced by a newer one of the same case, iteration and attempt, and by nothing else. Those of several
/// runs lie beside each other and are told apart by their epoch, which the processes of one run share.
///
/// | file | |
/// |---|---|
/// | `{stem}.ktstr.json` | the newest record of a case |
/// | `{stem}.failure-dump.json` | the evidence of its failure |
/// | `{stem}.attempt-1.json`, `{stem}.stress-2-attempt-1.json` | an earlier attempt, an earlier iteration of a stress run |
/// | `{stem}.attempt-1.failure-dump.json` | the evidence of its failure |
/// | `{stem}.attempt-1.unfinished.json` | an attempt that runs, or that was killed |
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    epoch: String,
}

/// A result that could not be kept.
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

/// A case that runs: what [`RunDir::begin`] left is there until it ends, however it ends.
#[derive(Debug)]
#[must_use = "the case counts as interrupted until `end` is called"]
pub struct Begun {
    path: PathBuf,
    epoch: String,
}

/// The directory name of a run: `{kernel}-{commit}`, `unknown` for what is not known.
///
/// `commit` ends in `-dirty` where the work tree had changes.
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

/// A name for a run that nobody named: `nanos` since some epoch, and the process that starts it.
pub fn new_epoch(nanos: u128, pid: u32) -> String {
    format!("{nanos}-{pid}")
}

/// Whether records can be written to `dir`: makes it where it is missing, and writes and removes a file in it.
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
    /// The directory at `path`, for the run called `epoch`. Nothing is created before a write.
    pub fn new(path: impl Into<PathBuf>, epoch: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            epoch: epoch.into(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that the case of `sidecar` runs from now on: where its process is killed, that is its record.
    ///
    /// Fails where no record could be written, so that nothing needs to run to find that out.
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
            // Not synced: of a host that went down there is more to tell than this.
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

    /// Writes `sidecar` as a record of this run and, when given, the evidence of its failure; returns the record's path.
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
            // All of it, before anything that is there is moved: on a full disk that stays.
            let record = Staged::write(&path, &serde_json::to_vec_pretty(&sidecar)?)?;
            let dump = failure_dump
                .map(|dump| Staged::write(&dump_path, &serde_json::to_vec_pretty(dump)?))
                .transpose()?;
            self.set_aside(&sidecar, &path, &dump_path)?;
            match dump {
                Some(dump) => dump.publish()?,
                // The same attempt failed when it was made before.
                None => remove_if_there(&dump_path)?,
            }
            record.publish()?;
            // What this one replaces, where another attempt of the case was written after it.
            let tag = tag(&sidecar);
            for suffix in [records::EARLIER, Sidecar::FAILURE_DUMP_SUFFIX] {
                remove_if_there(&self.file(&sidecar, Some(&tag), suffix))?;
            }
            Ok(())
        })?;
        Ok(path)
    }

    /// Whether the run called `epoch` wrote into the directory at `path`.
    pub fn has_epoch(path: &Path, epoch: &str) -> bool {
        epochs(path).iter().any(|other| other == epoch)
    }

    /// The epoch of the run that was the last to begin writing here; `None` when nothing did.
    pub fn last_epoch(path: &Path) -> Option<String> {
        epochs(path).pop()
    }

    /// Gives the newest record of the case of `sidecar` another name, unless `sidecar` is to replace it.
    fn set_aside(&self, sidecar: &Sidecar, path: &Path, dump_path: &Path) -> io::Result<()> {
        // What cannot be read has no attempt that it could be told by.
        let Ok(before) = Sidecar::read(path) else {
            return Ok(());
        };
        let (before, now) = (tag(&before), tag(sidecar));
        if before == now {
            return Ok(());
        }
        let dump = self.file(sidecar, Some(&before), Sidecar::FAILURE_DUMP_SUFFIX);
        match fs::rename(dump_path, &dump) {
            // It did not fail; one of that name is of an earlier run.
            Err(error) if error.kind() == ErrorKind::NotFound => remove_if_there(&dump)?,
            renamed => renamed?,
        }
        fs::rename(path, self.file(sidecar, Some(&before), records::EARLIER))
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
            // It may be the only directory there that we can write.
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

    /// Puts this run down as one that writes here: the caller holds the lock.
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
    /// The case ended, and there is a record of that or none is wanted.
    pub fn end(self) {
        // Another run of the case may have begun meanwhile; then it is that one's.
        let ours = Sidecar::read(&self.path).is_ok_and(|sidecar| sidecar.epoch == self.epoch);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What tells the records of a case apart, in file names: `attempt-2`, `stress-3-attempt-1`.
fn tag(sidecar: &Sidecar) -> String {
    match sidecar.stress {
        Some(iteration) => format!("stress-{iteration}-attempt-{}", sidecar.attempt),
        None => format!("attempt-{}", sidecar.attempt),
    }
}

/// The runs that wrote into the directory at `path`, as far as they are remembered, the last one last.
fn epochs(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path.join(EPOCH_FILE)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Removes what killed processes left half-written.
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
            // Another user's, perhaps.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
