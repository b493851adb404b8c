//! Errors of building an initramfs.

use std::io;
use std::path::PathBuf;

/// An initramfs that could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitramfsError {
    /// A file to pack cannot be read.
    #[error("initramfs: {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file to pack is not a regular file.
    #[error(
        "initramfs: {path} is not a regular file; name a file, or make a directory with directory()"
    )]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// Something in a directory to pack is neither a file, a directory nor a symbolic link.
    #[error("initramfs: {path} is a {kind}; leave it out, or name files instead of its directory")]
    Special {
        /// Its path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A directory to pack holds more than an initramfs should.
    #[error("initramfs: {path}: {why}; name parts of it")]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// What there is too much of.
        why: &'static str,
    },
    /// A file was written to while it was packed.
    #[error("initramfs: {path} changed while it was packed; try again once nothing writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The archive does not fit into the cache, and is too large to be kept in memory.
    #[error("{why}; {mib} MiB are too much to keep in memory instead")]
    NoSpace {
        /// Why not in the cache.
        why: String,
        /// Size of the archive in MiB.
        mib: u64,
    },
    /// A guest path cannot be written into an archive.
    #[error("initramfs: guest path {path:?}: {why}; choose another")]
    GuestPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file is too large for the archive format.
    #[error("initramfs: {path} is {size} bytes; a file in an initramfs holds less than 4 GiB")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// An executable or library cannot be parsed.
    #[error("initramfs: {path}: {why}; build it again for x86-64 Linux")]
    BadElf {
        /// The executable or library.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A library is not found.
    #[error(
        "initramfs: {needed_by} needs {library}, which is not where its loader looks; install it"
    )]
    MissingLibrary {
        /// Name of the library.
        library: String,
        /// The executable or library that needs it.
        needed_by: PathBuf,
    },
    /// The cache cannot be used.
    #[error(
        "initramfs cache {path}: {source}; check that the cache directory can be written and has space"
    )]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache's lock could not be taken.
    #[error(transparent)]
    Lock(#[from] ktstr_core::host::LockError),
    /// The archive could not be written.
    #[error("initramfs: writing the archive: {0}; check the space left")]
    Write(io::Error),
}
