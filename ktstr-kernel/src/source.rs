//! Telling apart what lies on disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::image::{ImageError, ImageInfo};
use crate::tree::{KernelTree, TreeError};

/// How a source tarball is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.tar`
    None,
    /// `.tar.gz`
    Gzip,
    /// `.tar.xz`
    Xz,
    /// `.tar.zst`
    Zstd,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalSource {
    /// A directory with kernel sources.
    Tree(KernelTree),
    /// An archive; whether of kernel sources shows when it is unpacked.
    Tarball {
        /// Where it is; absolute.
        path: PathBuf,
        /// How it is packed.
        compression: Compression,
    },
    /// A kernel image.
    Image {
        /// Where it is; absolute.
        path: PathBuf,
        /// What it says of itself.
        info: ImageInfo,
    },
}

/// A path that leads to no kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is nothing.
    #[error("{path}: {source}; give an existing source tree, source tarball or image")]
    Missing {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An archive of a kind that is not read.
    #[error("{path}: a {what} archive; repack it as .tar.xz, .tar.gz or .tar.zst")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Its kind.
        what: &'static str,
    },
    /// A directory, but not of kernel sources.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file, but no image.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl LocalSource {
    /// Looks at what `path` leads to: by content, whatever its name.
    pub fn identify(path: &Path) -> Result<Self, SourceError> {
        let missing = |source| SourceError::Missing {
            path: path.to_owned(),
            source,
        };
        let real = fs::canonicalize(path).map_err(missing)?;
        let metadata = fs::metadata(&real).map_err(missing)?;
        if metadata.is_dir() {
            return Ok(Self::Tree(KernelTree::open(&real)?));
        }
        if !metadata.is_file() {
            return Err(missing(io::Error::other("neither a file nor a directory")));
        }
        let mut start = Vec::new();
        File::open(&real)
            .and_then(|file| file.take(512).read_to_end(&mut start))
            .map_err(missing)?;
        let archive = |what| SourceError::Archive {
            path: real.clone(),
            what,
        };
        let compression = match start.as_slice() {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', ..] => return Err(archive("bzip2")),
            [b'P', b'K', 3, 4, ..] => return Err(archive("zip")),
            _ if start.get(257..262) == Some(b"ustar") => Compression::None,
            _ => {
                let info = ImageInfo::read(&real)?;
                return Ok(Self::Image { path: real, info });
            }
        };
        Ok(Self::Tarball {
            path: real,
            compression,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let dir = tempfile::tempdir().unwrap();
        let identify = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            LocalSource::identify(&path)
        };
        assert!(matches!(
            identify("odd.name", b"\xfd7zXZ\0..."),
            Ok(LocalSource::Tarball {
                compression: Compression::Xz,
                ..
            })
        ));
        let error = identify("a.tar.bz2", b"BZh91AY").unwrap_err().to_string();
        assert!(error.contains("bzip2"), "{error}");
        let error = identify("a.tar.xz", b"not xz").unwrap_err().to_string();
        assert!(error.contains("neither a kernel image"), "{error}");
        let error = LocalSource::identify(&dir.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("give an existing"), "{error}");
        let error = LocalSource::identify(Path::new("/dev/null")).unwrap_err();
        assert!(error.to_string().contains("neither a file"), "{error}");
    }
}
