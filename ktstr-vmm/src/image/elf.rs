//! The uncompressed `vmlinux`: an ELF file that a PVH entry (`xen/interface/elfnote.h`) makes bootable.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use elf::abi::{EM_386, EM_AARCH64, EM_RISCV, EM_X86_64, PT_LOAD, PT_NOTE};
use elf::endian::AnyEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::note::{Note, NoteIterator};
use elf::segment::{ProgramHeader, SegmentTable};

use super::error::ImageError;

/// Size of `e_ident`, the first part of the header, in bytes.
const IDENT: usize = 16;

/// Size of a program header of a 64-bit file, in bytes.
const PROGRAM_HEADER: u16 = 56;

/// `XEN_ELFNOTE_PHYS32_ENTRY`: the entry point of a PVH kernel.
const PHYS32_ENTRY: u64 = 18;

/// Limit of the notes that are read, in bytes; those of real kernels take a few hundred.
const MAX_NOTES: u64 = 1 << 20;

/// Alignment of notes, which the kernel's linker script sets.
const NOTE_ALIGNMENT: usize = 4;

/// Checks `file`, found at `path`, which has `size` bytes and begins with `head`.
pub(super) fn check(path: &Path, file: &File, size: u64, head: &[u8]) -> Result<(), ImageError> {
    let truncated = || ImageError::Truncated {
        path: path.to_owned(),
    };
    let header = header(head).ok_or_else(truncated)?;
    let is_little = header.endianness == AnyEndian::Little;
    if header.class != Class::ELF64 || !is_little || header.e_machine != EM_X86_64 {
        return Err(ImageError::WrongArchitecture {
            path: path.to_owned(),
            arch: architecture(header.e_machine),
        });
    }
    let read = |offset: u64, count: usize| {
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    };
    let segments = segments(&header, read).ok_or_else(truncated)?;
    let mut has_entry = false;
    for segment in segments {
        let end = segment.p_offset.checked_add(segment.p_filesz);
        if end.is_none_or(|end| end > size) {
            return Err(truncated());
        }
        if segment.p_type == PT_NOTE {
            let count = segment.p_filesz.min(MAX_NOTES) as usize;
            let notes = read(segment.p_offset, count).ok_or_else(truncated)?;
            has_entry |= has_pvh_note(header.endianness, &notes);
        }
    }
    if has_entry {
        return Ok(());
    }
    Err(ImageError::NoPvhEntry {
        path: path.to_owned(),
    })
}

fn header(head: &[u8]) -> Option<FileHeader<AnyEndian>> {
    let ident = parse_ident(head.get(..IDENT)?).ok()?;
    FileHeader::parse_tail(ident, head.get(IDENT..)?).ok()
}

fn architecture(machine: u16) -> String {
    match machine {
        EM_386 => "32-bit x86".to_owned(),
        EM_AARCH64 => "arm64".to_owned(),
        EM_RISCV => "riscv".to_owned(),
        machine => format!("ELF machine {machine}"),
    }
}

/// The segments that are loaded or hold notes.
fn segments(
    header: &FileHeader<AnyEndian>,
    read: impl Fn(u64, usize) -> Option<Vec<u8>>,
) -> Option<Vec<ProgramHeader>> {
    if header.e_phentsize != PROGRAM_HEADER {
        return None;
    }
    let size = usize::from(header.e_phnum) * usize::from(PROGRAM_HEADER);
    let table = read(header.e_phoff, size)?;
    let table = SegmentTable::new(header.endianness, header.class, &table);
    let counts = |segment: &ProgramHeader| [PT_LOAD, PT_NOTE].contains(&segment.p_type);
    Some(table.iter().filter(counts).collect())
}

fn has_pvh_note(endian: AnyEndian, notes: &[u8]) -> bool {
    let mut notes = NoteIterator::new(endian, Class::ELF64, NOTE_ALIGNMENT, notes);
    notes.any(|note| match note {
        Note::Unknown(note) => note.n_type == PHYS32_ENTRY && note.name == b"Xen\0",
        _ => false,
    })
}
