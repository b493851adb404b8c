//! Source tarballs.

mod stream;
#[cfg(test)]
mod tests;
mod unpack;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ktstr_core::host::files::open_regular;
use tar::Archive;

use self::stream::{EndMark, Meter, decompressed};
use self::unpack::Fault;
#[cfg(feature = "git")]
pub(crate) use self::unpack::stays_inside;
use crate::compression::Compression;
use crate::no_space::{CACHE_HINT, is_full};
use crate::tree::{KernelTree, makefile_version};

/// Why a tarball cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It ends too early, or its bytes are wrong.
    #[error("{path}: the archive is damaged ({source}); get it again")]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What the decoder said.
        source: io::Error,
    },
    /// It could not be read.
    #[error("{path}: {source}; check the path and its permissions")]
    Read {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It has an entry that no source archive has.
    #[error(
        "{path}: entry `{entry}` {why}; do not trust this archive, get kernel sources from kernel.org or your distribution"
    )]
    Entry {
        /// The archive.
        path: PathBuf,
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is larger than any kernel source.
    #[error(
        "{path}: more than {limit}, which is more than any kernel source has; give a kernel source tarball"
    )]
    TooBig {
        /// The archive.
        path: PathBuf,
        /// What it exceeds.
        limit: &'static str,
    },
    /// It holds something else.
    #[error("{path}: it holds no kernel source tree ({why}); give a tarball of kernel sources")]
    NoTree {
        /// The archive.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// There is no room for a file of it.
    #[error("{path}: no space left on the device; free some{CACHE_HINT}")]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// A file of it could not be written.
    #[error("{path}: cannot {action}: {source}; check its permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It changed while it was read.
    #[error("{path}: it changed while it was read; try again when it is complete")]
    Changed {
        /// The archive.
        path: PathBuf,
    },
}

/// An archive of kernel sources on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tarball<'p> {
    pub(crate) path: &'p Path,
    pub(crate) compression: Compression,
}

/// The first `length` bytes of what is compressed in the file at `path`; fewer where it ends or is damaged before.
pub(crate) fn start(path: &Path, compression: Compression, length: usize) -> Vec<u8> {
    let mut start = Vec::new();
    if let Ok(file) = open_regular(path) {
        let mut ignore = |_| {};
        let mut meter = Meter::new(file, &mut ignore);
        let content = decompressed(&mut meter, compression);
        let _ = content.take(length as u64).read_to_end(&mut start);
    }
    start
}

/// The start of a Makefile is enough to know the version.
const MAKEFILE_START: u64 = 16 << 10;

impl Tarball<'_> {
    /// The version its sources declare, from the first Makefile at the top of the archive.
    ///
    /// Reads no further than there: that the rest is whole shows when it is unpacked.
    pub(crate) fn version(&self) -> Result<String, ArchiveError> {
        let mut ignore = |_| {};
        let mut meter = Meter::new(self.open()?, &mut ignore);
        let mut tar = Archive::new(decompressed(&mut meter, self.compression));
        let damaged = |source| self.read_fault(source);
        for entry in tar.entries().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let path = entry.path().map_err(damaged)?;
            let mut parts = path.components().filter(|part| part.as_os_str() != ".");
            let depth = parts.clone().count();
            if depth > 2
                || parts
                    .next_back()
                    .is_none_or(|name| name.as_os_str() != "Makefile")
            {
                continue;
            }
            let mut start = Vec::new();
            entry
                .take(MAKEFILE_START)
                .read_to_end(&mut start)
                .map_err(damaged)?;
            // Documentation/Makefile is at that depth too, where the archive has no top directory.
            if let Some(version) = makefile_version(&String::from_utf8_lossy(&start)) {
                return Ok(version);
            }
        }
        Err(self.no_tree("no Makefile at its top declares a kernel version"))
    }

    /// Unpacks it into the empty directory `dir` and returns the kernel tree in it.
    ///
    /// `sha256` is what the archive's checksum was: anything else means that it changed meanwhile.
    /// `on_read` is told how many bytes of the archive are read.
    pub(crate) fn unpack(
        &self,
        sha256: &str,
        dir: &Path,
        on_read: &mut dyn FnMut(u64),
    ) -> Result<KernelTree, ArchiveError> {
        let mut meter = Meter::new(self.open()?, on_read);
        let mut tar = Archive::new(EndMark::new(decompressed(&mut meter, self.compression)));
        unpack::unpack(&mut tar, dir).map_err(|fault| self.fault(fault))?;
        let end = tar.into_inner().finish();
        end.map_err(|source| self.read_fault(source))?;
        let found = meter.finish().map_err(|source| self.read_fault(source))?;
        if found != sha256 {
            let path = self.path.to_owned();
            return Err(ArchiveError::Changed { path });
        }
        self.tree(dir)
    }

    /// The tree in `dir`, or in the only directory there.
    fn tree(&self, dir: &Path) -> Result<KernelTree, ArchiveError> {
        let error = match KernelTree::open(dir) {
            Ok(tree) => return Ok(tree),
            Err(error) => error,
        };
        let names = fs::read_dir(dir).map_err(|source| self.read_fault(source))?;
        let paths: Vec<PathBuf> = names.flatten().map(|name| name.path()).collect();
        let error = match paths.as_slice() {
            [top] if top.is_dir() => match KernelTree::open(top) {
                Ok(tree) => return Ok(tree),
                Err(error) => error,
            },
            _ => error,
        };
        Err(self.no_tree(match &error {
            crate::TreeError::NotATree { why, .. } => why,
            crate::TreeError::Read { .. } => "it cannot be read",
            crate::TreeError::BuildDirectory { .. } => "it is what make O= built in",
        }))
    }

    fn open(&self) -> Result<File, ArchiveError> {
        File::open(self.path).map_err(|source| ArchiveError::Read {
            path: self.path.to_owned(),
            source,
        })
    }

    fn no_tree(&self, why: &str) -> ArchiveError {
        ArchiveError::NoTree {
            path: self.path.to_owned(),
            why: why.to_owned(),
        }
    }

    /// The system says why a file cannot be read; all else is about the bytes in it.
    fn read_fault(&self, source: io::Error) -> ArchiveError {
        let path = self.path.to_owned();
        if source.raw_os_error().is_some() {
            return ArchiveError::Read { path, source };
        }
        ArchiveError::Damaged { path, source }
    }

    fn fault(&self, fault: Fault) -> ArchiveError {
        let path = self.path.to_owned();
        match fault {
            Fault::Read(source) => self.read_fault(source),
            Fault::Entry(entry, why) => ArchiveError::Entry { path, entry, why },
            Fault::TooBig(limit) => ArchiveError::TooBig { path, limit },
            Fault::Write(path, _, source) if is_full(&source) => ArchiveError::NoSpace { path },
            Fault::Write(path, action, source) => ArchiveError::Write {
                path,
                action,
                source,
            },
        }
    }
}
