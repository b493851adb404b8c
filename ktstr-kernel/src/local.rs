//! What a path leads to: a source tree, a source tarball or an image, told apart by content.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::compression::Compression;
#[cfg(feature = "build")]
use crate::image::{Format, SETUP_BYTES, identify};
use crate::image::{ImageError, ImageInfo};
use crate::text::quoted;
use crate::tree::{KernelTree, TreeError};

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalSource {
    /// A directory with kernel sources.
    Tree(KernelTree),
    /// An archive; whether it holds kernel sources shows when it is unpacked.
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

/// Why a path leads to neither a kernel nor its sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It does not exist, or is neither a file nor a directory.
    #[error("{path}: {source}; give an existing source tree, source tarball or image")]
    Missing {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is an archive in a format that is not supported.
    #[error("{path}: a {what} archive; repack it as .tar.xz, .tar.gz or .tar.zst")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Its kind.
        what: &'static str,
    },
    /// It is a compressed file that has to be unpacked first.
    #[error(
        "{path}: {what}; unpack it and give that: {tool} -dc {} > {}",
        quoted(path),
        quoted(&unpacked(path))
    )]
    Compressed {
        /// The file.
        path: PathBuf,
        /// What it is, in one clause.
        what: String,
        /// The program that unpacks it.
        tool: &'static str,
    },
    /// It is a compressed file that holds something else.
    #[error(
        "{path}: compressed by {tool}, and neither a source tarball nor a kernel image is in it; give one of those, or a source tree"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The program that packed it.
        tool: &'static str,
    },
    /// It is a directory, but not of kernel sources.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It is a file, but not an image.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl LocalSource {
    /// Identifies what `path` leads to by its content, whatever its name.
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
        let (compression, tool) = match start.as_slice() {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => (Compression::Xz, "xz"),
            [0x1f, 0x8b, ..] => (Compression::Gzip, "gzip"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => (Compression::Zstd, "zstd"),
            [b'B', b'Z', b'h', ..] => return Err(not_read(real, "bzip2")),
            // Frames, and the older form that the kernel's own build makes.
            [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => {
                return Err(not_read(real, "lz4"));
            }
            [0x89, b'L', b'Z', b'O', 0, ..] => return Err(not_read(real, "lzop")),
            [0x5d, 0, 0, ..] => return Err(not_read(real, "lzma")),
            [b'P', b'K', 3, 4, ..] => {
                let what = "zip";
                return Err(SourceError::Archive { path: real, what });
            }
            _ if is_tar(&start) => {
                let compression = Compression::None;
                return Ok(Self::Tarball {
                    path: real,
                    compression,
                });
            }
            _ => {
                let info = ImageInfo::read(&real)?;
                return Ok(Self::Image { path: real, info });
            }
        };
        look_inside(&real, compression, tool)?;
        Ok(Self::Tarball {
            path: real,
            compression,
        })
    }
}

fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// A compressed file that is not looked into: what it is called has to do.
fn not_read(path: PathBuf, tool: &'static str) -> SourceError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_archive = name.contains(".tar.")
        || [".tbz", ".tbz2", ".tlz"]
            .iter()
            .any(|end| name.ends_with(end));
    if is_archive {
        return SourceError::Archive { path, what: tool };
    }
    let what = format!("compressed by {tool}, which is not read here");
    SourceError::Compressed { path, what, tool }
}

/// Makes sure that there may be a source archive in a compressed file. One that is damaged is told of when it is unpacked.
#[cfg(feature = "build")]
fn look_inside(
    path: &Path,
    compression: Compression,
    tool: &'static str,
) -> Result<(), SourceError> {
    let start = crate::archive::start(path, compression, SETUP_BYTES);
    if start.len() < 512 || is_tar(&start) {
        return Ok(());
    }
    let path = path.to_owned();
    match identify(&start) {
        Format::BzImage(_) | Format::Elf64 => {
            let what = format!("a kernel image compressed by {tool}");
            Err(SourceError::Compressed { path, what, tool })
        }
        Format::Unknown => Err(SourceError::Foreign { path, tool }),
        other => Err(other.error(&path).into()),
    }
}

