//! Reads from ELF files how they are loaded and which libraries they need.

use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::{
    DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRTAB, EM_X86_64, PT_DYNAMIC, PT_INTERP, PT_LOAD,
};
use elf::dynamic::DynamicTable;
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;

use super::error::InitramfsError;

/// What an ELF file needs to be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Its interpreter (the loader).
    pub(super) interpreter: Option<PathBuf>,
    /// Names of libraries.
    pub(super) libraries: Vec<String>,
    /// Its search paths, unexpanded: `DT_RPATH` and `DT_RUNPATH`.
    pub(super) rpath: Vec<String>,
    pub(super) runpath: Vec<String>,
    /// Size of the part at the beginning of the file that is loaded.
    pub(super) loadable: usize,
}

/// Whether `bytes` begin with the magic of an ELF file.
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
    let content = |kind: u32| {
        let segment = segments.iter().find(|segment| segment.p_type == kind)?;
        file.get(segment.p_offset as usize..(segment.p_offset + segment.p_filesz) as usize)
    };
    if let Some(interpreter) = content(PT_INTERP) {
        let path = text(interpreter).ok_or("its interpreter is not a path")?;
        needs.interpreter = Some(PathBuf::from(path));
    }
    if let Some(dynamic) = content(PT_DYNAMIC) {
        read_dynamic(file, segments, dynamic, &mut needs)?;
    }
    Ok(needs)
}

/// Reads the libraries and the search paths of the `dynamic` section.
fn read_dynamic(
    file: &[u8],
    segments: &[ProgramHeader],
    dynamic: &[u8],
    needs: &mut Needs,
) -> Result<(), String> {
    let entries: Vec<_> = DynamicTable::new(LittleEndian, Class::ELF64, dynamic)
        .iter()
        .take_while(|entry| entry.d_tag != DT_NULL)
        .collect();
    let strings = entries
        .iter()
        .find(|entry| entry.d_tag == DT_STRTAB)
        .and_then(|entry| file_offset(segments, entry.d_ptr()))
        .and_then(|offset| file.get(offset..));
    for entry in &entries {
        let list = match entry.d_tag {
            DT_NEEDED => &mut needs.libraries,
            DT_RPATH => &mut needs.rpath,
            DT_RUNPATH => &mut needs.runpath,
            _ => continue,
        };
        let string = strings
            .and_then(|strings| strings.get(entry.d_val() as usize..))
            .and_then(text)
            .ok_or("its dynamic section names nothing readable")?;
        if entry.d_tag == DT_NEEDED {
            list.push(string.to_owned());
        } else {
            let dirs = string.split(':').filter(|dir| !dir.is_empty());
            list.extend(dirs.map(str::to_owned));
        }
    }
    Ok(())
}

/// The file offset of address `address`.
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

/// Truncates `file` to the part that is loaded, and removes the sections from its header.
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
