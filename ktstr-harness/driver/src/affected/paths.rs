//! Paths of a repository: below its root, with neither `.` nor `..` in them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// `path` without `.` and `..`. A `..` at the root stays there.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// `relative` from the directory `from` of the repository on; `None` where that leads out of the repository.
pub(super) fn join(from: &Path, relative: &Path) -> Option<PathBuf> {
    let mut joined = from.to_owned();
    for part in relative.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !joined.pop() {
                    return None;
                }
            }
            Component::Normal(part) => joined.push(part),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(joined)
}

/// A path that git printed.
pub(super) fn of_git(bytes: &[u8]) -> PathBuf {
    // A directory that is a repository of its own ends in a slash.
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The last part of `path`; empty where there is none.
pub(super) fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}
