//! Where the locks of a project and this host are.

use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::host::{Host, LockPlaces};

use crate::Session;

/// Where ktstr's locks are, by the environment of `host` and the cargo project around `dir`: what
/// [`ktstr_core::host::held_locks`] looks at.
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
