//! Entries of a tar stream become files, but only below one directory.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, Entry, EntryType};

/// Far more than any kernel source has: a bound for hostile archives.
const MAX_BYTES: u64 = 16 << 30;
const MAX_ENTRIES: u64 = 1_000_000;

/// Why unpacking ended.
pub(super) enum Fault {
    /// The stream cannot be read on.
    Read(io::Error),
    /// An entry that is not unpacked: its name and why.
    Entry(String, &'static str),
    /// There is too much of it.
    TooBig(&'static str),
    /// It could not be written: where and what was tried.
    Write(PathBuf, &'static str, io::Error),
}

/// What is unpacked so far. The directory was empty, nobody else writes to it, and whatever is there
/// stays as it was made: so a directory that is in `dirs` is a real one, no link.
struct Unpacker<'d> {
    root: &'d Path,
    dirs: HashSet<PathBuf>,
    bytes: u64,
    now: SystemTime,
}

/// Unpacks `tar` into the empty directory `root`.
///
/// Refused: entries and links that lead out of it, and anything but files, directories and links.
pub(super) fn unpack(tar: &mut Archive<impl Read>, root: &Path) -> Result<(), Fault> {
    let mut unpacker = Unpacker {
        root,
        dirs: HashSet::from([PathBuf::new()]),
        bytes: 0,
        now: SystemTime::now(),
    };
    let mut count = 0;
    for entry in tar.entries().map_err(Fault::Read)? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Fault::TooBig("1000000 entries"));
        }
        unpacker.entry(entry.map_err(Fault::Read)?)?;
    }
    Ok(())
}

impl Unpacker<'_> {
    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), Fault> {
        let kind = entry.header().entry_type();
        // Comments of git-archive, no file.
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&raw)
            .chars()
            .take(200)
            .collect::<String>();
        let refuse = |why| Fault::Entry(name.clone(), why);
        let path = plain(Path::new(std::ffi::OsStr::from_bytes(&raw)))
            .ok_or_else(|| refuse("leads outside the archive"))?;
        if kind == EntryType::Directory {
            return self.dir(&path, &refuse);
        }
        let parent = path.parent().ok_or_else(|| refuse("has no name"))?;
        self.dir(parent, &refuse)?;
        let target = self.root.join(&path);
        match kind {
            EntryType::Regular | EntryType::Continuous => self.file(&mut entry, &target, &refuse),
            EntryType::Symlink => {
                let link = link_name(&entry).ok_or_else(|| refuse("is a link to nothing"))?;
                if !stays_inside(&link, parent) {
                    return Err(refuse("is a link that leads outside the archive"));
                }
                symlink(&link, &target).map_err(|error| taken(error, &target, &refuse))
            }
            EntryType::Link => {
                let link = link_name(&entry).ok_or_else(|| refuse("is a link to nothing"))?;
                let link = plain(&link)
                    .filter(|link| link.parent().is_some_and(|dir| self.dirs.contains(dir)))
                    .map(|link| self.root.join(link))
                    // Never a symbolic link, which might be followed.
                    .filter(|link| link.symlink_metadata().is_ok_and(|found| found.is_file()))
                    .ok_or_else(|| refuse("is a link to no file of the archive"))?;
                fs::hard_link(&link, &target).map_err(|error| taken(error, &target, &refuse))
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                Err(refuse("is a device or pipe"))
            }
            _ => Err(refuse("is of an unknown kind")),
        }
    }

    /// Makes a directory and those it is in.
    fn dir(&mut self, path: &Path, refuse: &dyn Fn(&'static str) -> Fault) -> Result<(), Fault> {
        if self.dirs.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.dir(parent, refuse)?;
        }
        let target = self.root.join(path);
        fs::create_dir(&target).map_err(|error| taken(error, &target, refuse))?;
        self.dirs.insert(path.to_owned());
        Ok(())
    }

    fn file(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        target: &Path,
        refuse: &dyn Fn(&'static str) -> Fault,
    ) -> Result<(), Fault> {
        let size = entry.size();
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_BYTES {
            return Err(Fault::TooBig("16 GiB"));
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .open(target)
            .map_err(|error| taken(error, target, refuse))?;
        copy(entry, &mut file, size, target)?;
        // Make compares times; one that lies ahead would have it build for ever.
        let modified = entry
            .header()
            .mtime()
            .ok()
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
            .filter(|time| *time < self.now)
            .unwrap_or(self.now);
        file.set_modified(modified)
            .map_err(|error| Fault::Write(target.to_owned(), "set the time of", error))
    }
}

/// Copies `size` bytes; what fails tells whether it was reading or writing.
fn copy(from: &mut impl Read, to: &mut File, size: u64, target: &Path) -> Result<(), Fault> {
    use std::io::Write;
    let mut buffer = [0; 16 << 10];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) if copied < size => return Err(Fault::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(0) => return Ok(()),
            Ok(n) => {
                copied += n as u64;
                to.write_all(&buffer[..n])
                    .map_err(|error| Fault::Write(target.to_owned(), "write", error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Read(error)),
        }
    }
}

/// A name that is there already is the archive's fault, all else the file system's.
fn taken(error: io::Error, target: &Path, refuse: &dyn Fn(&'static str) -> Fault) -> Fault {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return refuse("is in the archive twice");
    }
    Fault::Write(target.to_owned(), "create", error)
}

fn link_name(entry: &Entry<'_, impl Read>) -> Option<PathBuf> {
    let link = entry.link_name().ok()??.into_owned();
    (!link.as_os_str().is_empty()).then_some(link)
}

/// `path` without `.` parts; `None` when it is absolute or has `..` parts.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(plain)
}

/// Whether a link in the directory `dir` of sources leads to some place in them.
///
/// `..` may only stand first. Further on it could follow a link, and then lead anywhere.
pub(crate) fn stays_inside(link: &Path, dir: &Path) -> bool {
    let mut depth = dir.components().count();
    let mut down = false;
    for part in link.components() {
        match part {
            Component::Normal(_) => down = true,
            Component::CurDir => {}
            Component::ParentDir if !down && depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_may_climb_to_the_root_and_no_further() {
        let stays = |link: &str, dir: &str| stays_inside(Path::new(link), Path::new(dir));
        assert!(stays("../../include/x", "a/b"));
        assert!(stays("../.././../x", "a/b/c"));
        assert!(stays("x", ""));
        for (link, dir) in [
            ("..", ""),
            ("../../x", "a"),
            ("/x", "a"),
            ("x/../..", "a/b"),
        ] {
            assert!(!stays(link, dir), "{link} in {dir}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_stays_below(text in "[a./]{0,24}") {
            if let Some(path) = plain(Path::new(&text)) {
                prop_assert!(!path.is_absolute());
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
