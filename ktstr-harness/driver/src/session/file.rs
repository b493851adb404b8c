//! The file of a session, while it runs.

use std::fs;
use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::host::Host;
use ktstr_harness::dispatch::SessionInfo;

use super::error::SessionError;
use crate::cargo;

/// What the tests are told, on disk; dropping it removes it.
#[derive(Debug)]
pub(crate) struct SessionFile(PathBuf);

impl SessionFile {
    /// Writes it beside the caches of `host`, or where the locks are if there are no caches or they cannot be written.
    ///
    /// The target directory is no place for it: cargo marks one as a cache only where it makes it itself.
    pub(super) fn write(info: &SessionInfo, host: &Host) -> Result<Self, SessionError> {
        let locks = cargo::absolute(&env::lock_dir(host));
        let Some(caches) = env::cache_root(host) else {
            return Self::write_to(&locks, info);
        };
        let caches = cargo::absolute(&caches.join("sessions"));
        // Of two places that cannot be written the first is the one to tell of.
        Self::write_to(&caches, info)
            .or_else(|error| Self::write_to(&locks, info).map_err(|_| error))
    }

    fn write_to(dir: &Path, info: &SessionInfo) -> Result<Self, SessionError> {
        let written = info.write(dir).map_err(|source| SessionError::File {
            dir: dir.to_owned(),
            source,
        });
        Ok(Self(written?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SessionFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;

    #[test]
    fn it_is_where_it_can_be_written_and_goes_with_its_session() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::write(place("file"), "").unwrap();
        let session = Session::new(Host::default(), dir.path()).scheduler_profile(Some("x".into()));
        let info = session.info("1".into(), "e".into(), place("runs"), None, None);
        let info = info.unwrap();
        let write = |cache: &str, locks: &str| {
            let variables = [
                ("KTSTR_CACHE_DIR", place(cache)),
                ("KTSTR_LOCK_DIR", place(locks)),
            ];
            let host = Host::default().with_vars(variables);
            SessionFile::write(&info, &host)
        };
        for (cache, expected) in [("cache", "cache/sessions"), ("file/cache", "locks")] {
            let file = write(cache, "locks").unwrap();
            let path = file.path().to_owned();
            assert_eq!(path.parent(), Some(place(expected).as_path()));
            assert_eq!(SessionInfo::read(&path).as_ref(), Ok(&info));
            drop(file);
            assert!(!path.exists());
        }
        let error = write("file/cache", "file/locks").unwrap_err().to_string();
        let start = format!("{}: ", place("file/cache/sessions").display());
        assert!(error.starts_with(&start), "{error}");
    }
}
