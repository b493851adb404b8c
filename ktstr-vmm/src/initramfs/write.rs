//! Writes the archive: newc cpio, with the same bytes for the same entries.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cpio::newc::{self, ModeFileType};

use super::error::InitramfsError;
use super::libs::Packed;

/// Maximum length of a path that the kernel unpacks, with its final NUL (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Writes `entries`; a directory sorts before its contents.
pub(super) fn archive(
    entries: &BTreeMap<PathBuf, Packed>,
    out: &mut dyn Write,
) -> Result<(), InitramfsError> {
    let mut out = out;
    // The kernel treats files with several links and the same inode as one file; here each has one link.
    for (ino, (path, entry)) in (1..).zip(entries) {
        if path == Path::new("/") {
            continue;
        }
        let name = name(path)?;
        let header = newc::Builder::new(name).ino(ino).mtime(0).nlink(1);
        let (header, content): (_, &[u8]) = match entry {
            Packed::Directory { mode } => (
                header
                    .nlink(2)
                    .mode(*mode)
                    .set_mode_file_type(ModeFileType::Directory),
                &[],
            ),
            Packed::Symlink { target } => (
                header.mode(0o777).set_mode_file_type(ModeFileType::Symlink),
                target.as_os_str().as_bytes(),
            ),
            Packed::CharDevice { major, minor, mode } => (
                header
                    .mode(*mode)
                    .set_mode_file_type(ModeFileType::Char)
                    .rdev_major(*major)
                    .rdev_minor(*minor),
                &[],
            ),
            Packed::File { content, mode } => (
                header.mode(*mode).set_mode_file_type(ModeFileType::Regular),
                content,
            ),
        };
        let size = u32::try_from(content.len()).map_err(|_| InitramfsError::TooLarge {
            path: path.clone(),
            size: content.len() as u64,
        })?;
        let write = || -> io::Result<()> {
            let mut writer = header.write(&mut out, size);
            writer.write_all(content)?;
            writer.finish()?;
            Ok(())
        };
        write().map_err(InitramfsError::Write)?;
    }
    newc::trailer(&mut out).map_err(InitramfsError::Write)?;
    out.flush().map_err(InitramfsError::Write)
}

fn name(path: &Path) -> Result<&str, InitramfsError> {
    let refuse = |why| InitramfsError::GuestPath {
        path: path.to_owned(),
        why,
    };
    let name = path.to_str().ok_or_else(|| refuse("it is not UTF-8"))?;
    let name = name.trim_start_matches('/');
    if name.len() >= MAX_PATH {
        return Err(refuse("it is too long"));
    }
    if name.contains('\0') {
        return Err(refuse("it holds a NUL"));
    }
    Ok(name)
}
