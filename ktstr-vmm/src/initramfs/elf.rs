//! What is read from ELF files: how they are loaded and what they need.

use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, EM_X86_64, PT_DYNAMIC, PT_INTERP, PT_LOAD,
};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;

use super::error::InitramfsError;

/// What loading an ELF file takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The program that loads it.
    pub(super) interpreter: Option<PathBuf>,
    /// Libraries, by name.
    pub(super) libraries: Vec<String>,
    /// Where it says they are, unexpanded; older and newer form.
    pub(super) rpath: Vec<String>,
    pub(super) runpath: Vec<String>,
    /// How much of the file, from its beginning, is loaded.
    pub(super) loadable: usize,
}

/// Whether `bytes` begin like an ELF file.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Reads what `file`, found at `path`, needs.
pub(super) fn needs(path: &Path, file: &[u8]) -> Result<Needs, InitramfsError> {
    let parse = || -> Result<Needs, String> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|e| e.to_string())?;
        if elf.ehdr.class != Class::ELF64 || elf.ehdr.e_machine != EM_X86_64 {
            return Err("not built for x86-64".to_owned());
        }
        let segments = elf.segments().ok_or("no program headers: nothing to run")?;
        read_segments(file, &segments.iter().collect::<Vec<_>>())
    };
    parse().map_err(|why| InitramfsError::BadElf {
        path: path.to_owned(),
        why,
    })
}

fn read_segments(file: &[u8], segments: &[ProgramHeader]) -> Result<Needs, String> {
    let mut needs = Needs::default();
    for segment in segments {
        let end = segment.p_offset.saturating_add(segment.p_filesz);
        if end > file.len() as u64 {
            return Err("cut short".to_owned());
        }
        needs.loadable = needs.loadable.max(end as usize);
    }
    let content = |segment: &ProgramHeader| {
        &file[segment.p_offset as usize..(segment.p_offset + segment.p_filesz) as usize]
    };
    if let Some(segment) = segments.iter().find(|s| s.p_type == PT_INTERP) {
        match text(content(segment)) {
            Some(path) => needs.interpreter = Some(PathBuf::from(path)),
            None => return Err("its interpreter is not a path".to_owned()),
        }
    }
    let Some(dynamic) = segments.iter().find(|s| s.p_type == PT_DYNAMIC) else {
        return Ok(needs);
    };
    let dynamic: Vec<_> =
        elf::dynamic::DynamicTable::new(LittleEndian, Class::ELF64, content(dynamic))
            .iter()
            .take_while(|entry| entry.d_tag != elf::abi::DT_NULL)
            .collect();
    let strings = dynamic
        .iter()
        .find(|entry| entry.d_tag == DT_STRTAB)
        .and_then(|entry| file_offset(segments, entry.d_ptr()))
        .and_then(|offset| file.get(offset..));
    for entry in &dynamic {
        let list = match entry.d_tag {
            DT_NEEDED => &mut needs.libraries,
            DT_RPATH => &mut needs.rpath,
            DT_RUNPATH => &mut needs.runpath,
            _ => continue,
        };
        let string = strings
            .and_then(|strings| strings.get(entry.d_val() as usize..))
            .and_then(text);
        let Some(string) = string else {
            return Err("its dynamic section names nothing readable".to_owned());
        };
        if entry.d_tag == DT_NEEDED {
            list.push(string.to_owned());
        } else {
            list.extend(
                string
                    .split(':')
                    .filter(|dir| !dir.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    Ok(needs)
}

/// Where in the file the byte at address `address` is.
fn file_offset(segments: &[ProgramHeader], address: u64) -> Option<usize> {
    segments
        .iter()
        .filter(|segment| segment.p_type == PT_LOAD)
        .find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr)?;
            (within < segment.p_filesz).then(|| (segment.p_offset + within) as usize)
        })
}

/// The text up to the first NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&bytes[..end])
        .ok()
        .filter(|text| !text.is_empty())
}

/// Cuts `file` down to what is loaded, and says in its header that it has no sections.
pub(super) fn keep_loadable(file: &mut Vec<u8>, loadable: usize) {
    /// Bytes of an ELF64 header; `e_shoff` and the section counts lie within.
    const HEADER: usize = 64;
    if loadable < HEADER || file.len() < loadable {
        return;
    }
    file.truncate(loadable);
    file[40..48].fill(0); // e_shoff
    file[60..64].fill(0); // e_shnum, e_shstrndx
}
