//! Kernel images: which kind a file is, and whether a machine here can boot it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
}

/// Formats of kernels that boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// The compressed image with a boot sector, `arch/x86/boot/bzImage`.
    BzImage,
    /// The uncompressed `vmlinux` with a PVH entry.
    Elf,
}

/// A file that is no kernel for this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be read.
    #[error("kernel {path}: {source}; give the path of a bzImage or vmlinux")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "kernel {path}: not a bzImage and not an ELF file; give arch/x86/boot/bzImage or vmlinux"
    )]
    NotAKernel {
        /// The file.
        path: PathBuf,
    },
    /// The kernel is for other processors.
    #[error(
        "kernel {path}: built for {arch}, and machines here are x86-64; build it with ARCH=x86_64"
    )]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// What it was built for.
        arch: String,
    },
    /// An ELF kernel that cannot be entered directly.
    #[error("kernel {path}: an ELF file without a PVH entry; set CONFIG_PVH=y or give the bzImage")]
    NoPvhEntry {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early.
    #[error("kernel {path}: the file is cut short; build or copy it again")]
    Truncated {
        /// The file.
        path: PathBuf,
    },
}

// The Linux/x86 boot protocol (Documentation/arch/x86/boot.rst).
const BOOT_FLAG: usize = 0x1fe;
const HEADER_MAGIC: usize = 0x202;
const XLOADFLAGS: usize = 0x236;
const XLF_KERNEL_64: u8 = 1;
const SETUP_SECTS: usize = 0x1f1;
const SYSSIZE: usize = 0x1f4;

// ELF.
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// `XEN_ELFNOTE_PHYS32_ENTRY`: where a PVH kernel is entered.
const PHYS32_ENTRY: u32 = 18;
/// Notes of real kernels take a few hundred bytes.
const MAX_NOTES: u64 = 1 << 20;

impl Image {
    /// Looks at the file's headers.
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
            elf(path, &file, size, &head)?;
            ImageFormat::Elf
        } else {
            bz_image(path, size, &head)?;
            ImageFormat::BzImage
        };
        Ok(Self {
            path: path.to_owned(),
            format,
        })
    }
}

fn bz_image(path: &Path, size: u64, head: &[u8]) -> Result<(), ImageError> {
    let path = path.to_owned();
    // Kernels of other architectures have signatures of their own.
    let foreign = [(56, &b"ARM\x64"[..], "arm64"), (56, b"RSC\x05", "riscv")];
    for (at, magic, arch) in foreign {
        if head.get(at..at + magic.len()) == Some(magic) {
            let arch = arch.to_owned();
            return Err(ImageError::WrongArchitecture { path, arch });
        }
    }
    let is_linux = head.get(BOOT_FLAG..BOOT_FLAG + 2) == Some(&[0x55, 0xaa])
        && head.get(HEADER_MAGIC..HEADER_MAGIC + 4) == Some(b"HdrS");
    if !is_linux || head.len() <= XLOADFLAGS {
        return Err(ImageError::NotAKernel { path });
    }
    if head[XLOADFLAGS] & XLF_KERNEL_64 == 0 {
        let arch = "32-bit x86".to_owned();
        return Err(ImageError::WrongArchitecture { path, arch });
    }
    let setup_sectors = match head[SETUP_SECTS] {
        0 => 4, // The protocol's default.
        sectors => u64::from(sectors),
    };
    let syssize = u64::from(u32_at(head, SYSSIZE).unwrap_or(0));
    if (setup_sectors + 1) * 512 + syssize * 16 > size {
        return Err(ImageError::Truncated { path });
    }
    Ok(())
}

fn elf(path: &Path, file: &File, size: u64, head: &[u8]) -> Result<(), ImageError> {
    let truncated = || ImageError::Truncated {
        path: path.to_owned(),
    };
    let machine = u16_at(head, 18).ok_or_else(truncated)?;
    // Class and byte order come first: they say how to read the rest.
    if head[4] != 2 || head[5] != 1 || machine != EM_X86_64 {
        let arch = match (head[4], u16_at(head, 18)) {
            (_, Some(3)) => "32-bit x86".to_owned(),
            (_, Some(183)) => "arm64".to_owned(),
            (_, Some(243)) => "riscv".to_owned(),
            (_, machine) => format!("ELF machine {}", machine.unwrap_or(0)),
        };
        let path = path.to_owned();
        return Err(ImageError::WrongArchitecture { path, arch });
    }
    let table = u64_at(head, 32).ok_or_else(truncated)?;
    let entry_size = u16_at(head, 54).ok_or_else(truncated)?;
    let count = u16_at(head, 56).ok_or_else(truncated)?;
    if entry_size < 56 {
        return Err(truncated());
    }
    let mut has_entry = false;
    for index in 0..u64::from(count) {
        let mut entry = [0; 56];
        let at = table
            .checked_add(index * u64::from(entry_size))
            .ok_or_else(truncated)?;
        file.read_exact_at(&mut entry, at)
            .map_err(|_| truncated())?;
        let kind = u32_at(&entry, 0).unwrap_or(0);
        let offset = u64_at(&entry, 8).unwrap_or(0);
        let in_file = u64_at(&entry, 32).unwrap_or(0);
        match kind {
            PT_LOAD | PT_NOTE if offset.checked_add(in_file).is_none_or(|end| end > size) => {
                return Err(truncated());
            }
            PT_NOTE => {
                let mut notes = vec![0; in_file.min(MAX_NOTES) as usize];
                file.read_exact_at(&mut notes, offset)
                    .map_err(|_| truncated())?;
                has_entry |= has_pvh_note(&notes);
            }
            _ => {}
        }
    }
    if has_entry {
        Ok(())
    } else {
        let path = path.to_owned();
        Err(ImageError::NoPvhEntry { path })
    }
}

fn has_pvh_note(mut notes: &[u8]) -> bool {
    while let (Some(name_len), Some(desc_len), Some(kind)) =
        (u32_at(notes, 0), u32_at(notes, 4), u32_at(notes, 8))
    {
        let padded = |len: u32| (len as usize).next_multiple_of(4);
        let name = notes
            .get(12..)
            .and_then(|rest| rest.get(..name_len as usize));
        if kind == PHYS32_ENTRY && name == Some(b"Xen\0") {
            return true;
        }
        let Some(rest) = notes.get(12 + padded(name_len) + padded(desc_len)..) else {
            return false;
        };
        notes = rest;
    }
    false
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[18..20].copy_from_slice(&machine.to_le_bytes());
        image[32] = 64;
        image[54] = 56;
        image[56] = 1;
        image[64] = PT_NOTE as u8;
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
        assert!(matches!(
            inspect(&vmlinux(EM_X86_64, 18)[..100]),
            Err(ImageError::Truncated { .. })
        ));
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
