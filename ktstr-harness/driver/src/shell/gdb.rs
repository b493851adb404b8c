//! The socket on which a debugger speaks to a machine.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::env;
use ktstr_core::host::Host;
use ktstr_kernel::Cache;
use ktstr_kernel::discover::discover;
use tempfile::TempDir;

use super::{Shell, ShellError};

/// How the names of directories of sockets begin.
const PREFIX: &str = "ktstr-gdb-";

/// Name of a socket in its directory.
const SOCKET: &str = "gdb";

/// A directory that is not locked and as old as this was left behind: one that is made is locked at once.
const MAKING: Duration = Duration::from_secs(60);

/// A place for a debugger's socket: a directory that only this user can enter. Dropping it removes both.
#[derive(Debug)]
pub struct GdbSocket {
    dir: TempDir,
    /// The directory, locked while the socket may be used.
    _lock: File,
}

impl GdbSocket {
    /// Makes the directory, in the one for temporary files that `host` names. QEMU makes the socket in it. Those of
    /// processes that were killed are removed.
    pub fn new(host: &Host) -> Result<Self, ShellError> {
        let temporary = host.non_empty_var("TMPDIR");
        let temporary = temporary.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let temporary = host.absolute(temporary);
        remove_left(&temporary, MAKING);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(temporary)
            .map_err(ShellError::GdbSocket)?;
        let lock = File::open(dir.path()).map_err(ShellError::GdbSocket)?;
        lock.lock_shared().map_err(ShellError::GdbSocket)?;
        Ok(Self { dir, _lock: lock })
    }

    /// The socket's path.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// The line to type in a shell, to debug the machine with the symbols of `vmlinux`.
    ///
    /// ```
    /// use ktstr_core::host::Host;
    /// use ktstr_driver::shell::GdbSocket;
    ///
    /// let socket = GdbSocket::new(&Host::default())?;
    /// let line = socket.command(Some("/k/vmlinux".as_ref()));
    /// assert!(line.starts_with("gdb /k/vmlinux -ex 'target remote /tmp/ktstr-gdb-"));
    /// # Ok::<(), ktstr_driver::shell::ShellError>(())
    /// ```
    pub fn command(&self, vmlinux: Option<&Path>) -> String {
        let mut line = "gdb".to_owned();
        if let Some(vmlinux) = vmlinux {
            line.push(' ');
            line.push_str(&quoted(&vmlinux.to_string_lossy(), false));
        }
        let target = format!("target remote {}", self.path().display());
        line.push_str(" -ex ");
        line.push_str(&quoted(&target, true));
        line
    }
}

/// Removes the directories in `temporary` that nobody has locked and that are older than `age`, as far as this user may.
fn remove_left(temporary: &Path, age: Duration) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_ours = name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.file_type().is_ok_and(|it| it.is_dir());
        let Some(lock) = is_ours.then(|| File::open(entry.path()).ok()).flatten() else {
            continue;
        };
        let changed = lock.metadata().and_then(|metadata| metadata.modified());
        let is_old = changed.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed >= age));
        if is_old && lock.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path().join(SOCKET));
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Shell {
    /// The file with the symbols of its kernel, also where the kernel is one that is found.
    pub fn symbols(&self) -> Option<PathBuf> {
        if let Some(kernel) = &self.kernel {
            return self.vmlinux.clone().or_else(|| beside(&kernel.image));
        }
        let cache = Cache::new(env::cache_root(&self.host)?);
        let kernel = discover(&self.host, &cache, &self.dir).ok()?.kernel;
        kernel.vmlinux.or_else(|| beside(&kernel.image))
    }
}

/// The symbols in the directory of an image, as in the cache: the image may be named there by its path.
fn beside(image: &Path) -> Option<PathBuf> {
    Some(image.with_file_name("vmlinux")).filter(|it| it.is_file())
}

/// `word` as a shell takes it for one.
fn quoted(word: &str, always: bool) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !always && !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_directory_is_private_and_gone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::default().with_vars([("TMPDIR", dir.path())]);
        let socket = GdbSocket::new(&host).unwrap();
        let private = socket.path().parent().unwrap().to_owned();
        assert_eq!(private.parent(), Some(dir.path()));
        let mode = private.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(socket);
        assert!(!private.exists());
    }

    #[test]
    fn what_the_killed_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::default().with_vars([("TMPDIR", dir.path())]);
        let used = GdbSocket::new(&host).unwrap();
        let left = dir.path().join("ktstr-gdb-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("gdb"), "").unwrap();
        // Of somebody else, for all that its name tells.
        let other = dir.path().join("ktstr-gdb-other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("notes"), "").unwrap();
        let file = dir.path().join("ktstr-gdb-file");
        fs::write(&file, "").unwrap();
        // It may be about to be locked.
        remove_left(dir.path(), MAKING);
        assert!(left.exists());
        remove_left(dir.path(), Duration::ZERO);
        assert!(!left.exists());
        assert!(used.path().parent().unwrap().exists());
        assert!(other.join("notes").exists() && file.exists());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A shell takes it for the same word.
        #[test]
        fn words_are_quoted(word in "[ -~äü]{0,12}", always: bool) {
            let script = format!("printf %s {}", quoted(&word, always));
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(said.stdout).unwrap(), word);
        }
    }
}
