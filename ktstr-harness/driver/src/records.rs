//! The directory for records, tried before anything runs whose records it is to take.

use std::io;
use std::path::Path;

use ktstr_core::record;
use ktstr_core::record::RunDirError;

/// Whether `dir`, which need not be there yet, takes files. Makes nothing that lasts: cargo marks a target directory that
/// it makes itself, and no other.
pub(super) fn check(dir: &Path) -> io::Result<()> {
    let existing = dir.ancestors().find(|dir| dir.exists());
    record::check(existing.unwrap_or(Path::new("."))).map_err(|error| match error {
        RunDirError::Write { source, .. } => source,
        other => io::Error::other(other),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
