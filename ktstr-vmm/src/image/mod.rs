//! Kernel images: detects the format of a file, and whether machines can boot it.
//!
//! ```no_run
//! use ktstr_vmm::image::{Image, ImageFormat};
//!
//! let image = Image::inspect("arch/x86/boot/bzImage".as_ref())?;
//! assert_eq!(image.format, ImageFormat::BzImage);
//! # Ok::<(), ktstr_vmm::image::ImageError>(())
//! ```

mod bz_image;
mod elf;
mod error;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use error::ImageError;

/// A kernel image that machines can boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
}

/// The formats of kernel images that machines can boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// The compressed image with a boot sector, `arch/x86/boot/bzImage`.
    BzImage,
    /// The uncompressed `vmlinux` with a PVH entry.
    Elf,
}

impl Image {
    /// Checks the file at `path` by its headers; the kernel itself is not read.
    pub fn inspect(path: &Path) -> Result<Self, ImageError> {
        let unreadable = |source| ImageError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut head = vec![0; 4096.min(size as usize)];
        file.read_exact_at(&mut head, 0).map_err(unreadable)?;
        let format = if head.starts_with(b"\x7fELF") {
            elf::check(path, &file, size, &head)?;
            ImageFormat::Elf
        } else {
            bz_image::check(path, size, &head)?;
            ImageFormat::BzImage
        };
        Ok(Self {
            path: path.to_owned(),
            format,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::bz_image::{
        BOOT_FLAG, HEADER_MAGIC, SETUP_SECTS, SYSSIZE, XLF_KERNEL_64, XLOADFLAGS,
    };
    use super::*;

    const EM_X86_64: u16 = 62;
    const PT_NOTE: u8 = 4;

    fn inspect(bytes: &[u8]) -> Result<ImageFormat, ImageError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Image::inspect(file.path()).map(|image| image.format)
    }

    fn bz_image() -> Vec<u8> {
        let mut image = vec![0; 4096];
        image[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[XLOADFLAGS] = XLF_KERNEL_64;
        image[SETUP_SECTS] = 1;
        image[SYSSIZE] = 128;
        image
    }

    fn vmlinux(machine: u16, note_kind: u8) -> Vec<u8> {
        let mut image = vec![0; 200];
        image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        image[18..20].copy_from_slice(&machine.to_le_bytes());
        image[32] = 64;
        image[54] = 56;
        image[56] = 1;
        image[64] = PT_NOTE;
        image[72] = 120;
        image[96] = 24;
        image[120] = 4;
        image[124] = 8;
        image[128] = note_kind;
        image[132..136].copy_from_slice(b"Xen\0");
        image
    }

    #[test]
    fn kernels_are_told_from_other_files() {
        assert_eq!(inspect(&bz_image()).unwrap(), ImageFormat::BzImage);
        assert_eq!(inspect(&vmlinux(EM_X86_64, 18)).unwrap(), ImageFormat::Elf);
        assert!(matches!(
            inspect(&vmlinux(EM_X86_64, 17)),
            Err(ImageError::NoPvhEntry { .. })
        ));
        assert!(matches!(inspect(b""), Err(ImageError::NotAKernel { .. })));
        assert!(matches!(
            inspect(b"#!/bin/sh\n"),
            Err(ImageError::NotAKernel { .. })
        ));
        assert!(matches!(
            Image::inspect(Path::new("/no/such/kernel")),
            Err(ImageError::Unreadable { .. })
        ));
        assert!(matches!(
            Image::inspect(Path::new("/")),
            Err(ImageError::Unreadable { .. })
        ));
    }

    #[test]
    fn other_architectures_are_named() {
        let error = inspect(&vmlinux(183, 18)).unwrap_err().to_string();
        assert!(error.contains("arm64"), "{error}");
        let mut arm = vec![0; 4096];
        arm[56..60].copy_from_slice(b"ARM\x64");
        assert!(inspect(&arm).unwrap_err().to_string().contains("arm64"));
        let mut old = bz_image();
        old[XLOADFLAGS] = 0;
        let error = inspect(&old).unwrap_err().to_string();
        assert!(error.contains("32-bit x86"), "{error}");
    }

    #[test]
    fn cut_files_are_told() {
        assert!(matches!(
            inspect(&bz_image()[..3000]),
            Err(ImageError::Truncated { .. })
        ));
        for length in [4, 7, 16, 40, 100] {
            assert!(matches!(
                inspect(&vmlinux(EM_X86_64, 18)[..length]),
                Err(ImageError::Truncated { .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn damaged_headers_never_panic(
            elf in any::<bool>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        ) {
            let mut image = if elf { vmlinux(EM_X86_64, 18) } else { bz_image() };
            for (at, byte) in damage {
                let at = at.index(image.len());
                image[at] = byte;
            }
            let _ = inspect(&image);
        }
    }
}
