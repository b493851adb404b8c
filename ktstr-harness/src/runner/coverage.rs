//! What runs do where code coverage is measured: the profiles of guests come back, and schedulers are built to be measured.
//!
//! Programs are built so that their counters are mapped from the file of the profile (LLVM's continuous mode, which takes
//! `-runtime-counter-relocation` at compile time). Nothing has to be written when a process ends: a body that was killed,
//! its workers and a scheduler that died left all that they counted.

pub mod profile;
mod received;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use received::ReceivedProfiles;

/// What a session that measures code coverage tells its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The target directory that cargo builds measured programs in: schedulers are built there too. The profiles that the
    /// report is made of are in it.
    pub target_dir: PathBuf,
    /// Directory below which the report looks for programs. Those of schedulers are linked into it, which are built with a
    /// profile of their own.
    pub objects: PathBuf,
}

impl Coverage {
    /// The arguments with which `cargo build` builds a scheduler's program.
    pub fn cargo_args(&self) -> [OsString; 2] {
        ["--target-dir".into(), self.target_dir.clone().into()]
    }

    /// Where the programs of schedulers are linked to.
    pub fn schedulers(&self) -> PathBuf {
        self.objects.join("ktstr-schedulers")
    }

    /// Where tests leave notes on profiles in `target_dir` that the report does not have, each in a file.
    pub fn notes(target_dir: &Path) -> PathBuf {
        target_dir.join("ktstr-coverage-notes")
    }

    /// Puts `program` where the report finds it, by a link of its own name; one that is there already stays.
    pub fn add_program(&self, program: &Path) -> io::Result<()> {
        if program.starts_with(&self.objects) {
            return Ok(());
        }
        let (Some(name), Some(profile)) = (
            program.file_name(),
            program.parent().and_then(Path::file_name),
        ) else {
            return Ok(());
        };
        // Programs of one name and several profiles are several.
        let dir = self.schedulers().join(profile);
        fs::create_dir_all(&dir)?;
        let link = dir.join(name);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::hard_link(program, &link).or_else(|_| fs::copy(program, &link).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_other_profiles_are_linked_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target_dir = dir.path().to_owned();
        let coverage = Coverage {
            objects: target_dir.join("debug"),
            target_dir,
        };
        let program = dir.path().join("release/scx_mine");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        for content in ["one", "two"] {
            let _ = fs::remove_file(&program);
            fs::write(&program, content).unwrap();
            coverage.add_program(&program).unwrap();
            let link = dir.path().join("debug/ktstr-schedulers/release/scx_mine");
            assert_eq!(fs::read_to_string(link).unwrap(), content);
        }
        // It is found where it is.
        let found = dir.path().join("debug/scx_other");
        fs::write(&found, "").unwrap();
        coverage.add_program(&found).unwrap();
        assert!(!coverage.schedulers().join("debug").exists());
        let gone = coverage.add_program(&dir.path().join("release/none"));
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
