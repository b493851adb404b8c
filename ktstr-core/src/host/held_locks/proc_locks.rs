//! Reads `/proc/locks`, which names each locked file by device and inode (kernel: `fs/locks.c`, `lock_get_status`).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, major, minor, statx};

use super::super::lock::LockMode;
use super::HeldLocksError;

/// The locks that are held, by file: the process and the mode of each.
pub(super) fn held(root: &Path) -> Result<HashMap<FileId, Vec<(u32, LockMode)>>, HeldLocksError> {
    let path = root.join("proc/locks");
    let text = fs::read_to_string(&path).map_err(|source| HeldLocksError { path, source })?;
    let mut held: HashMap<FileId, Vec<(u32, LockMode)>> = HashMap::new();
    for (id, pid, mode) in text.lines().filter_map(flock) {
        held.entry(id).or_default().push((pid, mode));
    }
    Ok(held)
}

/// A file as `/proc/locks` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) inode: u64,
}

impl FileId {
    /// The device is that of the superblock, which differs from `st_dev` on btrfs and similar file systems; the mount
    /// table has it.
    pub(super) fn of(path: &Path, root: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let (major, minor) = device_of_mount(path, root)
            .unwrap_or_else(|| (major(metadata.dev()), minor(metadata.dev())));
        Ok(Self {
            major,
            minor,
            inode: metadata.ino(),
        })
    }
}

/// The device of the mount that `path` is on; `None` if the kernel (before 5.8) does not report the mount of a file.
fn device_of_mount(path: &Path, root: &Path) -> Option<(u32, u32)> {
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return None;
    }
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        if words.next()?.parse() != Ok(stat.stx_mnt_id) {
            return None;
        }
        let (major, minor) = words.nth(1)?.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

/// Parses a line of `/proc/locks`: the file, the process and the mode of a `flock` that is held.
fn flock(line: &str) -> Option<(FileId, u32, LockMode)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    // A waiting process has an arrow in this place.
    if words.next()? != "FLOCK" {
        return None;
    }
    let mode = match words.nth(1)? {
        "READ" => LockMode::Shared,
        "WRITE" => LockMode::Exclusive,
        _ => return None,
    };
    let pid = words.next()?.parse().ok()?;
    let mut id = words.next()?.splitn(3, ':');
    let mut hex = || u32::from_str_radix(id.next()?, 16).ok();
    let (major, minor) = (hex()?, hex()?);
    let inode = id.next()?.parse().ok()?;
    let id = FileId {
        major,
        minor,
        inode,
    };
    Some((id, pid, mode))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_round_trip(major in 0..0xfff_u32, minor in 0..0xfffff_u32, inode: u64, pid: u32) {
            let line = format!("12: FLOCK  ADVISORY  READ  {pid} {major:02x}:{minor:02x}:{inode} 0 EOF");
            let id = FileId { major, minor, inode };
            prop_assert_eq!(flock(&line), Some((id, pid, LockMode::Shared)));
        }

        #[test]
        fn any_line_is_taken_or_passed_over(line in "[0-9]{0,3}:? ?(FLOCK|POSIX)?[ a-fA-Z0-9:-]{0,40}") {
            let _ = flock(&line);
        }
    }
}
