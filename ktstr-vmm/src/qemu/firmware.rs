//! The firmware of a machine.

use std::path::{Path, PathBuf};

/// The small firmware that QEMU ships for its microvm. It also starts a PC, several times faster than the default one.
const QBOOT: &str = "qboot.rom";

/// QEMU's data directories, relative to that of its program.
const DATA_DIRS: &[&str] = &["../share/qemu", "../share/seabios"];

/// The fast firmware of the program `qemu`, if it is installed; otherwise QEMU uses its default.
///
/// A `qemu` that is only a name, to be found in `PATH`, has no directory to search from.
pub(super) fn fast(qemu: &Path) -> Option<PathBuf> {
    let program = qemu
        .is_absolute()
        .then(|| std::fs::canonicalize(qemu).ok())??;
    let dir = program.parent()?;
    let candidates = DATA_DIRS.iter().map(|data| dir.join(data).join(QBOOT));
    candidates.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn is_looked_for_beside_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for sub in ["bin", "share/qemu"] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        let qemu = root.join("bin/qemu-system-x86_64");
        fs::write(&qemu, "").unwrap();
        assert_eq!(fast(&qemu), None);
        fs::write(root.join("share/qemu/qboot.rom"), "").unwrap();
        assert!(fast(&qemu).unwrap().ends_with("share/qemu/qboot.rom"));
        assert_eq!(fast(Path::new("qemu-system-x86_64")), None);
    }
}
