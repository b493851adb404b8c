//! The archive of an exported test: a compressed tar file with test binary, scheduler and include files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use ktstr_core::host::files::open_regular;
use ktstr_vmm::CancelToken;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header, HeaderMode};

use super::script::Archive;
use super::{ExportError, file_error};
use crate::TestMachine;

/// Where the test finds its include files.
const INCLUDE_DIR: &str = "include-files";

/// Where the files of the scheduler are.
const SCHEDULER_DIR: &str = "scheduler";

/// The files of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    files: Vec<Item>,
    include_files: usize,
}

/// A file, what it is, and its path in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    what: &'static str,
    host: PathBuf,
    path: PathBuf,
}

impl Content {
    /// What the case `found` needs; `program` is that of its scheduler.
    pub(super) fn of(found: &TestMachine, program: Option<&Path>) -> Result<Self, ExportError> {
        let item = |what, host: &Path, path: PathBuf| Item {
            what,
            host: host.to_owned(),
            path,
        };
        let mut files = vec![item("test binary", &found.binary, "test-binary".into())];
        let of_scheduler = |name: &str| Path::new(SCHEDULER_DIR).join(name);
        if let Some(program) = program {
            files.push(item("scheduler", program, of_scheduler("program")));
        }
        let scheduler = found.machine.scheduler.as_ref();
        if let Some(config) = scheduler.and_then(|scheduler| scheduler.config_file.as_ref()) {
            files.push(item("config_file", config, of_scheduler("config")));
        }
        // The guest finds them by their names alone.
        let mut names: BTreeMap<OsString, &PathBuf> = BTreeMap::new();
        for file in &found.machine.include_files {
            let refused = |why: &str| Err(file_error("extra_include_files", file, why));
            let Some(name) = file.file_name() else {
                return refused("has no file name");
            };
            if file.is_dir() {
                return refused("is a directory; name the files in it");
            }
            match names.insert(name.to_owned(), file) {
                Some(other) if other == file => {}
                Some(_) => return refused("another include file has this name; rename one"),
                None => files.push(item(
                    "extra_include_files",
                    file,
                    Path::new(INCLUDE_DIR).join(name),
                )),
            }
        }
        let include_files = names.len();
        Ok(Self {
            files,
            include_files,
        })
    }

    pub(super) fn include_files(&self) -> usize {
        self.include_files
    }

    /// Writes the archive to `to`.
    pub(super) fn write(
        &self,
        to: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Result<Archive, ArchiveError> {
        let counted = Counted {
            to,
            cancel,
            bytes: 0,
            hash: Sha256::new(),
        };
        // A debug build of a test is 100 MB: better compression takes longer than copying what it saves.
        let mut tar = Builder::new(GzEncoder::new(counted, Compression::fast()));
        for dir in [SCHEDULER_DIR, INCLUDE_DIR] {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            tar.append_data(&mut header, dir, io::empty())?;
        }
        let mut unpacked_bytes = 0;
        for Item { what, host, path } in &self.files {
            let failed = |error: io::Error| {
                ArchiveError::File(file_error(
                    what,
                    host,
                    format!("{error}; build it, or fix the path"),
                ))
            };
            let mut file = open_regular(host).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            let mut header = Header::new_gnu();
            // Mode 644 or 755, no owner: the same files make the same archive.
            header.set_metadata_in_mode(&metadata, HeaderMode::Deterministic);
            header.set_size(metadata.len());
            unpacked_bytes += metadata.len();
            tar.append_data(&mut header, path, &mut file)?;
        }
        let Counted { bytes, hash, .. } = tar.into_inner()?.finish()?;
        Ok(Archive {
            bytes,
            unpacked_bytes,
            sha256: format!("{:x}", hash.finalize()),
        })
    }
}

/// An archive that could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// A file of it cannot be read.
    #[error(transparent)]
    File(ExportError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Counts and hashes what is written, until it is cancelled.
struct Counted<'w> {
    to: &'w mut dyn Write,
    cancel: &'w CancelToken,
    bytes: u64,
    hash: Sha256,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
