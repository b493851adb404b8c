//! What a file is, by its first bytes.

use super::bzimage::{self, SetupHeader};
use super::elf;
use super::format::{Format, GIVE};

/// Magic numbers of kernels for other machines: Documentation/arch/{arm64,riscv,loongarch} of the kernel, and the header of
/// EFI's zboot.
const OTHER_MACHINES: &[(usize, &[u8], &str)] = &[
    (0x38, b"ARM\x64", "arm64"),
    (0x38, b"RSC\x05", "riscv"),
    (0x24, b"\x18\x28\x6f\x01", "32-bit arm"),
    (
        0x04,
        b"zimg",
        "an EFI zboot machine (arm64, riscv or loongarch)",
    ),
];

/// First bytes of files that hold a kernel or come with one, what they are, and what to do with them.
const NOT_KERNELS: &[(&[u8], &str, &str)] = &[
    (b"\x27\x05\x19\x56", "a U-Boot image (uImage)", GIVE),
    (
        b"\xd0\x0d\xfe\xed",
        "a device tree or a U-Boot FIT image",
        GIVE,
    ),
    (b"ANDROID!", "an Android boot image", GIVE),
    (
        b"07070",
        "an initramfs (a cpio archive), not a kernel",
        GIVE,
    ),
    (
        b"!<arch>\n",
        "a Debian package or an ar archive",
        "unpack it (dpkg-deb -x PACKAGE DIR) and give its boot/vmlinuz-VERSION",
    ),
    (
        b"\xed\xab\xee\xdb",
        "an RPM package",
        "unpack it (rpm2cpio PACKAGE | cpio -idm) and give the vmlinuz in it",
    ),
    (b"QFI\xfb", "a disk image", GIVE),
];

/// Identifies a file by its first [`SETUP_BYTES`](bzimage::SETUP_BYTES) bytes, or all of it where it is shorter.
pub(crate) fn identify(start: &[u8]) -> Format {
    match bzimage::setup_header(start) {
        SetupHeader::Version(version) => return Format::BzImage(version),
        SetupHeader::ThirtyTwoBit => return Format::OtherMachine("32-bit x86".to_owned()),
        SetupHeader::Truncated => {
            return Format::NotAKernel("a bzImage that is cut short", "get it again");
        }
        SetupHeader::Absent => {}
    }
    let at = |offset: usize, magic: &[u8]| start.get(offset..offset + magic.len()) == Some(magic);
    if at(0, b"\x7fELF") {
        return elf::identify(start);
    }
    let mut others = OTHER_MACHINES.iter();
    if let Some((_, _, name)) = others.find(|(offset, magic, _)| at(*offset, magic)) {
        return Format::OtherMachine((*name).to_owned());
    }
    let mut others = NOT_KERNELS.iter();
    if let Some((_, what, advice)) = others.find(|(magic, ..)| at(0, magic)) {
        return Format::NotAKernel(what, advice);
    }
    if let Some(machine) = efi_machine(start) {
        return identify_efi(machine);
    }
    if start.is_empty() {
        return Format::NotAKernel("an empty file", GIVE);
    }
    Format::Unknown
}

/// An EFI program for `machine` that has no setup header.
fn identify_efi(machine: u16) -> Format {
    match machine {
        0x8664 => Format::NotAKernel(
            "an EFI program without a kernel's setup header, such as a unified kernel image",
            "give the kernel in it (objcopy -O binary --only-section=.linux FILE bzImage)",
        ),
        0xaa64 => Format::OtherMachine("arm64".to_owned()),
        0x5064 => Format::OtherMachine("riscv".to_owned()),
        0x6264 => Format::OtherMachine("loongarch".to_owned()),
        other => Format::OtherMachine(format!("EFI machine {other:#x}")),
    }
}

/// The machine that a PE file, as EFI runs, is for.
fn efi_machine(start: &[u8]) -> Option<u16> {
    let header = start.strip_prefix(b"MZ").and(start.get(0x3c..0x40))?;
    let header = u32::from_le_bytes(header.try_into().ok()?) as usize;
    let header = start.get(header..)?.strip_prefix(b"PE\0\0")?;
    Some(u16::from_le_bytes([*header.first()?, *header.get(1)?]))
}
