//! Kernel images: what a file is, and the release of the kernel in it.

mod bzimage;
mod elf;
mod format;
mod identify;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ktstr_core::host::files::open_regular;

#[cfg(feature = "build")]
pub(crate) use self::bzimage::SETUP_BYTES;
pub(crate) use self::format::Format;
use self::format::GIVE;
pub(crate) use self::identify::identify;

/// What kind of file a kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// The compressed image with a setup header that boot loaders take.
    BzImage,
    /// The ELF kernel itself.
    Elf,
}

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// What kind of file it is.
    pub kind: ImageKind,
    /// Its release, as `uname -r` would say it.
    pub version: String,
}

/// Why a file cannot be booted as a kernel.
#[derive(Debug, thiserror::Error)]
#[error("{}; {}", self.problem(), self.advice())]
#[non_exhaustive]
pub enum ImageError {
    /// It is for other machines.
    Architecture {
        /// The image.
        path: PathBuf,
        /// What it is for.
        found: String,
    },
    /// It is something else.
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Its end is missing.
    CutShort {
        /// The image.
        path: PathBuf,
        /// How large it is, bytes.
        size: u64,
        /// How large it is at least where it is whole, bytes.
        expected: u64,
    },
    /// It could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ImageError {
    /// What is wrong, without what to do.
    pub(crate) fn problem(&self) -> String {
        match self {
            Self::Architecture { path, found } => {
                let path = path.display();
                format!("{path}: a kernel for {found}, and only x86_64 is supported")
            }
            Self::NotAKernel { path, what, .. } => format!("{}: {what}", path.display()),
            Self::CutShort {
                path,
                size,
                expected,
            } => format!(
                "{}: a kernel image that is cut short ({size} bytes, its header says {expected})",
                path.display()
            ),
            Self::Read { path, source } => format!("{}: {source}", path.display()),
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Architecture { .. } => "give a bzImage or vmlinux for x86_64",
            Self::NotAKernel { advice, .. } => advice,
            Self::CutShort { .. } => "get it again",
            Self::Read { .. } => "check the path and its permissions",
        }
    }
}

