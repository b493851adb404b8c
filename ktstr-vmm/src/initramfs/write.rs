//! Writes the archive: newc cpio, with the same bytes for the same entries.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::error::InitramfsError;
use super::libs::Packed;

/// Maximum length of a path that the kernel unpacks, with its final NUL (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Size of a header.
const HEADER: u64 = 110;

/// The name of the last entry.
const TRAILER: &[u8] = b"TRAILER!!!";

// Types of files, as in `stat`.
const DIRECTORY: u32 = 0o040_000;
const CHAR_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// What a header says of an entry.
#[derive(Debug, Default)]
struct Header {
    ino: u32,
    mode: u32,
    nlink: u32,
    size: u32,
    rdev: (u32, u32),
}

/// Writes `entries`; a directory sorts before its contents.
pub(super) fn archive(
    entries: &BTreeMap<PathBuf, Packed>,
    out: &mut dyn Write,
) -> Result<(), InitramfsError> {
    let empty = Content::Inline(Vec::new());
    // The kernel treats files with several links and the same inode as one file; here each has one link.
    for (ino, (path, entry)) in (1..).zip(entries) {
        if path == Path::new("/") {
            continue;
        }
        let name = name(path)?;
        let mut header = Header {
            ino,
            nlink: 1,
            ..Header::default()
        };
        let of_link;
        let content = match entry {
            Packed::Directory { mode } => {
                header.mode = DIRECTORY | mode;
                header.nlink = 2;
                &empty
            }
            Packed::Symlink { target } => {
                header.mode = SYMLINK | 0o777;
                of_link = Content::Inline(target.as_os_str().as_bytes().to_vec());
                &of_link
            }
            Packed::CharDevice { major, minor, mode } => {
                header.mode = CHAR_DEVICE | mode;
                header.rdev = (*major, *minor);
                &empty
            }
            Packed::File { content, mode } => {
                header.mode = REGULAR | mode;
                content
            }
        };
        header.size = u32::try_from(content.size()).map_err(|_| InitramfsError::TooLarge {
            path: path.clone(),
            size: content.size(),
        })?;
        header.write(name, out).map_err(InitramfsError::Write)?;
        content.copy(out)?;
        pad(content.size(), out).map_err(InitramfsError::Write)?;
    }
    let trailer = Header {
        nlink: 1,
        ..Header::default()
    };
    trailer.write(TRAILER, out).map_err(InitramfsError::Write)?;
    out.flush().map_err(InitramfsError::Write)
}

impl Header {
    /// Writes it and the entry's name.
    fn write(&self, name: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let (owner, group, mtime, device, checksum) = (0, 0, 0, (0, 0), 0);
        let words = [
            self.ino,
            self.mode,
            owner,
            group,
            self.nlink,
            mtime,
            self.size,
            device.0,
            device.1,
            self.rdev.0,
            self.rdev.1,
            name.len() as u32 + 1,
            checksum,
        ];
        out.write_all(b"070701")?;
        for word in words {
            write!(out, "{word:08x}")?;
        }
        out.write_all(name)?;
        out.write_all(&[0])?;
        pad(HEADER + name.len() as u64 + 1, out)
    }
}

/// Fills up to four bytes what begins at a multiple of four and has `size` bytes.
fn pad(size: u64, out: &mut dyn Write) -> io::Result<()> {
    let missing = (size.next_multiple_of(4) - size) as usize;
    out.write_all(&[0; 3][..missing])
}

fn name(path: &Path) -> Result<&[u8], InitramfsError> {
    let refuse = |why| InitramfsError::GuestPath {
        path: path.to_owned(),
        why,
    };
    let name = path.as_os_str().as_bytes();
    let name = name.strip_prefix(b"/").unwrap_or(name);
    if name.len() >= MAX_PATH {
        return Err(refuse("it is too long"));
    }
    if name.contains(&0) {
        return Err(refuse("it holds a NUL"));
    }
    if name == TRAILER {
        return Err(refuse("it would end the archive"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use cpio::newc;
    use proptest::prelude::*;

    use super::*;

    fn written(entries: &BTreeMap<PathBuf, Packed>) -> Vec<u8> {
        let mut bytes = Vec::new();
        archive(entries, &mut bytes).unwrap();
        bytes
    }

    fn file(content: &[u8]) -> Packed {
        Packed::File {
            content: Content::Inline(content.to_vec()),
            mode: 0o644,
        }
    }

    #[test]
    fn names_are_bytes() {
        let name = b"/dir/caf\xe9 \xff\n";
        let path = PathBuf::from(OsStr::from_bytes(name));
        let bytes = written(&[(path, file(b"x"))].into());
        assert!(
            bytes
                .windows(name.len())
                .any(|part| part[..name.len() - 1] == name[1..])
        );
        for (refused, why) in [("/TRAILER!!!", "end the archive"), ("/a\0b", "NUL")] {
            let entries = [(PathBuf::from(refused), file(b""))].into();
            let error = archive(&entries, &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        /// Another implementation reads the same names, modes and contents.
        #[test]
        fn archives_are_cpio(
            files in prop::collection::btree_map("/[a-zé ]{1,9}", (prop::collection::vec(any::<u8>(), 0..9), 0..0o1000u32), 0..9)
        ) {
            let entries = files.iter().map(|(path, (content, mode))| {
                let content = Content::Inline(content.clone());
                (PathBuf::from(path), Packed::File { content, mode: *mode })
            });
            let bytes = written(&entries.collect());
            let mut rest = bytes.as_slice();
            let mut read = BTreeMap::new();
            loop {
                let mut reader = newc::Reader::new(rest).unwrap();
                if reader.entry().is_trailer() {
                    break;
                }
                let name = format!("/{}", reader.entry().name());
                let mode = reader.entry().mode() & 0o7777;
                let mut content = Vec::new();
                io::Read::read_to_end(&mut reader, &mut content).unwrap();
                read.insert(name, (content, mode));
                rest = reader.finish().unwrap();
            }
            prop_assert_eq!(read, files);
        }
    }
}
