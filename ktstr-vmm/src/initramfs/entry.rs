//! One entry of the description of an initramfs.

use std::path::{Component, Path, PathBuf};

/// Which part of an executable is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Pack {
    /// The part that is loaded to run it, without symbols and debug information. A debug build shrinks to a fraction,
    /// and its backtraces only show addresses.
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
    /// An ELF file with the libraries it needs, or a script with its interpreter.
    Executable {
        host: PathBuf,
        pack: Pack,
        /// Whether it may be missing, and so may what it needs.
        optional: bool,
    },
    /// A directory of the host with all that is below it.
    Tree {
        host: PathBuf,
    },
}

/// Makes `path` absolute and resolves `.` and `..` lexically; the parent of the root is the root.
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
