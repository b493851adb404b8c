//! The archive of an exported test: a compressed tar file with test binary, scheduler and include files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use ktstr_core::host::files::open_regular;
use ktstr_vmm::CancelToken;
use ktstr_vmm::initramfs::{TreeEntryKind, walk_tree};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header, HeaderMode};

use super::script::Archive;
use super::{ExportError, file_error};
use crate::TestMachine;

/// Where the test finds its include files.
const INCLUDE_DIR: &str = "include-files";

/// Where the files of the scheduler are.
const SCHEDULER_DIR: &str = "scheduler";

/// Where the programs of the test are.
const PROGRAMS_DIR: &str = "programs";

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
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    /// A symbolic link, and where it leads.
    Link(PathBuf),
}

impl Content {
    /// What the case `found` needs; `program` is that of its scheduler, and `programs` are its own, in their order.
    pub(super) fn of(
        found: &TestMachine,
        program: Option<&Path>,
        programs: &[PathBuf],
    ) -> Result<Self, ExportError> {
        let item = |what, host: &Path, path: PathBuf| Item {
            what,
            host: host.to_owned(),
            path,
            kind: Kind::File,
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
        for (of, program) in found.machine.programs.iter().zip(programs) {
            files.push(item(
                "program",
                program,
                Path::new(PROGRAMS_DIR).join(&of.name),
            ));
        }
        // The guest finds them by their names alone.
        let mut names: BTreeMap<OsString, &PathBuf> = BTreeMap::new();
        for file in &found.machine.include_files {
            let refused = |why: &str| Err(file_error("extra_include_files", file, why));
            let Some(name) = file.file_name() else {
                return refused("has no file name");
            };
            match names.insert(name.to_owned(), file) {
                Some(other) if other == file => {}
                Some(_) => return refused("another include file has this name; rename one"),
                None if file.is_dir() => {
                    tree(file, &Path::new(INCLUDE_DIR).join(name), &mut files)?;
                }
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
        for dir in [SCHEDULER_DIR, INCLUDE_DIR, PROGRAMS_DIR] {
            append_directory(&mut tar, Path::new(dir))?;
        }
        let mut unpacked_bytes = 0;
        for Item {
            what,
            host,
            path,
            kind,
        } in &self.files
        {
            match kind {
                Kind::File => {}
                Kind::Directory => {
                    append_directory(&mut tar, path)?;
                    continue;
                }
                Kind::Link(target) => {
                    let mut header = Header::new_gnu();
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, path, target)?;
                    continue;
                }
            }
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

fn append_directory(tar: &mut Builder<impl Write>, path: &Path) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    tar.append_data(&mut header, path, io::empty())
}

/// Adds a directory and what is in it. Links in it stay links.
fn tree(host: &Path, path: &Path, files: &mut Vec<Item>) -> Result<(), ExportError> {
    const WHAT: &str = "extra_include_files";
    let found = walk_tree(host).map_err(|error| file_error(WHAT, host, error.to_string()))?;
    files.extend(found.into_iter().map(|entry| Item {
        what: WHAT,
        host: host.join(&entry.below),
        // The directory itself has no path below it, which would end in a slash.
        path: if entry.below.as_os_str().is_empty() {
            path.to_owned()
        } else {
            path.join(&entry.below)
        },
        kind: match entry.kind {
            TreeEntryKind::Directory { .. } => Kind::Directory,
            TreeEntryKind::Symlink { target } => Kind::Link(target),
            TreeEntryKind::File { .. } => Kind::File,
        },
    }));
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn directories_are_taken_whole_and_links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("empty")).unwrap();
        fs::create_dir(data.join("b")).unwrap();
        fs::write(data.join("b/file"), "x").unwrap();
        symlink("b/file", data.join("link")).unwrap();
        symlink("..", data.join("circle")).unwrap();
        let mut files = Vec::new();
        tree(&data, Path::new("include-files/data"), &mut files).unwrap();
        let told: Vec<(&str, &Kind)> = files
            .iter()
            .map(|item| (item.path.to_str().unwrap(), &item.kind))
            .collect();
        assert_eq!(
            told,
            [
                ("include-files/data", &Kind::Directory),
                ("include-files/data/b", &Kind::Directory),
                ("include-files/data/b/file", &Kind::File),
                ("include-files/data/circle", &Kind::Link("..".into())),
                ("include-files/data/empty", &Kind::Directory),
                ("include-files/data/link", &Kind::Link("b/file".into())),
            ]
        );
        let error = tree(&dir.path().join("none"), Path::new("x"), &mut files).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
