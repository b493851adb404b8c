//! Where the results of a run are kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::Sidecar;
use crate::files::write_atomic;
use crate::lock::{LockError, LockFile, Mode};

/// Names the run that the files of a directory belong to.
const EPOCH_FILE: &str = ".epoch";

/// Directory entries are few and small; a peer that holds the lock this long is stuck.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// One run's directory: `target/ktstr/{kernel}-{project_commit}[-dirty]/`.
///
/// The first write of a run clears what the previous run of the same name left. Processes that
/// share an epoch belong to one run and keep each other's files.
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

    /// Writes `sidecar` and, when given, the evidence of its failure; returns the sidecar's path.
    pub fn write(
        &self,
        sidecar: &Sidecar,
        failure_dump: Option<&impl Serialize>,
    ) -> Result<PathBuf, RunDirError> {
        let stem = sidecar.stem();
        let path = self.path.join(format!("{stem}{}", Sidecar::SUFFIX));
        let dump_path = self
            .path
            .join(format!("{stem}{}", Sidecar::FAILURE_DUMP_SUFFIX));
        let _lock = self.lock()?;
        (|| {
            self.enter()?;
            write_atomic(&path, &serde_json::to_vec_pretty(sidecar)?)?;
            match failure_dump {
                Some(dump) => write_atomic(&dump_path, &serde_json::to_vec_pretty(dump)?),
                // A variant that failed at an earlier try of this run and now passed.
                None => remove_if_there(&dump_path),
            }
        })()
        .map_err(|source| RunDirError::Write {
            path: self.path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// The sidecars in the directory by name, each read or with the reason why not.
    pub fn sidecars(&self) -> io::Result<Vec<Result<Sidecar, crate::sidecar::SidecarError>>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if is_ours(&path, Sidecar::SUFFIX) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths.iter().map(|path| Sidecar::read(path)).collect())
    }

    /// The epoch of the run that wrote here last; `None` when nothing did.
    pub fn last_epoch(path: &Path) -> Option<String> {
        fs::read_to_string(path.join(EPOCH_FILE)).ok()
    }

    fn lock(&self) -> Result<LockFile, RunDirError> {
        let runs = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let lock = runs.join(".locks").join(format!("{name}.lock"));
        let what = format!("the run directory {}", self.path.display());
        Ok(LockFile::acquire(&lock, Mode::Exclusive, LOCK_WAIT, &what)?)
    }

    /// Makes the directory this run's: the caller holds the lock.
    fn enter(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        if Self::last_epoch(&self.path).as_deref() == Some(&self.epoch) {
            return Ok(());
        }
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if is_ours(&path, Sidecar::SUFFIX) || is_ours(&path, Sidecar::FAILURE_DUMP_SUFFIX) {
                fs::remove_file(path)?;
            }
        }
        write_atomic(&self.path.join(EPOCH_FILE), self.epoch.as_bytes())
    }
}

/// Whether the file's name ends like one that a run writes. Anything else is not ours to touch.
fn is_ours(path: &Path, suffix: &str) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with(suffix))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::tests::example;

    const NO_DUMP: Option<&()> = None;

    #[test]
    fn one_run_keeps_its_files_and_the_next_clears_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs/k-c");
        let first = RunDir::new(&path, "1");
        first.write(&example("a"), NO_DUMP).unwrap();
        RunDir::new(&path, "1")
            .write(&example("b"), Some(&"why"))
            .unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        assert_eq!(first.sidecars().unwrap().len(), 2);
        let second = RunDir::new(&path, "2");
        second.write(&example("c"), NO_DUMP).unwrap();
        let left: Vec<_> = second
            .sidecars()
            .unwrap()
            .into_iter()
            .map(|s| s.unwrap().test)
            .collect();
        assert_eq!(left, ["c"]);
        assert!(path.join("notes.txt").exists());
        let dumps = fs::read_dir(&path).unwrap().filter(|entry| {
            is_ours(
                &entry.as_ref().unwrap().path(),
                Sidecar::FAILURE_DUMP_SUFFIX,
            )
        });
        assert_eq!(dumps.count(), 0);
    }

    #[test]
    fn a_retry_that_passes_takes_its_failure_dump_away() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("r"), "1");
        let sidecar = run.write(&example("a"), Some(&"why")).unwrap();
        run.write(&example("a"), NO_DUMP).unwrap();
        assert!(sidecar.exists());
        let names: Vec<_> = fs::read_dir(run.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("failure"))
            .collect();
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn names_are_safe_and_complete() {
        assert_eq!(
            run_name(Some("6.12.1"), Some("abc1234-dirty")),
            "6.12.1-abc1234-dirty"
        );
        assert_eq!(run_name(None, None), "unknown-unknown");
        assert_eq!(run_name(Some("../x"), Some("")), ".._x-unknown");
    }

    #[test]
    fn a_directory_that_cannot_be_written_says_what_to_do() {
        let run = RunDir::new("/proc/ktstr/none", "1");
        let error = run.write(&example("a"), NO_DUMP).unwrap_err();
        assert!(error.to_string().contains("/proc/ktstr"), "{error}");
    }
}
