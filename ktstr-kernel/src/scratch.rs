//! Scratch directories of builds.
//!
//! The owner holds a lock on the directory itself. The directory that a killed owner leaves is not locked, and [`sweep`]
//! removes it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::temporary_beside;
use rustix::fs::{Mode, OFlags, open};

/// A directory of its own for one build; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    lock: File,
}

impl Scratch {
    /// Makes one in `parent`, with `name` in its name.
    pub(crate) fn new(parent: &Path, name: &str) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        // Taken names are leftovers of a process that had our id.
        for _ in 0..64 {
            let path = temporary_beside(&parent.join(name));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // A sweep may come between: then the directory is about to be removed.
            match lock(&path) {
                Ok(Some(lock)) => return Ok(Self { path, lock }),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock that shows that it is in use.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes every directory in `parent` that no living process owns.
pub(crate) fn sweep(parent: &Path) {
    for item in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = item.path();
        if let Ok(Some(_lock)) = lock(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Locks the directory `path`; `None` where another process has locked or just removed it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    // Anything else is not ours, and a pipe would keep us waiting.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = File::from(open(path, flags, Mode::empty())?);
    match dir.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let (ours, there) = (dir.metadata()?, fs::symlink_metadata(path)?);
    let same = (ours.dev(), ours.ino()) == (there.dev(), there.ino());
    Ok((same && there.is_dir()).then_some(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_owns_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let owned = Scratch::new(parent.path(), "a").unwrap();
        fs::write(owned.path().join("file"), "").unwrap();
        let left = parent.path().join(".b.1-0.tmp");
        fs::create_dir_all(left.join("deep/er")).unwrap();
        sweep(parent.path());
        assert!(owned.path().join("file").exists());
        assert!(!left.exists());
        let path = owned.path().to_owned();
        drop(owned);
        assert!(!path.exists());
    }
}
