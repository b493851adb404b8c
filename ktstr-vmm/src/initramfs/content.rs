//! The content of packed files, and what identifies it.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::open_regular;
use serde::{Deserialize, Serialize};

use super::error::InitramfsError;
use super::{elf, path_text};

/// The content of a packed file.
#[derive(Debug)]
pub(super) enum Content {
    Inline(Vec<u8>),
    Host(HostContent),
}

/// A file of the host, which is copied when the archive is written: it may be larger than memory.
#[derive(Debug)]
pub(super) struct HostContent {
    pub(super) input: Input,
    /// How many bytes of it are packed.
    pub(super) size: u64,
    /// Whether its ELF header is packed without its sections.
    pub(super) without_sections: bool,
}

/// A host file, as it was when its description was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Input {
    #[serde(with = "path_text")]
    pub(super) path: PathBuf,
    /// Device, inode, size, modification and change time; `None` if there is no such file.
    stat: Option<[i128; 7]>,
}

impl Input {
    pub(super) fn of(path: &Path) -> Self {
        Self::new(path, fs::metadata(path).ok().as_ref())
    }

    pub(super) fn new(path: &Path, metadata: Option<&Metadata>) -> Self {
        let stat = |m: &Metadata| {
            [
                i128::from(m.dev()),
                i128::from(m.ino()),
                i128::from(m.size()),
                i128::from(m.mtime()),
                i128::from(m.mtime_nsec()),
                i128::from(m.ctime()),
                i128::from(m.ctime_nsec()),
            ]
        };
        Self {
            path: path.to_owned(),
            stat: metadata.map(stat),
        }
    }

    /// Whether the file is still the same, without a look at its content.
    pub(super) fn holds(&self) -> bool {
        *self == Self::of(&self.path)
    }
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Host(host) => host.size,
        }
    }

    /// Writes all of it.
    pub(super) fn copy(&self, out: &mut dyn Write) -> Result<(), InitramfsError> {
        match self {
            Self::Inline(bytes) => out.write_all(bytes).map_err(InitramfsError::Write),
            Self::Host(host) => host.copy(out),
        }
    }
}

impl HostContent {
    fn copy(&self, out: &mut dyn Write) -> Result<(), InitramfsError> {
        let path = &self.input.path;
        let mut file = open_regular(path).map_err(read_error(path))?;
        self.check(&file)?;
        let mut left = self.size;
        if self.without_sections {
            let mut header = [0; elf::HEADER];
            file.read_exact(&mut header).map_err(read_error(path))?;
            elf::drop_sections(&mut header);
            out.write_all(&header).map_err(InitramfsError::Write)?;
            left -= header.len() as u64;
        }
        copy_exactly(&file, out, left).map_err(|error| match error {
            CopyError::Read(source) => read_error(path)(source),
            CopyError::Short => self.changed(),
            CopyError::Write(source) => InitramfsError::Write(source),
        })?;
        self.check(&file)
    }

    /// Fails where the file is not the one that was looked at.
    fn check(&self, file: &File) -> Result<(), InitramfsError> {
        let path = &self.input.path;
        let metadata = file.metadata().map_err(read_error(path))?;
        if Input::new(path, Some(&metadata)) == self.input {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn changed(&self) -> InitramfsError {
        InitramfsError::Changed {
            path: self.input.path.clone(),
        }
    }
}

enum CopyError {
    Read(io::Error),
    Short,
    Write(io::Error),
}

/// Copies `left` bytes. Unlike `io::copy`, it tells which side failed.
fn copy_exactly(mut from: &File, out: &mut dyn Write, mut left: u64) -> Result<(), CopyError> {
    let mut buffer = vec![0; left.min(256 << 10) as usize];
    while left > 0 {
        let want = left.min(buffer.len() as u64) as usize;
        match from.read(&mut buffer[..want]) {
            Ok(0) => return Err(CopyError::Short),
            Ok(count) => {
                out.write_all(&buffer[..count]).map_err(CopyError::Write)?;
                left -= count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
    Ok(())
}

pub(super) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> InitramfsError {
    let path = path.to_owned();
    move |source| InitramfsError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn paths_that_are_not_text_are_recorded_as_they_are() {
        for name in [&b"plain"[..], b"caf\xe9 \xff", "ünïcode".as_bytes()] {
            let input = Input::new(Path::new(OsStr::from_bytes(name)), None);
            let json = serde_json::to_vec(&input).unwrap();
            assert_eq!(serde_json::from_slice::<Input>(&json).unwrap(), input);
        }
    }
}
