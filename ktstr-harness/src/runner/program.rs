//! Whether a file is a program that a machine can run, checked before the machine boots.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Why a file is no program for a machine. To follow its path.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("there is no such file; build it, or fix the path")]
    Missing,
    #[error("is a directory; give the path of the program in it")]
    Directory,
    #[error("is not a regular file; give the path of a program")]
    Special,
    #[error("is empty; build it again")]
    Empty,
    #[error("is not executable (mode {mode:o}); `chmod +x` makes it so")]
    NotExecutable { mode: u32 },
    #[error(
        "is a script ({line}), and its interpreter is not in the machine; give the program that it starts"
    )]
    Script { line: String },
    #[error("is a program for {machine}, and the machine is x86-64; build it for x86-64")]
    Foreign { machine: String },
    #[error("is {what}, not a program; give the path of what the linker made")]
    NotAProgram { what: &'static str },
    #[error("cannot be read: {0}; check its permissions")]
    Unreadable(#[source] io::Error),
}

/// The first bytes of a file, as far as they tell what it is.
const HEAD: usize = 256;

/// Why the file at `path` is no program that a machine can run, in words that follow its path; `None` where it is one.
pub fn why_no_program(path: &Path) -> Option<String> {
    check(path).err().map(|error| error.to_string())
}

/// Checks that the file at `path` is an executable for x86-64.
pub(super) fn check(path: &Path) -> Result<(), ProgramError> {
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(ProgramError::Directory);
    }
    if !metadata.is_file() {
        return Err(ProgramError::Special);
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    is_program(&head)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o111 == 0 {
        return Err(ProgramError::NotExecutable { mode });
    }
    Ok(())
}

fn unreadable(error: io::Error) -> ProgramError {
    match error.kind() {
        io::ErrorKind::NotFound => ProgramError::Missing,
        _ => ProgramError::Unreadable(error),
    }
}

/// What a file begins with: the header of `elf(5)`.
fn is_program(head: &[u8]) -> Result<(), ProgramError> {
    const X86_64: u16 = 62;
    if head.is_empty() {
        return Err(ProgramError::Empty);
    }
    if head.starts_with(b"#!") {
        let line = head.split(|&byte| byte == b'\n').next().unwrap_or(head);
        let line = ktstr_core::text::line(&String::from_utf8_lossy(line));
        return Err(ProgramError::Script {
            line: ktstr_core::text::cut(&line, 60),
        });
    }
    let not_a_program = |what| Err(ProgramError::NotAProgram { what });
    if head.starts_with(b"!<arch>\n") {
        return not_a_program("a library archive");
    }
    if !head.starts_with(b"\x7fELF") {
        return not_a_program("some other file");
    }
    let (Some(&class), Some(&order)) = (head.get(4), head.get(5)) else {
        return not_a_program("cut short");
    };
    let number = |at: usize| -> Option<u16> {
        let bytes = [*head.get(at)?, *head.get(at + 1)?];
        Some(match order {
            2 => u16::from_be_bytes(bytes),
            _ => u16::from_le_bytes(bytes),
        })
    };
    let (Some(kind), Some(machine)) = (number(16), number(18)) else {
        return not_a_program("cut short");
    };
    if (class, machine) != (2, X86_64) {
        return Err(ProgramError::Foreign {
            machine: machine_name(class, machine),
        });
    }
    match kind {
        // ET_EXEC and ET_DYN.
        2 | 3 => Ok(()),
        1 => not_a_program("an object file"),
        4 => not_a_program("a core dump"),
        _ => not_a_program("an ELF file of an unknown kind"),
    }
}

/// Names of `e_machine`: the System V ABI's registry.
fn machine_name(class: u8, machine: u16) -> String {
    let name = match (class, machine) {
        (_, 3) => "32-bit x86",
        (1, 62) => "x32",
        (_, 8) => "MIPS",
        (_, 20) => "32-bit PowerPC",
        (_, 21) => "PowerPC",
        (_, 22) => "s390",
        (_, 40) => "32-bit ARM",
        (_, 183) => "arm64 (AArch64)",
        (_, 243) => "RISC-V",
        (_, 247) => "BPF",
        (_, 258) => "LoongArch",
        (_, machine) => return format!("another processor (ELF machine {machine})"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elf(class: u8, kind: u8, machine: u8) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1]);
        (head[16], head[18]) = (kind, machine);
        head
    }

    #[test]
    fn what_is_no_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let told = |content: &[u8], mode| {
            let path = dir.path().join("program");
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            check(&path).map_err(|error| error.to_string())
        };
        assert_eq!(told(&elf(2, 3, 62), 0o755), Ok(()));
        for (content, mode, start) in [
            (
                elf(2, 3, 62),
                0o644,
                "is not executable (mode 644); `chmod +x`",
            ),
            (
                elf(2, 3, 183),
                0o755,
                "is a program for arm64 (AArch64), and the machine is x86-64",
            ),
            (elf(1, 2, 3), 0o755, "is a program for 32-bit x86"),
            (elf(2, 1, 62), 0o755, "is an object file, not a program"),
            (elf(2, 3, 62)[..10].to_vec(), 0o755, "is cut short"),
            (Vec::new(), 0o755, "is empty"),
            (
                b"#!/bin/sh -e\nexec x\n".to_vec(),
                0o755,
                "is a script (#!/bin/sh -e), and its interpreter",
            ),
            (
                b"fn main() {}".to_vec(),
                0o755,
                "is some other file, not a program",
            ),
        ] {
            let error = told(&content, mode).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
        let error = check(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("is a directory"), "{error}");
        assert!(matches!(
            check(&dir.path().join("none")),
            Err(ProgramError::Missing)
        ));
        assert!(matches!(
            check(Path::new("/dev/null")),
            Err(ProgramError::Special)
        ));
        assert!(check(Path::new("/bin/true")).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = is_program(&bytes);
            let _ = is_program(&[b"\x7fELF".as_slice(), &bytes].concat());
        }
    }
}
