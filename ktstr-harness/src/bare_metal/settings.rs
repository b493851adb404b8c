//! Kernel settings that a run changes, and puts back.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Remembers values in this process, and in a file for whoever cleans up if this process is killed: the path of a setting
/// on one line, its value on the next.
#[derive(Debug)]
pub(super) struct ChangedSettings {
    file: PathBuf,
    before: RefCell<Vec<(PathBuf, String)>>,
}

impl ChangedSettings {
    /// Whose file is `file`.
    pub(super) fn new(file: PathBuf) -> Self {
        let before = RefCell::default();
        Self { file, before }
    }

    /// Remembers the value of the setting at `path`, which is about to be changed.
    pub(super) fn note(&self, path: &Path) -> io::Result<()> {
        // One that cannot be read has no value: writing to it does something.
        let Ok(value) = fs::read_to_string(path) else {
            return Ok(());
        };
        let value = value.trim_end();
        if !value.contains('\n') {
            let line = format!("{}\n{value}\n", path.display());
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.file)?;
            file.write_all(line.as_bytes())?;
        }
        let mut before = self.before.borrow_mut();
        before.push((path.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Puts everything back, and tells what could not be.
    pub(super) fn restore(self) -> Option<String> {
        let mut left = None;
        // Of a setting that was changed twice, the first value is the right one.
        for (path, value) in self.before.into_inner().into_iter().rev() {
            if let Err(error) = fs::write(&path, &value) {
                let path = path.display();
                left = Some(format!(
                    "{path} could not be set to `{value}` again: {error}"
                ));
            }
        }
        let _ = fs::remove_file(&self.file);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_reverse_order() {
        let dir = tempfile::tempdir().unwrap();
        let setting = dir.path().join("setting");
        let journal = dir.path().join("journal");
        let changed = ChangedSettings::new(journal.clone());
        fs::write(&setting, "1\t2\n").unwrap();
        changed.note(&setting).unwrap();
        fs::write(&setting, "3\n").unwrap();
        changed.note(&setting).unwrap();
        fs::write(&setting, "4\n").unwrap();
        changed.note(&dir.path().join("none")).unwrap();
        let path = setting.display();
        let expected = format!("{path}\n1\t2\n{path}\n3\n");
        assert_eq!(fs::read_to_string(&journal).unwrap(), expected);
        assert_eq!(changed.restore(), None);
        assert_eq!(fs::read_to_string(&setting).unwrap(), "1\t2");
        assert!(!journal.exists());
    }

    #[test]
    fn what_cannot_be_put_back_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let setting = dir.path().join("below/setting");
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(&setting, "1").unwrap();
        let changed = ChangedSettings::new(dir.path().join("journal"));
        changed.note(&setting).unwrap();
        fs::remove_dir_all(dir.path().join("below")).unwrap();
        let left = changed.restore().unwrap();
        assert!(
            left.contains("below/setting could not be set to `1` again"),
            "{left}"
        );
    }
}
