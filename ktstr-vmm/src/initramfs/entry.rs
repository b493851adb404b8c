//! One entry of an initramfs, as it is described.

use std::path::{Component, Path, PathBuf};

/// How much of an executable is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Pack {
    /// What is loaded to run it. Symbols and debug information stay behind: a debug build shrinks to a
    /// fraction, and its backtraces show addresses only.
    #[default]
    Loadable,
    /// The whole file.
    Whole,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    Directory {
        mode: u32,
    },
    Symlink {
        target: PathBuf,
    },
    CharDevice {
        major: u32,
        minor: u32,
        mode: u32,
    },
    Inline {
        content: Vec<u8>,
        mode: u32,
    },
    File {
        host: PathBuf,
        mode: u32,
    },
    /// An ELF file or a script, with the libraries it needs.
    Executable {
        host: PathBuf,
        pack: Pack,
    },
}

/// Makes `path` absolute and resolves `.` and `..` in it by its letters alone; the root's parent is the root.
pub(super) fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}
