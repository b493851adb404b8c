//! Locks of builds.
//!
//! [`ktstr_core::lock`] is for locks that one process holds. A build is many processes, and may outlive this one for a
//! moment: [`TreeLock`] lends its file, so that all of them hold the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::host::{LockError, LockFile, LockHolder, LockMode, lock_holders};

/// How long to sleep between two tries: short against any build.
const POLL: Duration = Duration::from_millis(50);

/// Takes the lock at `path`. Where another process holds it, calls `waiting` once, with the holder where it can be seen.
pub(crate) fn exclusive(
    path: &Path,
    what: &str,
    wait: Duration,
    waiting: impl FnOnce(Option<&LockHolder>),
) -> Result<LockFile, LockError> {
    if let Some(lock) = LockFile::try_acquire(path, LockMode::Exclusive)? {
        return Ok(lock);
    }
    waiting(holder(path).as_ref());
    LockFile::acquire(path, LockMode::Exclusive, wait, what)
}

fn holder(path: &Path) -> Option<LockHolder> {
    let holders = lock_holders(path, Path::new("/")).ok()?;
    holders.into_iter().next()
}

/// The lock of a source tree that is being built.
#[derive(Debug)]
pub(crate) struct TreeLock {
    file: File,
}

impl TreeLock {
    /// As [`exclusive`].
    pub(crate) fn acquire(
        path: &Path,
        what: &str,
        wait: Duration,
        waiting: impl FnOnce(Option<&LockHolder>),
    ) -> Result<Self, LockError> {
        let open_error = |source: io::Error| LockError::Open {
            path: path.to_owned(),
            source,
        };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(open_error)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(open_error)?;
        let start = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::Error(error)) => return Err(open_error(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if let Some(waiting) = waiting.take() {
                waiting(holder(path).as_ref());
            }
            let waited = start.elapsed();
            if waited >= wait {
                return Err(LockError::Busy {
                    what: what.to_owned(),
                    path: path.to_owned(),
                    waited,
                });
            }
            sleep(POLL);
        }
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}
