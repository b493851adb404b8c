//! Which processes are there, for tests that nothing is left behind.

use std::collections::BTreeSet;
use std::fs;

/// Processes whose parent is `parent`: field 4 of `/proc/PID/stat`, after the name in brackets.
pub(crate) fn children(parent: u32) -> BTreeSet<u32> {
    let of = |entry: fs::DirEntry| -> Option<u32> {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        (fields.split(' ').nth(1)? == parent.to_string()).then_some(pid)
    };
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(of)
        .collect()
}

/// Whether that process is there and is a QEMU.
pub(crate) fn is_qemu(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("qemu")
}
