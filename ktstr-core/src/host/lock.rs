//! Advisory locks on files (`flock`).
//!
//! The kernel releases a lock when the last descriptor of its open file is closed, so a killed process leaves no lock
//! behind. Lock files themselves are never removed: otherwise two processes could lock two different files of the same
//! name.

mod shared_file;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

pub(crate) use shared_file::make_shared_dir;
use shared_file::{FOR_ALL, denied, open};

/// Interval between two attempts: short compared with any run, long compared with the cost of an attempt.
const POLL: Duration = Duration::from_millis(20);

/// A lock that could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock file or its directory could not be created or opened.
    #[error("lock file {path}: {source}; check that its directory exists and can be written")]
    Open {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock file belongs to another user, and its mode denies access.
    #[error(
        "lock file {path}: permission denied, as user {owner} made it with mode {mode:03o}; have that user run: chmod {FOR_ALL:o} {path}"
    )]
    Denied {
        /// The lock file.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Another process held the lock during the whole wait.
    #[error("{what} is still taken after {} s; see who holds {path}", waited.as_secs())]
    Busy {
        /// What the lock stands for.
        what: String,
        /// The lock file (one of them, where any would do).
        path: PathBuf,
        /// How long the wait lasted.
        waited: Duration,
    },
}

/// A lock held on a file; dropping it releases the lock.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    // Only kept open: closing it releases the lock.
    _file: File,
}

/// Whether others may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// No other holder.
    Exclusive,
    /// Other holders in [`LockMode::Shared`].
    Shared,
}

impl LockFile {
    /// Takes the lock on `path` without waiting; `None` if another process holds it.
    ///
    /// Creates the file and its parent directories if they are missing.
    pub fn try_acquire(path: &Path, mode: LockMode) -> Result<Option<Self>, LockError> {
        let open_error = |source| LockError::Open {
            path: path.to_owned(),
            source,
        };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(open_error)?;
        }
        let file = open(path)
            .map_err(|source| denied(path, &source).unwrap_or_else(|| open_error(source)))?;
        let locked = match mode {
            LockMode::Exclusive => file.try_lock(),
            LockMode::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => Ok(Some(Self {
                path: path.to_owned(),
                _file: file,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(open_error(source)),
        }
    }

    /// Takes the lock on `path`, and waits for it up to `wait`; `what` names it in the error.
    pub fn acquire(
        path: &Path,
        mode: LockMode,
        wait: Duration,
        what: &str,
    ) -> Result<Self, LockError> {
        first_of(&[path.to_owned()], mode, wait, what)
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the first free lock of `paths`, and waits for one up to `wait`.
pub(crate) fn first_of(
    paths: &[PathBuf],
    mode: LockMode,
    wait: Duration,
    what: &str,
) -> Result<LockFile, LockError> {
    retry(wait, what, || {
        for path in paths {
            if let Some(lock) = LockFile::try_acquire(path, mode)? {
                return Ok(Ok(lock));
            }
        }
        Ok(Err(paths.first().cloned().unwrap_or_default()))
    })
}

/// The result of an attempt: a value, or the lock file that another process holds.
pub(crate) type Attempt<T> = Result<Result<T, PathBuf>, LockError>;

/// Calls `attempt` until it returns a value or `wait` is over; `what` names the lock in the error.
pub(crate) fn retry<T>(
    wait: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Attempt<T>,
) -> Result<T, LockError> {
    let start = Instant::now();
    loop {
        let path = match attempt()? {
            Ok(got) => return Ok(got),
            Err(path) => path,
        };
        let waited = start.elapsed();
        if waited >= wait {
            return Err(LockError::Busy {
                what: what.to_owned(),
                path,
                waited,
            });
        }
        sleep(POLL.min(wait.saturating_sub(waited)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_excludes_and_drop_releases() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er.lock");
        let held = LockFile::try_acquire(&path, LockMode::Exclusive)
            .unwrap()
            .unwrap();
        assert!(
            LockFile::try_acquire(&path, LockMode::Shared)
                .unwrap()
                .is_none()
        );
        let busy = LockFile::acquire(
            &path,
            LockMode::Exclusive,
            Duration::from_millis(30),
            "the thing",
        );
        assert!(matches!(busy, Err(LockError::Busy { .. })));
        drop(held);
        let one = LockFile::try_acquire(&path, LockMode::Shared)
            .unwrap()
            .unwrap();
        let two = LockFile::try_acquire(&path, LockMode::Shared)
            .unwrap()
            .unwrap();
        assert_eq!(one.path(), two.path());
    }

    #[test]
    fn a_lock_file_that_cannot_be_made_is_named() {
        let error =
            LockFile::try_acquire(Path::new("/proc/no/such.lock"), LockMode::Shared).unwrap_err();
        assert!(error.to_string().contains("/proc/no/such.lock"), "{error}");
    }
}
