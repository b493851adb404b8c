//! The locks of a project and this host: where they are, and who holds them.

use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::host::{HeldLocksError, Host, LockPlaces, LockStatus, held_locks};
use serde::Serialize;

use crate::Session;

/// Who holds which lock: the document that `cargo ktstr locks --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocksReport {
    /// Directory of the locks of last-level caches, CPUs and emulator places.
    pub lock_dir: PathBuf,
    /// Directory of the locks of the kernel cache; `None` where the environment names no cache.
    pub cache_locks: Option<PathBuf>,
    /// Directory of the locks of run directories; `None` outside of a cargo project.
    pub run_locks: Option<PathBuf>,
    /// Every lock there, held or free, by kind, number and name.
    pub locks: Vec<LockStatus>,
}

impl LocksReport {
    /// Looks at the locks in `places`, of which it takes none; see [`lock_places`].
    pub fn read(places: &LockPlaces, host: &Host) -> Result<Self, HeldLocksError> {
        Ok(Self {
            locks: held_locks(places, &host.root)?,
            lock_dir: places.lock_dir.clone(),
            cache_locks: places.cache.clone(),
            run_locks: places.runs.clone(),
        })
    }
}

/// Where ktstr's locks are, by the environment of `host` and the cargo project around `dir`, which cargo is asked for.
pub fn lock_places(host: &Host, dir: &Path) -> LockPlaces {
    let runs = match env::path(host, env::SIDECAR_DIR) {
        Some(dir) => dir.parent().map(Path::to_owned),
        None => Session::new(host.clone(), dir).runs_dir(),
    };
    let locks = |dir: PathBuf| dir.join(".locks");
    LockPlaces {
        lock_dir: env::lock_dir(host),
        cache: env::cache_root(host).map(locks),
        runs: runs.map(locks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_where_locks_are() {
        let mut host = Host::of_this_process();
        host.env.clear();
        let mut host = host.with_vars([
            ("KTSTR_LOCK_DIR", "/l"),
            ("KTSTR_CACHE_DIR", "/c"),
            ("KTSTR_SIDECAR_DIR", "/runs/one"),
        ]);
        let places = lock_places(&host, Path::new("/"));
        assert_eq!(places.lock_dir, PathBuf::from("/l"));
        assert_eq!(places.cache, Some("/c/.locks".into()));
        assert_eq!(places.runs, Some("/runs/.locks".into()));
        host.env.clear();
        let places = lock_places(&host, Path::new("/"));
        assert_eq!(places.lock_dir, PathBuf::from("/tmp"));
        assert_eq!((places.cache, places.runs), (None, None));
    }
}
