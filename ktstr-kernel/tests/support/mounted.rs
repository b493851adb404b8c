//! A small file system where a cache is, for disks that are full or cannot be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs; unmounted when dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Mounts it at `dir`, which is made. `None`, with a line that says so, where we may not.
    pub(crate) fn new(dir: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(dir).unwrap();
        let mounted = mount(dir, options).then(|| Self(dir.to_owned()));
        if mounted.is_none() {
            eprintln!("SKIP a test of a disk: mounting takes root");
        }
        mounted
    }

    /// Mounts it with other options; whether that worked.
    pub(crate) fn remount(&self, options: &str) -> bool {
        mount(&self.0, &format!("remount,{options}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(dir: &Path, options: &str) -> bool {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
    let status = command.arg(dir).status();
    status.is_ok_and(|status| status.success())
}
