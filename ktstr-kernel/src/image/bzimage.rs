//! The setup header at the start of a bzImage.

/// What the setup header of a bzImage says.
///
/// Layout: the kernel's Documentation/arch/x86/boot.rst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SetupHeader {
    /// There is none.
    Absent,
    /// There is one, of a kernel for 32-bit machines.
    ThirtyTwoBit,
    /// The version string lies outside of what is there.
    Truncated,
    /// A 64-bit kernel with this version string.
    Version(String),
}

/// How much of the file [`setup_header`] wants to see: the real-mode code is at most 64 sectors.
pub(crate) const SETUP_BYTES: usize = 0x8200;

const SETUP_SECTORS: usize = 0x1f1;
const SYSTEM_SIZE: usize = 0x1f4;
const BOOT_FLAG: usize = 0x1fe;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const KERNEL_VERSION: usize = 0x20e;
const XLOADFLAGS: usize = 0x236;
/// First protocol with `xloadflags`, and the flag of a 64-bit entry point in it.
const PROTOCOL_2_12: u16 = 0x020c;
const XLF_KERNEL_64: u16 = 1;

/// How large the bzImage is of which this is the start: its setup code and the kernel behind it. More may follow, such as
/// a signature. `None` where the header does not say.
pub(super) fn image_size(start: &[u8]) -> Option<u64> {
    let sectors = match *start.get(SETUP_SECTORS)? {
        // As it was before there was such a field.
        0 => 4,
        sectors => u64::from(sectors),
    };
    let paragraphs = start.get(SYSTEM_SIZE..SYSTEM_SIZE + 4)?.try_into().ok()?;
    let paragraphs = u64::from(u32::from_le_bytes(paragraphs));
    (paragraphs > 0).then_some((sectors + 1) * 512 + paragraphs * 16)
}

/// Reads the setup header at the start of a bzImage.
pub(super) fn setup_header(start: &[u8]) -> SetupHeader {
    let u16_at = |at: usize| {
        let bytes = start.get(at..at + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    if u16_at(BOOT_FLAG) != Some(0xaa55) || start.get(HEADER_MAGIC..PROTOCOL) != Some(b"HdrS") {
        return SetupHeader::Absent;
    }
    let (Some(protocol), Some(pointer)) = (u16_at(PROTOCOL), u16_at(KERNEL_VERSION)) else {
        return SetupHeader::Truncated;
    };
    let flags = u16_at(XLOADFLAGS).unwrap_or(0);
    if protocol < PROTOCOL_2_12 || flags & XLF_KERNEL_64 == 0 {
        return SetupHeader::ThirtyTwoBit;
    }
    // The pointer counts from the second sector; zero means that there is no version.
    let text = start.get(usize::from(pointer) + 0x200..).unwrap_or(&[]);
    let word: Vec<u8> = text
        .iter()
        .copied()
        .take_while(u8::is_ascii_graphic)
        .take(65)
        .collect();
    // `utsname.release` has at most 64 characters.
    if pointer == 0 || word.is_empty() || word.len() > 64 {
        return SetupHeader::Truncated;
    }
    SetupHeader::Version(String::from_utf8_lossy(&word).into_owned())
}
