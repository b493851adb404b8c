//! Lock files, and directories of them, that every user of a host can lock.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::super::files::temporary_beside;
use super::LockError;

/// Mode of lock files: every user who can reach one may lock it, whatever the umask of its creator.
pub(super) const FOR_ALL: u32 = 0o666;

/// Mode of a lock directory that all users share: that of `/tmp`.
const DIR_FOR_ALL: u32 = 0o1777;

/// Opens the lock file `path`, and creates it if it is missing.
///
/// An existing file is opened without `O_CREAT`: the kernel refuses that flag on files of other users in `/tmp`, even
/// to root (`fs.protected_regular`).
pub(super) fn open(path: &Path) -> io::Result<File> {
    match open_existing(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(path)?;
            open_existing(path)
        }
        opened => opened,
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    let open = |write: bool| {
        OpenOptions::new()
            .read(true)
            .write(write)
            // Other users may have put anything there: a pipe must not block the open, and links are not followed.
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(path)
    };
    // Only network file systems require write access for a lock.
    let file = match open(true) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            open(false)?
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    // An earlier version created it under a strict umask. A file with content or with other names is no lock file.
    if ours && found.mode() & FOR_ALL != FOR_ALL && found.nlink() == 1 && found.len() == 0 {
        let _ = file.set_permissions(Permissions::from_mode(FOR_ALL));
    }
    Ok(file)
}

/// Creates the lock file `path`, which appears with its final mode. A file that another process creates first is kept.
fn create(path: &Path) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)?;
    let made = file
        .set_permissions(Permissions::from_mode(FOR_ALL))
        .and_then(|()| publish(&temporary, path));
    let _ = fs::remove_file(&temporary);
    made
}

/// Renames `temporary` to `path`, unless that exists.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    let published = match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        // Some file systems do not support the flag; those have hard links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(temporary, path),
        renamed => renamed.map_err(io::Error::from),
    };
    match published {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        published => published,
    }
}

/// The error for a lock file that exists and may not be opened.
pub(super) fn denied(path: &Path, error: &io::Error) -> Option<LockError> {
    if error.kind() != ErrorKind::PermissionDenied {
        return None;
    }
    let found = path.symlink_metadata().ok()?;
    Some(LockError::Denied {
        path: path.to_owned(),
        owner: found.uid(),
        mode: found.mode() & 0o777,
    })
}

/// Creates the directory `dir` if it is missing, for locks that every user of this host can take.
pub(crate) fn make_shared_dir(dir: &Path) -> Result<(), LockError> {
    let make = || {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(DIR_FOR_ALL).create(dir) {
            // The umask has reduced the mode.
            Ok(()) => fs::set_permissions(dir, Permissions::from_mode(DIR_FOR_ALL)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    };
    make().map_err(|source| LockError::Open {
        path: dir.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{LockFile, LockMode};
    use super::*;

    #[test]
    fn lock_files_are_for_all_users_whatever_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
        let path = dir.path().join("new.lock");
        // Another process, as the umask is the whole process's.
        let status = std::process::Command::new("sh")
            .args(["-c", "umask 077; exec \"$0\" --exact --ignored \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(test_name("takes_the_lock_it_is_told"))
            .env("KTSTR_CORE_TEST_LOCK", &path)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(mode(&path), FOR_ALL);
        let only_it = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(only_it, 1, "temporary files");

        // An earlier version's.
        let path = dir.path().join("old.lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        LockFile::try_acquire(&path, LockMode::Exclusive)
            .unwrap()
            .unwrap();
        assert_eq!(mode(&path), FOR_ALL);

        // What has other names, or content, is nobody's lock file.
        for (name, content) in [("linked.lock", ""), ("full.lock", "secret")] {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            if content.is_empty() {
                fs::hard_link(&path, dir.path().join("other")).unwrap();
            }
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            LockFile::try_acquire(&path, LockMode::Shared)
                .unwrap()
                .unwrap();
            assert_eq!(mode(&path), 0o600, "{name}");
        }
    }

    /// Run by another test, under another umask.
    #[test]
    #[ignore = "part of another test"]
    fn takes_the_lock_it_is_told() {
        let Some(path) = std::env::var_os("KTSTR_CORE_TEST_LOCK") else {
            return;
        };
        let dir = Path::new(&path).with_file_name("dir");
        make_shared_dir(&dir).unwrap();
        assert_eq!(dir.metadata().unwrap().mode() & 0o7777, DIR_FOR_ALL);
        fs::remove_dir(dir).unwrap();
        LockFile::try_acquire(Path::new(&path), LockMode::Exclusive)
            .unwrap()
            .unwrap();
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe.lock");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, &pipe, kind, 0o666.into(), 0).unwrap();
        let link = dir.path().join("link.lock");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        for path in [&pipe, &link] {
            let error = LockFile::try_acquire(path, LockMode::Shared).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()), "{text}");
        }
    }

    /// Runs the ignored test above as the user `nobody`; `None` where this process may not, or cannot.
    fn lock_as_nobody(path: &Path) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can run something as another user");
            return None;
        }
        // A copy: this binary may lie where nobody else can read it.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let binary = dir.path().join("tests");
        fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let output = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary)
            .args(["--exact", "--ignored", "--nocapture"])
            .arg(test_name("takes_the_lock_as_another_user"))
            .env("KTSTR_CORE_TEST_LOCK", path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = said.lines().find_map(|line| line.strip_prefix("took: "));
        Some(said.expect("an answer").to_owned())
    }

    #[test]
    #[ignore = "part of another test"]
    fn takes_the_lock_as_another_user() {
        let Some(path) = std::env::var_os("KTSTR_CORE_TEST_LOCK") else {
            return;
        };
        let taken = match LockFile::try_acquire(Path::new(&path), LockMode::Exclusive) {
            Ok(Some(_)) => "yes".to_owned(),
            Ok(None) => "busy".to_owned(),
            Err(error) => format!("error: {error}"),
        };
        println!("\ntook: {taken}");
    }

    #[test]
    fn locks_in_a_directory_like_tmp_are_shared_between_users() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(DIR_FOR_ALL)).unwrap();
        let path = dir.path().join("a.lock");
        // Nobody makes it; we then take another user's file in a sticky directory.
        let Some(said) = lock_as_nobody(&path) else {
            return;
        };
        assert_eq!(said, "yes");
        assert_eq!(path.metadata().unwrap().uid(), 65534);
        let held = LockFile::try_acquire(&path, LockMode::Exclusive).unwrap();
        assert!(held.is_some());
        assert_eq!(lock_as_nobody(&path).unwrap(), "busy");
        drop(held);
        // Ours, which nobody may open.
        let path = dir.path().join("b.lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let said = lock_as_nobody(&path).unwrap();
        let expected =
            "permission denied, as user 0 made it with mode 600; have that user run: chmod 666";
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{said}"
        );
        // The first process of ours that takes it mends it.
        LockFile::try_acquire(&path, LockMode::Shared)
            .unwrap()
            .unwrap();
        assert_eq!(lock_as_nobody(&path).unwrap(), "yes");
        // A directory that only its owner writes.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let said = lock_as_nobody(&dir.path().join("c.lock")).unwrap();
        assert!(said.contains("c.lock: Permission denied"), "{said}");
    }

    /// What the test harness calls a test of this module.
    fn test_name(function: &str) -> String {
        let (_, module) = module_path!().split_once("::").unwrap();
        format!("{module}::{function}")
    }
}
