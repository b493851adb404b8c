//! What an archive has, once every file was looked at.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::initramfs::content::{Content, Input};

/// The contents of the archive, and the files that were looked at for it.
#[derive(Debug, Default)]
pub(in crate::initramfs) struct Resolved {
    /// Indexed by guest path.
    pub(in crate::initramfs) entries: BTreeMap<PathBuf, Packed>,
    /// Host files and directories on which the result depends.
    pub(in crate::initramfs) inputs: Vec<Input>,
}

/// What a file or directory takes in the guest's memory beside its content: its inode and its name, with room to spare.
const PER_ENTRY: u64 = 2048;

/// The guest's files take whole pages.
const PAGE: u64 = 4096;

impl Resolved {
    /// Bytes that the guest's root directory takes in its memory.
    pub(in crate::initramfs) fn unpacked_size(&self) -> u64 {
        let sizes = self.entries.values().map(|entry| match entry {
            Packed::File { content, .. } => content.size().next_multiple_of(PAGE) + PER_ENTRY,
            _ => PER_ENTRY,
        });
        sizes.sum()
    }

    /// Bytes of all files.
    pub(in crate::initramfs) fn content_size(&self) -> u64 {
        let sizes = self.entries.values().map(|entry| match entry {
            Packed::File { content, .. } => content.size(),
            _ => 0,
        });
        sizes.sum()
    }
}

/// An archive entry with its content.
#[derive(Debug)]
pub(in crate::initramfs) enum Packed {
    Directory { mode: u32 },
    Symlink { target: PathBuf },
    CharDevice { major: u32, minor: u32, mode: u32 },
    File { content: Content, mode: u32 },
}
