//! Why a file is not a kernel image for machines here.

use std::io;
use std::path::PathBuf;

/// A file that is not a kernel image for machines here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be read.
    #[error("kernel {path}: {source}; give the path of a bzImage or vmlinux")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "kernel {path}: not a bzImage and not an ELF file; give arch/x86/boot/bzImage or vmlinux"
    )]
    NotAKernel {
        /// The file.
        path: PathBuf,
    },
    /// The kernel is for another architecture.
    #[error(
        "kernel {path}: built for {arch}, and machines here are x86-64; build it with ARCH=x86_64"
    )]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// The architecture it was built for.
        arch: String,
    },
    /// An ELF kernel that cannot be entered directly.
    #[error("kernel {path}: an ELF file without a PVH entry; set CONFIG_PVH=y or give the bzImage")]
    NoPvhEntry {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early.
    #[error("kernel {path}: the file is cut short; build or copy it again")]
    Truncated {
        /// The file.
        path: PathBuf,
    },
}
