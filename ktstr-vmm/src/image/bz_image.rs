//! The compressed image: the header of the Linux/x86 boot protocol (Documentation/arch/x86/boot.rst).

use std::path::Path;

use super::error::ImageError;

pub(super) const BOOT_FLAG: usize = 0x1fe;
pub(super) const HEADER_MAGIC: usize = 0x202;
pub(super) const XLOADFLAGS: usize = 0x236;
pub(super) const XLF_KERNEL_64: u8 = 1;
pub(super) const SETUP_SECTS: usize = 0x1f1;
pub(super) const SYSSIZE: usize = 0x1f4;

/// Checks the file at `path`, which has `size` bytes and begins with `head`.
pub(super) fn check(path: &Path, size: u64, head: &[u8]) -> Result<(), ImageError> {
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
    let syssize = u64::from(u32::from_le_bytes(
        *head[SYSSIZE..].first_chunk().unwrap_or(&[0; 4]),
    ));
    if (setup_sectors + 1) * 512 + syssize * 16 > size {
        return Err(ImageError::Truncated { path });
    }
    Ok(())
}
