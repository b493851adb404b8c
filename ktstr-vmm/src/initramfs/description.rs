//! The description of an initramfs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::entry::{Entry, Pack, normalize};
use super::error::InitramfsError;
use super::{libs, write};

/// The contents of an initramfs. No file is read before it is built.
///
/// The archive is not compressed: under emulation, decompressing takes two (LZ4) to four times (gzip) as long as
/// copying, and unpacking is most of the guest's work with it.
///
/// The same description of the same files results in the same bytes: entries are sorted, times are zero, and inodes are
/// numbered in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initramfs {
    /// Indexed by guest path, which is absolute and normalized.
    pub(super) entries: BTreeMap<PathBuf, Entry>,
}

/// Builds an [`Initramfs`]. A later entry replaces an earlier one with the same guest path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitramfsBuilder {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Initramfs {
    /// An initramfs with the directories and devices that every init needs, and no program.
    pub fn builder() -> InitramfsBuilder {
        InitramfsBuilder {
            entries: BTreeMap::new(),
        }
        .directory("/dev", 0o755)
        .directory("/proc", 0o755)
        .directory("/sys", 0o755)
        .directory("/tmp", 0o1777)
        // The kernel opens these for init before anything is mounted.
        .char_device("/dev/console", 5, 1, 0o600)
        .char_device("/dev/null", 1, 3, 0o666)
    }

    /// Writes the archive to `out`.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), InitramfsError> {
        let files = libs::resolve(&self.entries)?;
        write::archive(&files.entries, out)
    }
}

impl InitramfsBuilder {
    /// Makes the executable `host` the first process, with the libraries it needs.
    #[must_use]
    pub fn init(self, host: impl Into<PathBuf>) -> Self {
        self.executable(host, "/init", Pack::default())
    }

    /// Adds the executable `host` as `guest`, with the libraries it needs where its loader finds them. A script gets the
    /// interpreter that its first line names, where the host has it.
    #[must_use]
    pub fn executable(self, host: impl Into<PathBuf>, guest: impl AsRef<Path>, pack: Pack) -> Self {
        let (host, optional) = (host.into(), false);
        let entry = Entry::Executable {
            host,
            pack,
            optional,
        };
        self.entry(guest.as_ref(), entry)
    }

    /// Adds the executable `host` as `guest`, if it can be read when the archive is built, with what it needs of what the
    /// host has.
    #[must_use]
    pub fn optional_executable(self, host: impl Into<PathBuf>, guest: impl AsRef<Path>) -> Self {
        let (host, pack, optional) = (host.into(), Pack::Loadable, true);
        let entry = Entry::Executable {
            host,
            pack,
            optional,
        };
        self.entry(guest.as_ref(), entry)
    }

    /// Adds the directory `host` as `guest`, with all that is below it, as it is when the archive is built. Modes are kept.
    ///
    /// Symbolic links stay links and are not followed; sockets, named pipes and devices are errors. Executables and
    /// libraries in it get what they need, where the host has it.
    #[must_use]
    pub fn tree(self, host: impl Into<PathBuf>, guest: impl AsRef<Path>) -> Self {
        let host = host.into();
        self.entry(guest.as_ref(), Entry::Tree { host })
    }

    /// Whether there is something at `guest` already.
    pub fn has(&self, guest: impl AsRef<Path>) -> bool {
        self.entries.contains_key(&normalize(guest.as_ref()))
    }

    /// Adds the file `host` as `guest`, unchanged.
    #[must_use]
    pub fn file(self, host: impl Into<PathBuf>, guest: impl AsRef<Path>, mode: u32) -> Self {
        let host = host.into();
        self.entry(guest.as_ref(), Entry::File { host, mode })
    }

    /// Adds a file `guest` with this content.
    #[must_use]
    pub fn inline(self, content: impl Into<Vec<u8>>, guest: impl AsRef<Path>, mode: u32) -> Self {
        let content = content.into();
        self.entry(guest.as_ref(), Entry::Inline { content, mode })
    }

    /// Adds the directory `guest`. Parents of entries are added automatically.
    #[must_use]
    pub fn directory(self, guest: impl AsRef<Path>, mode: u32) -> Self {
        self.entry(guest.as_ref(), Entry::Directory { mode })
    }

    /// Adds `guest` as a symbolic link to `target`.
    #[must_use]
    pub fn symlink(self, target: impl Into<PathBuf>, guest: impl AsRef<Path>) -> Self {
        let target = target.into();
        self.entry(guest.as_ref(), Entry::Symlink { target })
    }

    /// Adds `guest` as a character device.
    #[must_use]
    pub fn char_device(self, guest: impl AsRef<Path>, major: u32, minor: u32, mode: u32) -> Self {
        self.entry(guest.as_ref(), Entry::CharDevice { major, minor, mode })
    }

    /// Finishes the description.
    pub fn build(self) -> Initramfs {
        Initramfs {
            entries: self.entries,
        }
    }

    fn entry(mut self, guest: &Path, entry: Entry) -> Self {
        self.entries.insert(normalize(guest), entry);
        self
    }
}