impl ImageInfo {
    /// Reads the image at `path`. Its content decides, whatever its name.
    pub fn read(path: &Path) -> Result<Self, ImageError> {
        let read_error = |source| ImageError::Read {
            path: path.to_owned(),
            source,
        };
        let mut file = open_regular(path).map_err(read_error)?;
        let size = file.metadata().map_err(read_error)?.len();
        let mut start = Vec::new();
        file.by_ref()
            .take(bzimage::SETUP_BYTES as u64)
            .read_to_end(&mut start)
            .map_err(read_error)?;
        let format = identify(&start);
        let expected = match format {
            Format::BzImage(_) => bzimage::image_size(&start),
            Format::Elf64 => elf::size(&start),
            _ => None,
        };
        if let Some(expected) = expected.filter(|expected| size < *expected) {
            let path = path.to_owned();
            return Err(ImageError::CutShort {
                path,
                size,
                expected,
            });
        }
        match format {
            Format::BzImage(version) => Ok(Self {
                kind: ImageKind::BzImage,
                version,
            }),
            Format::Elf64 => {
                let banner = elf::find_banner(start, &mut file).map_err(read_error)?;
                banner
                    .map(|version| Self {
                        kind: ImageKind::Elf,
                        version,
                    })
                    .ok_or_else(|| ImageError::NotAKernel {
                        path: path.to_owned(),
                        what: "an ELF file, but not a kernel (it has no `Linux version` text)",
                        advice: GIVE,
                    })
            }
            other => Err(other.error(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bz_image::bz_image;
    use proptest::prelude::*;
    use std::io::Write;

    fn bzimage(version: &str, xloadflags: u16) -> Vec<u8> {
        let mut image = bz_image(version);
        image[0x236..0x238].copy_from_slice(&xloadflags.to_le_bytes());
        image
    }

    fn elf(class: u8, machine: u16, tail: &[u8]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', class, 1];
        file.resize(18, 0);
        file.extend(machine.to_le_bytes());
        file.extend(tail);
        file
    }

    fn efi(machine: u16) -> Vec<u8> {
        let mut file = b"MZ".to_vec();
        file.resize(0x3c, 0);
        file.extend(0x40_u32.to_le_bytes());
        file.extend(b"PE\0\0");
        file.extend(machine.to_le_bytes());
        file
    }

    fn read(bytes: &[u8]) -> Result<ImageInfo, ImageError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        ImageInfo::read(file.path())
    }

    #[test]
    fn a_bzimage_tells_its_release() {
        let info = read(&bzimage("6.12.117 (root@host) #1 SMP", 1)).unwrap();
        assert_eq!(info.kind, ImageKind::BzImage);
        assert_eq!(info.version, "6.12.117");
    }

    #[test]
    fn a_vmlinux_tells_its_release_wherever_the_banner_is() {
        for padding in [0, 100, (1 << 20) - 10, 3 << 20] {
            let mut tail = vec![b'x'; padding];
            tail.extend(b"Linux version %s\0Linux version 7.0.1-rc2+ (gcc)\0");
            let info = read(&elf(2, 62, &tail)).unwrap();
            assert_eq!(info.kind, ImageKind::Elf);
            assert_eq!(info.version, "7.0.1-rc2+", "padding {padding}");
        }
    }

    #[test]
    fn foreign_and_broken_files_are_named() {
        let mut arm64 = vec![0; 64];
        arm64[0x38..0x3c].copy_from_slice(b"ARM\x64");
        let mut cut = bzimage("6.12.117 x", 1);
        cut.truncate(0x280);
        for (bytes, part) in [
            (bzimage("6.1", 0), "32-bit x86"),
            (arm64, "arm64"),
            (elf(2, 183, b""), "arm64"),
            (elf(1, 3, b""), "32-bit x86"),
            (elf(2, 62, b"nothing"), "not a kernel"),
            (cut, "cut short"),
            (b"\x7fELF".to_vec(), "cut short"),
            (Vec::new(), "empty"),
            (b"hello".to_vec(), "neither"),
            (b"\x27\x05\x19\x56...".to_vec(), "a U-Boot image"),
            (b"070701...".to_vec(), "an initramfs"),
            (b"!<arch>\ndebian-binary".to_vec(), "dpkg-deb -x"),
            (b"\xed\xab\xee\xdb".to_vec(), "rpm2cpio"),
            (efi(0x8664), "--only-section=.linux"),
            (
                efi(0xaa64),
                "a kernel for arm64, and only x86_64 is supported",
            ),
        ] {
            let message = read(&bytes).unwrap_err().to_string();
            assert!(message.contains(part), "{part}: {message}");
        }
        let missing = ImageInfo::read(Path::new("/no/such/bzImage")).unwrap_err();
        assert!(missing.to_string().contains("/no/such/bzImage"));
    }

    #[test]
    fn an_image_whose_end_is_missing_is_told() {
        let whole = |mut image: Vec<u8>| {
            // 5 sectors of setup, then 16 times so many bytes.
            image[0x1f1] = 4;
            image[0x1f4..0x1f8].copy_from_slice(&0x200_u32.to_le_bytes());
            image.resize(5 * 512 + 0x2000, 0);
            image
        };
        let image = whole(bzimage("6.12.117 x", 1));
        assert_eq!(read(&image).unwrap().version, "6.12.117");
        let cut = &image[..image.len() - 1];
        let message = read(cut).unwrap_err().to_string();
        let said = "a kernel image that is cut short (10751 bytes, its header says 10752)";
        assert!(message.contains(said), "{message}");

        // One segment of 0x100 bytes behind the headers, and the banner in it.
        let mut vmlinux = elf(2, 62, b"");
        vmlinux.resize(64 + 56, 0);
        vmlinux[32] = 64;
        vmlinux[52] = 64;
        vmlinux[54] = 56;
        vmlinux[56] = 1;
        vmlinux[64 + 8] = 64 + 56;
        vmlinux[64 + 32 + 1] = 1;
        vmlinux.extend(b"Linux version 6.12.117 (gcc)\0");
        vmlinux.resize(64 + 56 + 0x100, 0);
        assert_eq!(read(&vmlinux).unwrap().version, "6.12.117");
        let message = read(&vmlinux[..vmlinux.len() - 1]).unwrap_err();
        assert!(message.to_string().contains("cut short"), "{message}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..1200),
            kind in 0..3,
        ) {
            if kind == 1 && bytes.len() >= 0x210 {
                bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
                bytes[0x202..0x206].copy_from_slice(b"HdrS");
            } else if kind == 2 && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(b"\x7fELF");
            }
            let _ = (identify(&bytes), elf::size(&bytes), bzimage::image_size(&bytes));
        }
    }
}
