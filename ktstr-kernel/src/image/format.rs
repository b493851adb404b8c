//! What files are.

use std::path::Path;

use super::ImageError;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// A bzImage for x86-64, with its release.
    BzImage(String),
    /// A 64-bit ELF file for x86-64; whether it is a kernel shows its content.
    Elf64,
    /// A kernel for another machine: its name.
    OtherMachine(String),
    /// Something else that is known: what it is, and what to do with it.
    NotAKernel(&'static str, &'static str),
    /// Nothing that is known.
    Unknown,
}

/// What to do with a file that cannot be used.
pub(super) const GIVE: &str = "give a bzImage, an ELF vmlinux, a source tree or a source tarball";

impl Format {
    /// Why a file of this format cannot be booted, where it is not an x86-64 kernel.
    pub(crate) fn error(self, path: &Path) -> ImageError {
        let path = path.to_owned();
        let (what, advice) = match self {
            Self::OtherMachine(found) => return ImageError::Architecture { path, found },
            Self::NotAKernel(what, advice) => (what, advice),
            Self::BzImage(_) | Self::Elf64 | Self::Unknown => {
                ("neither a kernel image nor a source archive", GIVE)
            }
        };
        ImageError::NotAKernel { path, what, advice }
    }
}
