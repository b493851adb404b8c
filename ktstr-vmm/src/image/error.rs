//! Errors of kernel images.

use std::io;
use std::path::PathBuf;

/// A file that is not a kernel image that machines can boot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be read.
    #[error("kernel {path}: {source}; give the path of a bzImage or vmlinux")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file has neither format of kernel images.
    #[error(
        "kernel {path}: not a bzImage and not an ELF file; give arch/x86/boot/bzImage or vmlinux"
    )]
    NotAKernel {
        /// The file.
        path: PathBuf,
    },
    /// The kernel is for another architecture.
    #[error(
        "kernel {path}: built for {arch}, and only x86_64 is supported; build it with ARCH=x86_64"
    )]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// The architecture it was built for.
        arch: String,
    },
    /// The ELF kernel lacks the entry point of the PVH boot protocol.
    #[error("kernel {path}: an ELF file without a PVH entry; set CONFIG_PVH=y or give the bzImage")]
    NoPvhEntry {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter than its header says.
    #[error("kernel {path}: the file is truncated; build or copy it again")]
    Truncated {
        /// The file.
        path: PathBuf,
    },
}