/// Without the `build` feature nothing is unpacked.
#[cfg(not(feature = "build"))]
#[expect(clippy::unnecessary_wraps, reason = "as where archives are read")]
fn look_inside(_: &Path, _: Compression, _: &'static str) -> Result<(), SourceError> {
    Ok(())
}

/// What to call the content of a compressed file.
fn unpacked(path: &Path) -> PathBuf {
    const ENDS: [&str; 7] = ["gz", "xz", "zst", "bz2", "lz4", "lzo", "lzma"];
    let end = path.extension().unwrap_or_default();
    if ENDS.iter().any(|known| end == *known) {
        return path.with_extension("");
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".unpacked");
    name.into()
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
        for (name, bytes, part) in [
            (
                "vmlinux.bz2",
                b"BZh91AY".as_slice(),
                "compressed by bzip2, which is not read here; unpack it and give that: bzip2 -dc ",
            ),
            ("vmlinux.lz4", b"\x02\x21\x4c\x18...", "lz4 -dc "),
            ("vmlinux.lz4", b"\x04\x22\x4d\x18...", "lz4 -dc "),
            ("vmlinux.lzo", b"\x89LZO\0\r\n\x1a\n", "lzop -dc "),
            ("vmlinux.lzma", b"\x5d\0\0\x80", "lzma -dc "),
            (
                "linux.tar.lzma",
                b"\x5d\0\0\x80",
                "a lzma archive; repack it as .tar.xz",
            ),
            ("linux.tar", b"07070100", "an initramfs"),
        ] {
            let error = identify(name, bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = identify("a.tar.xz", b"not xz").unwrap_err().to_string();
        assert!(error.contains("neither a kernel image"), "{error}");
        let error = LocalSource::identify(&dir.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("give an existing"), "{error}");
        let error = LocalSource::identify(Path::new("/dev/null")).unwrap_err();
        assert!(error.to_string().contains("neither a file"), "{error}");
    }

    #[cfg(feature = "build")]
    #[test]
    fn compressed_kernels_are_told_with_what_unpacks_them() {
        use std::process::Command;

        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let bzimage = crate::bz_image::bz_image("6.12.9");
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(18, 0);
        elf.extend([62, 0]);
        elf.resize(4096, 0);
        let mut arm64 = vec![0; 4096];
        arm64[0x38..0x3c].copy_from_slice(b"ARM\x64");
        let cpio = [b"070701".as_slice(), &[b'0'; 1000]].concat();
        let kernel = "a kernel image compressed by";
        for (content, said) in [
            (bzimage, kernel),
            (elf, kernel),
            (arm64, "a kernel for arm64, and only x86_64"),
            (cpio, "an initramfs (a cpio archive), not a kernel"),
            (
                vec![b'x'; 1000],
                "neither a source tarball nor a kernel image is in it",
            ),
        ] {
            for (tool, end) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
                fs::write(path("a file"), &content).unwrap();
                let packed = path(&format!("a file.{end}"));
                let file = File::create(&packed).unwrap();
                let mut pack = Command::new(tool);
                let pack = pack.arg("-c").arg(path("a file")).stdout(file);
                assert!(pack.status().unwrap().success());
                let error = LocalSource::identify(&packed).unwrap_err().to_string();
                assert!(error.contains(said), "{error}");
                let Some((_, command)) = error.split_once("give that: ") else {
                    assert_ne!(said, kernel, "{error}");
                    continue;
                };
                // What is advised works.
                fs::remove_file(path("a file")).unwrap();
                let ran = Command::new("sh").arg("-c").arg(command).status();
                assert!(ran.unwrap().success(), "{command}");
                assert_eq!(fs::read(path("a file")).unwrap(), content, "{command}");
            }
        }
    }
}
