//! The directory for records, tried before anything runs whose records it is to take.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use ktstr_core::files::temporary_beside;

/// As much as a small record takes: a full disk takes a file without content.
const RECORD: [u8; 8192] = [b' '; 8192];

/// Whether `dir`, which need not be there yet, takes files. Makes nothing that lasts: cargo marks a target directory that
/// it makes itself, and no other.
pub(super) fn check(dir: &Path) -> io::Result<()> {
    let existing = dir.ancestors().find(|dir| dir.exists());
    let path = temporary_beside(&existing.unwrap_or(Path::new(".")).join("ktstr-check"));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(&RECORD)?;
            file.sync_all()
        });
    let removed = fs::remove_file(path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_tried_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        check(&dir.path().join("target/ktstr")).unwrap();
        check(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("file"), "").unwrap();
        for bad in [dir.path().join("file/ktstr"), "/proc/ktstr".into()] {
            assert!(check(&bad).is_err(), "{}", bad.display());
        }
    }
}
