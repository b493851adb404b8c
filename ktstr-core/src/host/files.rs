//! Atomic writes and bounded reads of files, and the search for programs.

use std::env::split_paths;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

/// Writes `bytes` to `path` atomically: to a temporary file beside it, which is synced and renamed over it.
///
/// A reader sees either the old content or the new one. On failure the temporary file is removed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Staged::write(path, bytes)?.publish()
}

/// A file that is written and synced under a temporary name; dropping it removes it.
#[derive(Debug)]
pub struct Staged {
    temporary: PathBuf,
    path: PathBuf,
}

impl Staged {
    /// Writes the future content of `path` to a temporary file beside it.
    pub fn write(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        let temporary = temporary_beside(path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)?;
        let staged = Self {
            temporary,
            path: path.to_owned(),
        };
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Renames the file to its final name, and replaces a file of that name.
    pub fn publish(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        sync_parent(&self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After the rename there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A name in the directory of `path` that no other call returns, in any process that is alive.
///
/// It starts with a dot and contains the process id, so that leftovers of a killed process can be recognized.
pub fn temporary_beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{serial}.tmp", process::id()))
}

/// Makes a rename of `path` durable: syncs its directory.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Opens `path` for reading if it is a regular file. Opening a pipe would block until a writer opens it.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

/// A file that [`read_bounded`] did not read.
#[derive(Debug, thiserror::Error)]
pub enum BoundedReadError {
    /// It is no regular file: a directory, a pipe, or a symbolic link, which may lead out of an archive.
    #[error("not a regular file")]
    NotAFile,
    /// It is larger than the limit.
    #[error("{size} bytes, and {limit} are read")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Reads the file at `path`, which anybody may have written: a regular file of at most `limit` bytes. Symbolic links are
/// not followed, and nothing is waited for.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, BoundedReadError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::LOOP) => return Err(BoundedReadError::NotAFile),
        Err(errno) => return Err(io::Error::from(errno).into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(BoundedReadError::NotAFile);
    }
    let checked = |size| match size {
        size if size > limit => Err(BoundedReadError::TooLarge { size, limit }),
        size => Ok(usize::try_from(size).unwrap_or(0)),
    };
    let mut bytes = Vec::with_capacity(checked(metadata.len())?);
    // It may grow meanwhile.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    checked(bytes.len() as u64)?;
    Ok(bytes)
}

/// Whether `path` is a file with an execute permission.
pub fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Finds the program `name` in the search path `path`, which is in the form of `PATH`; a name with a slash is a path
/// itself.
///
/// ```
/// use ktstr_core::host::files::find_program;
///
/// let path = std::env::var_os("PATH").unwrap_or_default();
/// assert!(find_program(&path, "sh").is_some());
/// assert_eq!(find_program(&path, "no such program"), None);
/// ```
pub fn find_program(path: &OsStr, name: impl AsRef<Path>) -> Option<PathBuf> {
    let name = name.as_ref();
    if name.as_os_str().as_bytes().contains(&b'/') {
        return Some(name.to_owned()).filter(|program| is_program(program));
    }
    let mut programs = split_paths(path).map(|dir| dir.join(name));
    programs.find(|program| is_program(program))
}

/// What a file is that has no content of its own, in words.
pub fn special_kind(kind: fs::FileType) -> &'static str {
    if kind.is_socket() {
        "socket"
    } else if kind.is_fifo() {
        "named pipe"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn programs_are_files_with_the_right_to_be_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tool");
        assert!(!is_program(&path) && !is_program(dir.path()));
        fs::write(&path, "").unwrap();
        for (mode, expected) in [(0o644, false), (0o755, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_program(&path), expected);
        }
        let search = dir.path().as_os_str();
        assert_eq!(find_program(search, "tool").as_ref(), Some(&path));
        assert_eq!(find_program(search, "./tool"), None, "no tool is here");
        assert_eq!(find_program(OsStr::new(""), &path), Some(path));
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, file) = (dir.path().join("pipe"), dir.path().join("file"));
        let made = process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        fs::write(&file, "text").unwrap();
        for other in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
            let error = open_regular(other).unwrap_err().to_string();
            assert_eq!(error, "not a regular file", "{}", other.display());
        }
        assert_eq!(
            io::read_to_string(open_regular(&file).unwrap()).unwrap(),
            "text"
        );
        let none = open_regular(&dir.path().join("none")).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_read_is_a_file_and_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_bounded(&file, 4).unwrap(), b"text");
        let error = read_bounded(&file, 3).unwrap_err();
        assert_eq!(error.to_string(), "4 bytes, and 3 are read");
        for other in [link.as_path(), dir.path(), Path::new("/dev/zero")] {
            let error = read_bounded(other, 4).unwrap_err();
            assert!(matches!(error, BoundedReadError::NotAFile), "{error}");
        }
        // It says that it is empty, and is not.
        let error = read_bounded(Path::new("/proc/self/maps"), 10).unwrap_err();
        assert!(
            matches!(error, BoundedReadError::TooLarge { .. }),
            "{error}"
        );
        let error = read_bounded(&dir.path().join("none"), 10).unwrap_err();
        assert!(matches!(error, BoundedReadError::Read(_)), "{error}");
    }

    #[test]
    fn a_failed_write_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("dir");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("child"), b"x").unwrap();
        assert!(write_atomic(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
