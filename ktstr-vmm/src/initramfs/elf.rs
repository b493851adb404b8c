//! Reads from ELF files how they are loaded and which libraries they need. Of a file of any size, only these parts are
//! read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use elf::abi::{
    DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRTAB, EM_X86_64, PT_DYNAMIC, PT_INTERP, PT_LOAD,
};
use elf::dynamic::DynamicTable;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParsingTable;
use elf::segment::ProgramHeader;

use super::error::InitramfsError;

/// Bytes of an ELF64 header.
pub(super) const HEADER: usize = 64;

/// Bytes of its part that says how to read the rest.
const IDENT: usize = 16;

/// Largest part of a file that is read at once.
const MAX_PART: u64 = 8 << 20;

/// Longest name or path that is read.
const MAX_TEXT: u64 = 4096;

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
    pub(super) loadable: u64,
}

/// Whether `bytes` begin with the magic of an ELF file.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Reads what `file`, found at `path`, needs.
pub(super) fn needs(path: &Path, file: &File) -> Result<Needs, InitramfsError> {
    let read = || -> Result<Needs, String> {
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        let source = Source { file, size };
        let segments = source.segments()?;
        source.needs(&segments)
    };
    read().map_err(|why| InitramfsError::BadElf {
        path: path.to_owned(),
        why,
    })
}

/// Removes the sections from a header.
pub(super) fn drop_sections(header: &mut [u8; HEADER]) {
    header[40..48].fill(0); // e_shoff
    header[60..64].fill(0); // e_shnum, e_shstrndx
}

/// An ELF file of so many bytes.
struct Source<'f> {
    file: &'f File,
    size: u64,
}

impl Source<'_> {
    fn part(&self, offset: u64, size: u64) -> Result<Vec<u8>, String> {
        let is_within = offset
            .checked_add(size)
            .is_some_and(|end| end <= self.size && size <= MAX_PART);
        if !is_within {
            return Err("cut short".to_owned());
        }
        let mut bytes = vec![0; size as usize];
        let read = self.file.read_exact_at(&mut bytes, offset);
        read.map(|()| bytes).map_err(|error| error.to_string())
    }

    /// The text at `offset`, up to the first NUL.
    fn text(&self, offset: u64) -> Option<String> {
        let left = self.size.checked_sub(offset)?;
        let bytes = self.part(offset, left.min(MAX_TEXT)).ok()?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn segments(&self) -> Result<Vec<ProgramHeader>, String> {
        let header = self.part(0, HEADER as u64)?;
        let ident = parse_ident::<LittleEndian>(&header).map_err(|e| e.to_string())?;
        if ident.1 != Class::ELF64 {
            return Err("not built for x86-64".to_owned());
        }
        let header = FileHeader::parse_tail(ident, &header[IDENT..]).map_err(|e| e.to_string())?;
        if header.e_machine != EM_X86_64 {
            return Err("not built for x86-64".to_owned());
        }
        if header.e_phnum == 0 {
            return Err("no program headers: nothing to run".to_owned());
        }
        let size = u64::from(header.e_phnum) * u64::from(header.e_phentsize);
        let table = self.part(header.e_phoff, size)?;
        let table: ParsingTable<'_, _, ProgramHeader> =
            ParsingTable::new(LittleEndian, Class::ELF64, &table);
        Ok(table.iter().collect())
    }

    fn needs(&self, segments: &[ProgramHeader]) -> Result<Needs, String> {
        let mut needs = Needs::default();
        for segment in segments {
            let end = segment.p_offset.saturating_add(segment.p_filesz);
            if end > self.size {
                return Err("cut short".to_owned());
            }
            needs.loadable = needs.loadable.max(end);
        }
        let of_kind = |kind: u32| segments.iter().find(|segment| segment.p_type == kind);
        if let Some(interpreter) = of_kind(PT_INTERP) {
            let path = self.text(interpreter.p_offset);
            needs.interpreter = Some(path.ok_or("its interpreter is not a path")?.into());
        }
        if let Some(dynamic) = of_kind(PT_DYNAMIC) {
            let dynamic = self.part(dynamic.p_offset, dynamic.p_filesz)?;
            self.read_dynamic(segments, &dynamic, &mut needs)?;
        }
        Ok(needs)
    }

    /// Reads the libraries and the search paths of the `dynamic` section.
    fn read_dynamic(
        &self,
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
            .and_then(|entry| file_offset(segments, entry.d_ptr()));
        for entry in &entries {
            let list = match entry.d_tag {
                DT_NEEDED => &mut needs.libraries,
                DT_RPATH => &mut needs.rpath,
                DT_RUNPATH => &mut needs.runpath,
                _ => continue,
            };
            let string = strings
                .and_then(|strings| strings.checked_add(entry.d_val()))
                .and_then(|offset| self.text(offset))
                .ok_or("its dynamic section names nothing readable")?;
            if entry.d_tag == DT_NEEDED {
                list.push(string);
            } else {
                let dirs = string.split(':').filter(|dir| !dir.is_empty());
                list.extend(dirs.map(str::to_owned));
            }
        }
        Ok(())
    }
}

/// The file offset of address `address`.
fn file_offset(segments: &[ProgramHeader], address: u64) -> Option<u64> {
    segments
        .iter()
        .filter(|segment| segment.p_type == PT_LOAD)
        .find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr)?;
            (within < segment.p_filesz).then(|| segment.p_offset.checked_add(within))?
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// The program that runs this test, and what it needs.
    fn own_program() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn a_program_needs_its_loader_and_libraries() {
        let path = own_program();
        let needs = needs(&path, &File::open(&path).unwrap()).unwrap();
        assert!(needs.interpreter.unwrap().is_absolute());
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"));
        let size = fs::metadata(&path).unwrap().len();
        assert!(needs.loadable > 0 && needs.loadable < size);
    }

    #[test]
    fn what_cannot_run_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let why = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            needs(&path, &File::open(&path).unwrap())
                .unwrap_err()
                .to_string()
        };
        let mut program = vec![0; 4096];
        let of_own = File::open(own_program()).unwrap();
        of_own.read_exact_at(&mut program, 0).unwrap();
        assert!(why(&program).contains("cut short"));
        assert!(why(&program[..60]).contains("cut short"));
        let mut other = program.clone();
        other[18] = 183; // EM_AARCH64
        assert!(why(&other).contains("not built for x86-64"));
        program[56..58].fill(0); // e_phnum
        assert!(why(&program).contains("nothing to run"));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(changes in prop::collection::vec((0..512usize, any::<u8>()), 1..8)) {
            let mut head = vec![0; 8192];
            File::open(own_program()).unwrap().read_exact_at(&mut head, 0).unwrap();
            for (at, byte) in changes {
                head[at] = byte;
            }
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            fs::write(&path, head).unwrap();
            let _ = needs(&path, &File::open(&path).unwrap());
        }
    }
}
