//! The least that is a kernel image, for tests that need its version and do not boot it.
//!
//! It is a file of its own, without any other, so that tests of other crates can have it by `#[path]`.

/// A file that says in its setup header (the kernel's Documentation/arch/x86/boot.rst) that it is a 64-bit bzImage of
/// Linux `version`.
pub(crate) fn bz_image(version: &str) -> Vec<u8> {
    let mut image = vec![0; 0x600];
    // boot_flag, header, version: protocol 2.15.
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    // kernel_version counts from 0x200.
    image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    // xloadflags: XLF_KERNEL_64.
    image[0x236..0x238].copy_from_slice(&1_u16.to_le_bytes());
    image[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
    image
}
