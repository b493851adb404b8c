//! The root directory of a run: the machine's own, with what a guest finds beside it.
//!
//! It is a mount namespace that goes with the last process of the run. Nothing of it can be seen from outside, and a
//! test that mounts or unmounts something does so for itself alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};

use super::{BareMetalError, os, set_up};
use crate::Payload;
use crate::guest::INCLUDE_DIR;

/// Where the guest finds its scheduler: the directory of [`Scheduler::PROGRAM`](crate::Scheduler::PROGRAM).
const SCHEDULER_DIR: &str = "/scheduler";

/// Directories whose files are the kernel's.
const KERNELS_OWN: [&str; 3] = ["proc", "sys", "dev"];

/// More entries than any of the directories has that are taken apart.
const MOST_ENTRIES: usize = 20_000;

/// Moves this process, which must have one thread, to a root directory of its own. `/scheduler`, `/include-files` and
/// `/programs` are those of `dir`; `files` are about to be written, and will not be on the machine's disks.
pub(super) fn enter(dir: &Path, files: &[&Path]) -> Result<(), BareMetalError> {
    let root = dir.join("root");
    let failed = |what: &str| set_up(format!("private root, {what}"));
    os::leave_mounts().map_err(failed("unshare"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|e| failed("private mounts")(e.into()))?;
    fs::create_dir(&root).map_err(failed("its directory"))?;
    mount("tmpfs", &root, "tmpfs", MountFlags::empty(), c"mode=755")
        .map_err(|e| failed("tmpfs (CONFIG_TMPFS)")(e.into()))?;
    // So that binding what is above does not bind this once more.
    mount_change(&root, MountPropagationFlags::UNBINDABLE)
        .map_err(|e| failed("unbindable mount")(e.into()))?;
    let own = [SCHEDULER_DIR, INCLUDE_DIR, Payload::DIR].map(PathBuf::from);
    let mut taken_apart: BTreeSet<PathBuf> = files.iter().filter_map(|file| place(file)).collect();
    taken_apart.extend(own.iter().cloned());
    copy(Path::new("/"), &root, &taken_apart).map_err(failed("the machine's directories"))?;
    for path in &own {
        let below = path.strip_prefix("/").unwrap_or(path);
        let (from, to) = (dir.join(below), root.join(below));
        fs::create_dir_all(&to).map_err(failed("its directories"))?;
        mount_bind_recursive(&from, &to).map_err(|e| failed("its directories")(e.into()))?;
    }
    rustix::process::chroot(&root).map_err(|e| failed("chroot")(e.into()))?;
    std::env::set_current_dir("/").map_err(failed("chroot"))
}

/// Where `file` really is, as far as that is there: symbolic links on the way are followed. `None` for one of the kernel's.
fn place(file: &Path) -> Option<PathBuf> {
    let there = file.ancestors().skip(1).find(|dir| dir.is_dir())?;
    let rest = file.strip_prefix(there).ok()?;
    let place = there.canonicalize().ok()?.join(rest);
    let first = place.components().find_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    })?;
    (!KERNELS_OWN.iter().any(|own| first == *own)).then_some(place)
}

/// Makes the directory `to` hold what `from` has: links to it, but directories of their own above `taken_apart`, of which
/// nothing is there.
fn copy(from: &Path, to: &Path, taken_apart: &BTreeSet<PathBuf>) -> io::Result<()> {
    for (count, entry) in fs::read_dir(from)?.enumerate() {
        let entry = entry?;
        if count >= MOST_ENTRIES {
            let why = format!("{} has more than {MOST_ENTRIES} entries", from.display());
            return Err(io::Error::other(why));
        }
        let path = entry.path();
        let new = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if taken_apart.contains(&path) {
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &new)?;
        } else if kind.is_dir() {
            fs::create_dir(&new)?;
            if taken_apart.iter().any(|it| it.starts_with(&path)) {
                let metadata = fs::metadata(&path)?;
                fs::set_permissions(&new, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
                copy(&path, &new, taken_apart)?;
            } else {
                mount_bind_recursive(&path, &new)?;
            }
        } else {
            fs::write(&new, "")?;
            mount_bind_recursive(&path, &new)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_links_lead() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        fs::create_dir(real.join("run")).unwrap();
        symlink("run", real.join("link")).unwrap();
        let place = |file: &Path| place(file);
        let expected = Some(real.join("run/a/b"));
        assert_eq!(place(&real.join("link/a/b")), expected);
        assert_eq!(place(&real.join("run/a/b")), expected);
        assert_eq!(place(Path::new("/new-dir/x")), Some("/new-dir/x".into()));
        assert_eq!(place(Path::new("/proc/sys/x")), None);
        assert_eq!(place(Path::new("/")), None);
    }

    #[test]
    fn links_are_copied_and_what_is_taken_apart_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir(&to).unwrap();
        symlink("a", from.join("l")).unwrap();
        symlink("/x", from.join("a/l")).unwrap();
        let apart = [from.join("a/b"), from.join("a/none/c")].into();
        copy(&from, &to, &apart).unwrap();
        assert_eq!(fs::read_link(to.join("l")).unwrap(), Path::new("a"));
        assert_eq!(fs::read_link(to.join("a/l")).unwrap(), Path::new("/x"));
        assert!(!to.join("a/b").exists());
    }
}
