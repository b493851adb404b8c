//! ELF kernels: their headers, and the banner that holds their release.

use std::fs::File;
use std::io::{self, Read};

use super::format::Format;

/// How large an ELF file is at least, by its headers; `None` where they tell nothing. All are in `start`.
pub(super) fn size(start: &[u8]) -> Option<u64> {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    const SECTION: u64 = 64;
    let u16_at = |at: usize| Some(u64::from(u16::from_le_bytes(bytes_at(start, at)?)));
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes_at(start, at)?));
    let (segments, sections) = (u64_at(32)?, u64_at(40)?);
    let (segment_size, segment_count) = (u16_at(54)?, u16_at(56)?);
    let (section_size, section_count) = (u16_at(58)?, u16_at(60)?);
    if u16_at(52)? != HEADER || segment_size != SEGMENT {
        return None;
    }
    let mut size = 0;
    if sections > 0 && section_size == SECTION {
        size = sections.checked_add(section_count * SECTION)?;
    }
    for segment in 0..segment_count {
        let at = segments.checked_add(segment * SEGMENT)?;
        let at = usize::try_from(at).ok()?;
        size = size.max(u64_at(at + 8)?.checked_add(u64_at(at + 32)?)?);
    }
    Some(size)
}

fn bytes_at<const N: usize>(start: &[u8], at: usize) -> Option<[u8; N]> {
    start.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Fields of the ELF header: elf(5).
pub(super) fn identify(start: &[u8]) -> Format {
    const EM_X86_64: u16 = 62;
    let (Some(&class), Some(&endian), Some(machine)) =
        (start.get(4), start.get(5), start.get(18..20))
    else {
        return Format::NotAKernel("an ELF file that is cut short", "get it again");
    };
    let machine = [machine[0], machine[1]];
    let machine = match endian {
        1 => u16::from_le_bytes(machine),
        2 => u16::from_be_bytes(machine),
        _ => return Format::NotAKernel("an ELF file with a broken header", "get it again"),
    };
    match (class, machine) {
        (2, EM_X86_64) => Format::Elf64,
        (1, EM_X86_64 | 3) => Format::OtherMachine("32-bit x86".to_owned()),
        (_, 40) => Format::OtherMachine("32-bit arm".to_owned()),
        (_, 183) => Format::OtherMachine("arm64".to_owned()),
        (_, 243) => Format::OtherMachine("riscv".to_owned()),
        (_, 258) => Format::OtherMachine("loongarch".to_owned()),
        (_, 22) => Format::OtherMachine("s390".to_owned()),
        (_, 20 | 21) => Format::OtherMachine("powerpc".to_owned()),
        (_, other) => Format::OtherMachine(format!("ELF machine {other}")),
    }
}

const BANNER: &[u8] = b"Linux version ";

/// Searches for the banner of `init/version.c` and returns the release in it.
pub(super) fn find_banner(start: Vec<u8>, file: &mut File) -> io::Result<Option<String>> {
    const CHUNK: usize = 1 << 20;
    /// More than any kernel with debug information has.
    const LIMIT: u64 = 4 << 30;
    /// The banner and the longest release behind it.
    const OVERLAP: usize = BANNER.len() + 66;
    let finder = memchr::memmem::Finder::new(BANNER);
    let mut window = start;
    let mut file = file.take(LIMIT);
    loop {
        for at in finder.find_iter(&window) {
            let release = &window[at + BANNER.len()..];
            let end = release.iter().position(|b| !b.is_ascii_graphic());
            // Without an end the word goes on in the next chunk; the overlap brings it whole.
            let word = end.map(|end| &release[..end]);
            if let Some(word) = word.filter(|word| word.first().is_some_and(u8::is_ascii_digit)) {
                return Ok(Some(String::from_utf8_lossy(word).into_owned()));
            }
        }
        window.drain(..window.len().saturating_sub(OVERLAP));
        if file.by_ref().take(CHUNK as u64).read_to_end(&mut window)? == 0 {
            return Ok(None);
        }
    }
}
