//! Writes the file of an exported test, whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ktstr_core::host::files::{open_regular, sync_parent, temporary_beside};
use ktstr_vmm::CancelToken;

use super::ExportError;
use super::archive::{ArchiveError, Content};
use super::script::{HEAD, Specification};

/// A file that is removed when dropped; after a rename there is nothing to remove.
struct Temporary(PathBuf);

impl Temporary {
    fn create(path: &Path, mode: u32) -> io::Result<(Self, File)> {
        let path = temporary_beside(path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        Ok((Self(path), file))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Refuses a `path` that something else has.
pub(super) fn check(path: &Path) -> Result<(), ExportError> {
    let refused = |why: &str| {
        Err(ExportError::Output {
            path: path.to_owned(),
            why: why.to_owned(),
        })
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // Also where a link leads nowhere: it is replaced.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
            return if parent.is_none_or(Path::is_dir) {
                Ok(())
            } else {
                refused("its directory does not exist; make it, or give another by -o")
            };
        }
        Err(error) => return refused(&format!("{error}; give another file by -o")),
    };
    if metadata.is_dir() {
        return refused("is a directory; give a file in it by -o");
    }
    let mut head = Vec::new();
    let read =
        open_regular(path).and_then(|file| file.take(HEAD.len() as u64).read_to_end(&mut head));
    match read {
        Ok(_) if head.is_empty() || head == HEAD => Ok(()),
        Ok(_) => {
            refused("is no exported test, and stays as it is; remove it, or give another by -o")
        }
        Err(error) => refused(&format!("{error}; give another file by -o")),
    }
}

/// Writes script and archive to `path`, and returns the size of the archive.
pub(super) fn run_file(
    path: &Path,
    specification: &Specification,
    content: &Content,
    cancel: &CancelToken,
) -> Result<u64, ExportError> {
    match write(path, specification, content, cancel) {
        Ok(bytes) => Ok(bytes),
        Err(_) if cancel.is_cancelled() => Err(ExportError::Cancelled),
        Err(ArchiveError::File(error)) => Err(error),
        Err(ArchiveError::Write(error)) => Err(ExportError::Output {
            path: path.to_owned(),
            why: format!("{error}; free space there, or give another file by -o"),
        }),
    }
}

fn write(
    path: &Path,
    specification: &Specification,
    content: &Content,
    cancel: &CancelToken,
) -> Result<u64, ArchiveError> {
    // The script tells the size and the checksum of what follows.
    let (_packed, mut packed) = Temporary::create(path, 0o600)?;
    let archive = content.write(&mut packed, cancel)?;
    packed.seek(SeekFrom::Start(0))?;
    let (whole, mut file) = Temporary::create(path, 0o755)?;
    file.write_all(specification.script(&archive).as_bytes())?;
    io::copy(&mut packed, &mut file)?;
    file.sync_all()?;
    fs::rename(&whole.0, path)?;
    sync_parent(path)?;
    Ok(archive.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_export_wrote_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.run");
        let told = |path: &Path| check(path).map_err(|error| error.to_string());
        assert_eq!(told(&path), Ok(()));
        fs::write(&path, "precious").unwrap();
        let refused = told(&path).unwrap_err();
        assert!(refused.contains("a.run: is no exported test"), "{refused}");
        fs::write(&path, [HEAD, b" more"].concat()).unwrap();
        assert_eq!(told(&path), Ok(()));
        fs::write(&path, "").unwrap();
        assert_eq!(told(&path), Ok(()));
        assert!(told(dir.path()).unwrap_err().contains("is a directory"));
        let nowhere = told(&dir.path().join("none/a.run")).unwrap_err();
        assert!(
            nowhere.contains("its directory does not exist"),
            "{nowhere}"
        );
        let odd = told(Path::new("/dev/null")).unwrap_err();
        assert!(odd.contains("not a regular file"), "{odd}");
    }
}
