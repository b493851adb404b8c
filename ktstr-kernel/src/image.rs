//! Looking at boot images.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ktstr_core::host::files::open_regular;

use crate::x86_64::{self, SetupHeader};

/// What kind of file a kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// The compressed image with a setup header that boot loaders take.
    BzImage,
    /// The ELF kernel itself.
    Elf,
}

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// What kind of file it is.
    pub kind: ImageKind,
    /// Its release, as `uname -r` would say it.
    pub version: String,
}

/// A file that cannot be booted here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// It is for other machines.
    #[error(
        "{path}: a kernel for {found}, and only x86_64 is supported; give a bzImage or vmlinux for x86_64"
    )]
    Architecture {
        /// The image.
        path: PathBuf,
        /// What it is for.
        found: String,
    },
    /// It is something else.
    #[error("{path}: {what}; {advice}")]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Its end is missing.
    #[error(
        "{path}: a kernel image that is cut short ({size} bytes, its header says {expected}); get it again"
    )]
    CutShort {
        /// The image.
        path: PathBuf,
        /// How large it is.
        size: u64,
        /// How large it is at least where it is whole.
        expected: u64,
    },
    /// It could not be read.
    #[error("{path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ImageInfo {
    /// Looks at the image at `path`: by its content, whatever its name.
    pub fn read(path: &Path) -> Result<Self, ImageError> {
        let read_error = |source| ImageError::Read {
            path: path.to_owned(),
            source,
        };
        let mut file = open_regular(path).map_err(read_error)?;
        let size = file.metadata().map_err(read_error)?.len();
        let mut start = Vec::new();
        file.by_ref()
            .take(x86_64::SETUP_BYTES as u64)
            .read_to_end(&mut start)
            .map_err(read_error)?;
        let format = identify(&start);
        let expected = match format {
            Format::BzImage(_) => x86_64::image_size(&start),
            Format::Elf64 => elf_size(&start),
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
                let banner = find_banner(start, &mut file).map_err(read_error)?;
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

/// What a file is, by its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    BzImage(String),
    Elf64,
    Foreign(String),
    /// With what to do.
    Other(&'static str, &'static str),
    Unknown,
}

const GIVE: &str = "give a bzImage, an ELF vmlinux, a source tree or a source tarball";

impl Format {
    /// Why a file of this format that is not an x86-64 kernel cannot be booted.
    pub(crate) fn error(self, path: &Path) -> ImageError {
        let path = path.to_owned();
        let (what, advice) = match self {
            Self::Foreign(found) => return ImageError::Architecture { path, found },
            Self::Other(what, advice) => (what, advice),
            Self::BzImage(_) | Self::Elf64 | Self::Unknown => {
                ("neither a kernel image nor a source archive", GIVE)
            }
        };
        ImageError::NotAKernel { path, what, advice }
    }
}

/// Looks at the start of a file; [`x86_64::SETUP_BYTES`] of it are enough.
pub(crate) fn identify(start: &[u8]) -> Format {
    let at = |offset: usize, magic: &[u8]| start.get(offset..offset + magic.len()) == Some(magic);
    match x86_64::setup_header(start) {
        SetupHeader::Version(version) => return Format::BzImage(version),
        SetupHeader::ThirtyTwoBit => return Format::Foreign("32-bit x86".to_owned()),
        SetupHeader::Truncated => {
            return Format::Other("a bzImage that is cut short", "get it again");
        }
        SetupHeader::Absent => {}
    }
    if at(0, b"\x7fELF") {
        return identify_elf(start);
    }
    // Magic numbers: Documentation/arch/{arm64,riscv,loongarch} of the kernel, and EFI's zboot header.
    let foreign = [
        (0x38, b"ARM\x64".as_slice(), "arm64"),
        (0x38, b"RSC\x05", "riscv"),
        (0x24, b"\x18\x28\x6f\x01", "32-bit arm"),
        (
            0x04,
            b"zimg",
            "an EFI zboot machine (arm64, riscv or loongarch)",
        ),
    ];
    for (offset, magic, name) in foreign {
        if at(offset, magic) {
            return Format::Foreign(name.to_owned());
        }
    }
    let others = [
        (
            b"\x27\x05\x19\x56".as_slice(),
            "a U-Boot image (uImage)",
            GIVE,
        ),
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
    for (magic, what, advice) in others {
        if at(0, magic) {
            return Format::Other(what, advice);
        }
    }
    if let Some(machine) = efi_machine(start) {
        return match machine {
            0x8664 => Format::Other(
                "an EFI program without a kernel's setup header, such as a unified kernel image",
                "give the kernel in it (objcopy -O binary --only-section=.linux FILE bzImage)",
            ),
            0xaa64 => Format::Foreign("arm64".to_owned()),
            0x5064 => Format::Foreign("riscv".to_owned()),
            0x6264 => Format::Foreign("loongarch".to_owned()),
            other => Format::Foreign(format!("EFI machine {other:#x}")),
        };
    }
    if start.is_empty() {
        return Format::Other("an empty file", GIVE);
    }
    Format::Unknown
}

/// The machine that a PE file, as EFI runs, is for.
fn efi_machine(start: &[u8]) -> Option<u16> {
    let header = start.strip_prefix(b"MZ").and(start.get(0x3c..0x40))?;
    let header = u32::from_le_bytes(header.try_into().ok()?) as usize;
    let header = start.get(header..)?.strip_prefix(b"PE\0\0")?;
    Some(u16::from_le_bytes([*header.first()?, *header.get(1)?]))
}

/// How large an ELF file is at least, by its headers; `None` where they tell nothing. All are in `start`.
fn elf_size(start: &[u8]) -> Option<u64> {
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
fn identify_elf(start: &[u8]) -> Format {
    const EM_X86_64: u16 = 62;
    let (Some(&class), Some(&endian), Some(machine)) =
        (start.get(4), start.get(5), start.get(18..20))
    else {
        return Format::Other("an ELF file that is cut short", "get it again");
    };
    let machine = [machine[0], machine[1]];
    let machine = match endian {
        1 => u16::from_le_bytes(machine),
        2 => u16::from_be_bytes(machine),
        _ => return Format::Other("an ELF file with a broken header", "get it again"),
    };
    match (class, machine) {
        (2, EM_X86_64) => Format::Elf64,
        (1, EM_X86_64 | 3) => Format::Foreign("32-bit x86".to_owned()),
        (_, 40) => Format::Foreign("32-bit arm".to_owned()),
        (_, 183) => Format::Foreign("arm64".to_owned()),
        (_, 243) => Format::Foreign("riscv".to_owned()),
        (_, 258) => Format::Foreign("loongarch".to_owned()),
        (_, 22) => Format::Foreign("s390".to_owned()),
        (_, 20 | 21) => Format::Foreign("powerpc".to_owned()),
        (_, other) => Format::Foreign(format!("ELF machine {other}")),
    }
}

const BANNER: &[u8] = b"Linux version ";

/// Searches for the banner of `init/version.c` and returns the release in it.
fn find_banner(start: Vec<u8>, file: &mut File) -> io::Result<Option<String>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn bzimage(version: &str, xloadflags: u16) -> Vec<u8> {
        let mut image = vec![0; 0x600];
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x236..0x238].copy_from_slice(&xloadflags.to_le_bytes());
        image[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
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
            let _ = (identify(&bytes), elf_size(&bytes), x86_64::image_size(&bytes));
        }
    }
}
