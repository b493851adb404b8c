//! Directories of the host with all that is below them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::special_kind;

use super::content::read_error;
use super::error::InitramfsError;

/// Most levels of directories: far more than a path of the longest length that people use.
const MAX_DEPTH: usize = 128;

/// Most entries of a tree. Each takes the guest's kernel some time, and its memory.
const MAX_ENTRIES: usize = 200_000;

/// Something in a tree.
#[derive(Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its path below the tree's root; empty for the root.
    pub below: PathBuf,
    /// What it is.
    pub kind: TreeEntryKind,
}

/// What an entry of a tree is.
#[derive(Debug, PartialEq, Eq)]
pub enum TreeEntryKind {
    /// A directory, whose contents are entries of their own.
    Directory {
        /// Its permissions.
        mode: u32,
    },
    /// A link, which is not followed.
    Symlink {
        /// Where it leads.
        target: PathBuf,
    },
    /// A file.
    File {
        /// Its permissions.
        mode: u32,
    },
}

/// Lists the directory `root` and all that is below it, in the order of paths; a directory comes before its contents.
///
/// Symbolic links are not followed, so that the walk stays inside and ends. What is neither a file, a directory nor a
/// link is refused.
pub fn walk_tree(root: &Path) -> Result<Vec<TreeEntry>, InitramfsError> {
    let mut found = Vec::new();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((below, depth)) = open.pop() {
        let dir = root.join(&below);
        let error = || read_error(&dir);
        let mode = fs::metadata(&dir).map_err(error())?.permissions().mode() & 0o7777;
        for entry in fs::read_dir(&dir).map_err(error())? {
            let entry = entry.map_err(error())?;
            let below = below.join(entry.file_name());
            let kind = entry.file_type().map_err(error())?;
            if kind.is_dir() {
                if depth == MAX_DEPTH {
                    return Err(too_large(&entry.path(), "it lies too deep"));
                }
                open.push((below, depth + 1));
                continue;
            }
            let path = entry.path();
            let kind = if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(read_error(&path))?;
                TreeEntryKind::Symlink { target }
            } else if kind.is_file() {
                let metadata = entry.metadata().map_err(read_error(&path))?;
                let mode = metadata.permissions().mode() & 0o7777;
                TreeEntryKind::File { mode }
            } else {
                return Err(InitramfsError::Special {
                    kind: special_kind(kind),
                    path,
                });
            };
            found.push(TreeEntry { below, kind });
        }
        let kind = TreeEntryKind::Directory { mode };
        found.push(TreeEntry { below, kind });
        if found.len() + open.len() > MAX_ENTRIES {
            return Err(too_large(root, "it has more than 200,000 entries"));
        }
    }
    found.sort_by(|a, b| a.below.cmp(&b.below));
    Ok(found)
}

fn too_large(path: &Path, why: &'static str) -> InitramfsError {
    InitramfsError::TooMany {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn links_are_kept_and_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("in")).unwrap();
        symlink("..", root.join("in/up")).unwrap();
        symlink("/", root.join("out")).unwrap();
        symlink("nothing", root.join("broken")).unwrap();
        let found = walk_tree(root).unwrap();
        let names: Vec<_> = found.iter().map(|f| f.below.to_str().unwrap()).collect();
        assert_eq!(names, ["", "broken", "in", "in/up", "out"]);
        let target = |index: usize| match &found[index].kind {
            TreeEntryKind::Symlink { target } => target.to_str().unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!([target(1), target(3), target(4)], ["nothing", "..", "/"]);
    }

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("talk");
        let _listener = UnixListener::bind(&socket).unwrap();
        let error = walk_tree(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{} is a socket", socket.display())),
            "{error}"
        );
        fs::remove_file(&socket).unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let error = walk_tree(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{} is a named pipe", pipe.display())),
            "{error}"
        );
    }

    #[test]
    fn depth_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let deep: PathBuf = (0..=MAX_DEPTH).map(|_| "d").collect();
        fs::create_dir_all(dir.path().join(deep)).unwrap();
        let error = walk_tree(dir.path()).unwrap_err().to_string();
        assert!(error.contains("it lies too deep"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A directory comes before all that is below it, and nothing comes twice.
        #[test]
        fn every_parent_comes_first(paths in prop::collection::btree_set("[a-c](/[a-c]){0,3}", 0..12)) {
            let dir = tempfile::tempdir().unwrap();
            for path in &paths {
                fs::create_dir_all(dir.path().join(path)).unwrap();
                fs::write(dir.path().join(path).join("f"), path).unwrap();
            }
            let found = walk_tree(dir.path()).unwrap();
            for (index, one) in found.iter().enumerate() {
                let before = &found[..index];
                prop_assert!(before.iter().all(|b| b.below != one.below));
                if let Some(parent) = one.below.parent() {
                    prop_assert!(before.iter().any(|b| b.below == parent));
                }
            }
            let files = found.iter().filter(|f| matches!(f.kind, TreeEntryKind::File { .. })).count();
            prop_assert_eq!(files, paths.len());
        }
    }
}
