//! Where a source tree is built.
//!
//! Beside the tree, in a directory of the cache (`make O=`): the tree stays as it is, and may be read-only. A tree that
//! has a `.config` or a build of its own is one that make refuses to build elsewhere: there it is built in place, and what
//! the user has in it stays as far as make lets it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ktstr_core::host::files::temporary_beside;

use super::config::CONFIG;
use crate::cache::Cache;
use crate::error::Error;

/// Where objects and kernel go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BuildDir {
    /// Into a tree that is there for this build alone.
    Scratch(PathBuf),
    /// Into a tree of the user's.
    InTree(PathBuf),
    /// Into a directory of the cache.
    Beside(PathBuf),
}

/// Our configuration in a tree of the user's, where `.config` is the user's.
const CONFIG_IN_TREE: &str = ".config.ktstr-build";

/// What `make O=` takes for a build in the tree itself, and refuses to build elsewhere.
const TRACES: &[&str] = &[CONFIG, "include/config", "arch/x86/include/generated"];

impl BuildDir {
    /// Where `tree`, which is absolute, is built.
    pub(crate) fn of(tree: &Path, cache: &Cache) -> Self {
        if TRACES.iter().any(|name| tree.join(name).exists()) {
            Self::InTree(tree.to_owned())
        } else {
            Self::Beside(cache.build_dir(tree))
        }
    }

    /// The directory that make builds in.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Scratch(dir) | Self::InTree(dir) | Self::Beside(dir) => dir,
        }
    }

    /// What make is given as `O=`.
    pub(crate) fn out(&self) -> Option<&Path> {
        match self {
            Self::Beside(dir) => Some(dir),
            Self::Scratch(_) | Self::InTree(_) => None,
        }
    }

    /// The name of the configuration in it.
    pub(crate) fn config(&self) -> &'static str {
        match self {
            Self::InTree(_) => CONFIG_IN_TREE,
            Self::Scratch(_) | Self::Beside(_) => CONFIG,
        }
    }

    /// Makes it, or finds out at once that nothing can be built in it.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let dir = self.path();
        if let Self::Beside(_) = self {
            Error::check_cache_path(dir)?;
            return fs::create_dir_all(dir).map_err(|error| Error::io(dir, "make", error));
        }
        let probe = temporary_beside(&dir.join(".ktstr-probe"));
        let made = File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
        made.map_err(|source| Error::ReadOnlyTree {
            tree: dir.to_owned(),
            source,
        })
    }

    /// Has the next build in the tree, whosever it is, look at its configuration: what is between them, make would not
    /// see, as it looks at times alone. `name` is whose turn it is not.
    pub(crate) fn outdate(&self, name: &str) {
        if let Self::InTree(dir) = self {
            let file = File::options().append(true).open(dir.join(name));
            let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
        }
    }
}

/// Removes the build directories of trees that are no more.
pub(crate) fn sweep(cache: &Cache) {
    for dir in cache.builds() {
        // The kernel's own link to what it was built from.
        let Ok(tree) = fs::read_link(dir.join("source")) else {
            continue;
        };
        if tree.is_absolute() && !tree.exists() && cache.build_dir(&tree) == dir {
            let _ = cache.remove_build(&dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tree_that_make_refuses_is_built_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        for (number, trace) in TRACES.iter().enumerate() {
            let tree = dir.path().join(format!("tree {number}"));
            fs::create_dir(&tree).unwrap();
            let beside = BuildDir::of(&tree, &cache);
            assert_eq!(beside.out(), Some(&*cache.build_dir(&tree)));
            assert!(!beside.path().to_string_lossy().contains(' '), "{beside:?}");
            beside.prepare().unwrap();
            fs::create_dir_all(tree.join(trace)).unwrap();
            let inside = BuildDir::of(&tree, &cache);
            assert_eq!((inside.out(), inside.path()), (None, &*tree));
            inside.prepare().unwrap();
        }
        let odd = BuildDir::Beside(dir.path().join("a:b"));
        assert!(
            odd.prepare()
                .unwrap_err()
                .to_string()
                .contains("KTSTR_CACHE_DIR")
        );
    }

    #[test]
    fn what_was_built_of_a_tree_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let cache = Cache::new(dir.join("cache"));
        let build = |name: &str| {
            let tree = dir.join(name);
            fs::create_dir_all(&tree).unwrap();
            let out = cache.build_dir(&tree);
            fs::create_dir_all(&out).unwrap();
            std::os::unix::fs::symlink(&tree, out.join("source")).unwrap();
            (tree, out)
        };
        let ((_, kept), (gone, old), (busy, built)) = (build("kept"), build("gone"), build("busy"));
        fs::create_dir_all(cache.locks_dir()).unwrap();
        for tree in [&gone, &busy] {
            fs::remove_dir(tree).unwrap();
        }
        let lock = File::create(cache.tree_lock(&busy)).unwrap();
        lock.try_lock().unwrap();
        sweep(&cache);
        assert!(kept.exists() && built.exists() && !old.exists());
        assert_eq!(cache.builds().len(), 2);
        assert!(!cache.remove_build(&built).unwrap());
        drop(lock);
        sweep(&cache);
        assert!(!built.exists());
        assert!(cache.remove_build(&kept).unwrap());
        assert!(cache.builds().is_empty());
    }
}
