//! Advisory locks on files (`flock`), and what is reserved with them.
//!
//! The kernel drops a lock when the last descriptor of its open file goes away, so a killed process
//! never leaves one behind. Lock files themselves stay: removing one would let two processes lock
//! two different files of the same name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to sleep between two tries for a lock: short against any run, long against the cost of a try.
const POLL: Duration = Duration::from_millis(20);

/// A lock that could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The lock file or its directory could not be made or opened.
    #[error("lock file {path}: {source}; check that its directory exists and can be written")]
    Open {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else held the lock for the whole wait.
    #[error("{what} is still taken after {} s; see who holds {path}", waited.as_secs())]
    Busy {
        /// What the lock stands for.
        what: String,
        /// The lock file (one of them, where any would do).
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
}

/// A lock held on a file; dropping it releases the lock.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    // Held for its lock alone.
    _file: File,
}

/// Who may hold a lock beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nobody.
    Exclusive,
    /// Others that also ask for [`Mode::Shared`].
    Shared,
}

impl LockFile {
    /// Takes the lock on `path` if it is free right now; `None` when somebody else has it.
    ///
    /// The file and its parent directories are created when missing.
    pub fn try_acquire(path: &Path, mode: Mode) -> Result<Option<Self>, LockError> {
        let open_error = |source| LockError::Open {
            path: path.to_owned(),
            source,
        };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(open_error)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(open_error)?;
        let locked = match mode {
            Mode::Exclusive => file.try_lock(),
            Mode::Shared => file.try_lock_shared(),
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

    /// Takes the lock on `path`, waiting up to `wait`; `what` names it in the error.
    pub fn acquire(path: &Path, mode: Mode, wait: Duration, what: &str) -> Result<Self, LockError> {
        first_of(&[path.to_owned()], mode, wait, what)
    }

    /// The file that is locked.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn first_of(
    paths: &[PathBuf],
    mode: Mode,
    wait: Duration,
    what: &str,
) -> Result<LockFile, LockError> {
    let start = Instant::now();
    loop {
        for path in paths {
            if let Some(lock) = LockFile::try_acquire(path, mode)? {
                return Ok(lock);
            }
        }
        let waited = start.elapsed();
        if waited >= wait {
            let path = paths.first().cloned().unwrap_or_default();
            return Err(LockError::Busy {
                what: what.to_owned(),
                path,
                waited,
            });
        }
        sleep(POLL.min(wait.saturating_sub(waited)));
    }
}

/// Host capacity held for one machine; dropping it gives the capacity back.
#[derive(Debug)]
pub struct Reservation {
    _lock: LockFile,
}

impl Reservation {
    /// Reserves one of `slots` places for an emulated machine, waiting up to `wait`.
    ///
    /// Single-threaded emulation keeps one host CPU busy. Guest time is host time, so machines that
    /// share a CPU would see stalls no scheduler caused: with one place per CPU, the verdicts of
    /// parallel tests are those of tests run one after another.
    pub fn emulator(lock_dir: &Path, slots: usize, wait: Duration) -> Result<Self, LockError> {
        let paths: Vec<PathBuf> = (0..slots.max(1))
            .map(|slot| lock_dir.join(format!("ktstr-emulator-{slot}.lock")))
            .collect();
        let lock = first_of(
            &paths,
            Mode::Exclusive,
            wait,
            "every emulator place of this host",
        )?;
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_excludes_and_drop_releases() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er.lock");
        let held = LockFile::try_acquire(&path, Mode::Exclusive)
            .unwrap()
            .unwrap();
        assert!(
            LockFile::try_acquire(&path, Mode::Shared)
                .unwrap()
                .is_none()
        );
        let busy = LockFile::acquire(
            &path,
            Mode::Exclusive,
            Duration::from_millis(30),
            "the thing",
        );
        assert!(matches!(busy, Err(LockError::Busy { .. })));
        drop(held);
        let one = LockFile::try_acquire(&path, Mode::Shared).unwrap().unwrap();
        let two = LockFile::try_acquire(&path, Mode::Shared).unwrap().unwrap();
        assert_eq!(one.path(), two.path());
    }

    #[test]
    fn emulators_take_no_more_than_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let none = Duration::ZERO;
        let first = Reservation::emulator(dir.path(), 2, none).unwrap();
        let _second = Reservation::emulator(dir.path(), 2, none).unwrap();
        assert!(Reservation::emulator(dir.path(), 2, none).is_err());
        drop(first);
        assert!(Reservation::emulator(dir.path(), 2, none).is_ok());
    }

    #[test]
    fn a_lock_file_that_cannot_be_made_is_named() {
        let error =
            LockFile::try_acquire(Path::new("/proc/no/such.lock"), Mode::Shared).unwrap_err();
        assert!(error.to_string().contains("/proc/no/such.lock"), "{error}");
    }
}
