//! The cache of archives.
//!
//! `{cache}/initramfs/{content}.cpio` are archives, named by the hash of their content.
//! `{cache}/initramfs/{description}.json` map a description to an archive: they list every file that was read for it,
//! with its identity, so that a lookup reads no content.

use std::cmp::Reverse;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use ktstr_core::host::{LockError, LockFile, LockMode, files};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::content::Input;
use super::description::Initramfs;
use super::error::InitramfsError;
use super::{libs, write};

/// Version of the format; changes whenever the same description would result in other bytes.
const FORMAT: u32 = 2;

/// Maximum number of archives that are kept.
const MAX_ARCHIVES: usize = 16;

/// Maximum size of all archives that are kept, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Size of the largest archive that is kept in memory, where the cache has no place for it.
const MAX_IN_MEMORY: u64 = 256 << 20;

/// Age at which an unfinished file must have lost its writer.
const STALE: Duration = Duration::from_secs(3600);

/// Building one takes seconds.
const LOCK_WAIT: Duration = Duration::from_secs(300);

/// A packed initramfs. Its file exists as long as this value: a cached one is not removed, and one that is only in
/// memory is freed with this value.
#[derive(Debug)]
pub struct PackedInitramfs {
    path: PathBuf,
    size: u64,
    unpacked_size: u64,
    hit: bool,
    not_cached: Option<String>,
    // Kept open for its shared lock, or for the file itself.
    _file: File,
}

impl PackedInitramfs {
    /// The archive's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that its content takes in the guest's memory, where every file has whole pages: many small files take much
    /// more there than in the archive.
    pub fn unpacked_size(&self) -> u64 {
        self.unpacked_size
    }

    /// Whether it was in the cache already.
    pub fn hit(&self) -> bool {
        self.hit
    }

    /// Why it is not in the cache, if it is not. The next run will pack it again.
    pub fn not_cached(&self) -> Option<&str> {
        self.not_cached.as_deref()
    }
}

/// The archive of a description.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    inputs: Vec<Input>,
    archive: String,
    size: u64,
    unpacked_size: u64,
}

impl Initramfs {
    /// Returns the archive of this description from the cache in `cache_dir`; builds it if it is missing.
    ///
    /// A cache that cannot be written, for lack of permissions or space, is still read; a missing archive is then
    /// packed into memory, if it is not larger than 256 MiB.
    pub fn build_cached(&self, cache_dir: &Path) -> Result<PackedInitramfs, InitramfsError> {
        let dir = cache_dir.join("initramfs");
        match self.build_in(&dir) {
            Err(
                error @ (InitramfsError::Cache { .. }
                | InitramfsError::Lock(LockError::Open { .. })),
            ) => self.build_in_memory(error.to_string()),
            other => other,
        }
    }

    /// The archive from `dir`, which is built if it is missing.
    fn build_in(&self, dir: &Path) -> Result<PackedInitramfs, InitramfsError> {
        let index_path = dir.join(format!("{}.json", self.key()));
        if let Some(packed) = lookup(dir, &index_path) {
            return Ok(packed);
        }
        let lock = dir.join(".lock");
        let what = "the initramfs cache";
        let _building = LockFile::acquire(&lock, LockMode::Exclusive, LOCK_WAIT, what)?;
        // The previous holder of the lock may have built this archive.
        if let Some(packed) = lookup(dir, &index_path) {
            return Ok(packed);
        }
        let packed = self.build_into(dir, &index_path)?;
        prune(dir);
        Ok(packed)
    }

    /// The archive in an anonymous file, which exists no longer than this process.
    fn build_in_memory(&self, not_cached: String) -> Result<PackedInitramfs, InitramfsError> {
        let files = libs::resolve(&self.entries)?;
        let content = files.content_size();
        if content > MAX_IN_MEMORY {
            let (why, mib) = (not_cached, content.div_ceil(1 << 20));
            return Err(InitramfsError::NoSpace { why, mib });
        }
        let memory = memfd_create("ktstr-initramfs", MemfdFlags::CLOEXEC)
            .map_err(|errno| InitramfsError::Write(errno.into()))?;
        let mut out = BufWriter::with_capacity(1 << 20, File::from(memory));
        write::archive(&files.entries, &mut out)?;
        let file = out
            .into_inner()
            .map_err(|error| InitramfsError::Write(error.into_error()))?;
        let size = file.metadata().map_err(InitramfsError::Write)?.len();
        // The path has this process's id, as a backend may be another process.
        let path = format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd());
        Ok(PackedInitramfs {
            path: path.into(),
            size,
            unpacked_size: files.unpacked_size(),
            hit: false,
            not_cached: Some(not_cached),
            _file: file,
        })
    }

    /// The hash of the description, without the content of the files that it names.
    fn key(&self) -> String {
        let description = format!("{FORMAT} {:?}", self.entries);
        format!("{:032x}", xxh3_128(description.as_bytes()))
    }

    fn build_into(&self, dir: &Path, index_path: &Path) -> Result<PackedInitramfs, InitramfsError> {
        let files = libs::resolve(&self.entries)?;
        let temporary = files::temporary_beside(&dir.join("archive"));
        let written = write_hashed(&temporary, |out| write::archive(&files.entries, out));
        let gone = || {
            let _ = fs::remove_file(&temporary);
        };
        let (content, size) = written.inspect_err(|_| gone())?;
        let archive = format!("{content:032x}.cpio");
        let path = dir.join(&archive);
        fs::rename(&temporary, &path)
            .inspect_err(|_| gone())
            .map_err(cache_error(&path))?;
        let unpacked_size = files.unpacked_size();
        let index = Index {
            unpacked_size,
            inputs: files.inputs,
            archive,
            size,
        };
        // Without an index, the next lookup only takes longer.
        if let Ok(json) = serde_json::to_vec(&index) {
            let _ = files::write_atomic(index_path, &json);
        }
        let file = open_locked(&path, size).ok_or_else(|| {
            cache_error(&path)(io::Error::other("it vanished right after it was built"))
        })?;
        Ok(PackedInitramfs {
            path,
            size,
            unpacked_size,
            hit: false,
            not_cached: None,
            _file: file,
        })
    }
}

fn cache_error(path: &Path) -> impl FnOnce(io::Error) -> InitramfsError {
    let path = path.to_owned();
    move |source| InitramfsError::Cache { path, source }
}

/// Writes a file; returns the hash and the size of its content.
fn write_hashed(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<(), InitramfsError>,
) -> Result<(u128, u64), InitramfsError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut out = Hashed {
        file: BufWriter::with_capacity(1 << 20, file.map_err(cache_error(path))?),
        hash: Box::new(Xxh3::new()),
        size: 0,
    };
    content(&mut out).map_err(|error| match error {
        InitramfsError::Write(source) => cache_error(path)(source),
        other => other,
    })?;
    let file = out
        .file
        .into_inner()
        .map_err(|error| cache_error(path)(error.into_error()))?;
    file.sync_all().map_err(cache_error(path))?;
    Ok((out.hash.digest128(), out.size))
}

struct Hashed {
    file: BufWriter<File>,
    hash: Box<Xxh3>,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The archive of the index, if none of its source files has changed.
fn lookup(dir: &Path, index_path: &Path) -> Option<PackedInitramfs> {
    let index: Index = serde_json::from_slice(&fs::read(index_path).ok()?).ok()?;
    if !index.inputs.iter().all(Input::holds) {
        return None;
    }
    let path = dir.join(&index.archive);
    let file = open_locked(&path, index.size)?;
    // Marks it as used, for pruning. If that is not permitted, it is used all the same.
    let _ = file.set_modified(SystemTime::now());
    Some(PackedInitramfs {
        path,
        size: index.size,
        unpacked_size: index.unpacked_size,
        hit: true,
        not_cached: None,
        _file: file,
    })
}

/// Opens an archive and locks it against pruning; `None` if it is missing or incomplete.
fn open_locked(path: &Path, size: u64) -> Option<File> {
    let file = File::open(path).ok()?;
    file.lock_shared().ok()?;
    let metadata = file.metadata().ok()?;
    // If it has no link left, it was pruned between the two calls.
    (metadata.nlink() > 0 && metadata.len() == size).then_some(file)
}

/// Removes archives above the limits, the least recently used first, and leftovers of killed writers.
///
/// Archives in use are locked, and are kept. Failures are ignored: another process may be pruning, and the next call
/// tries again.
fn prune(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let mut archives = Vec::new();
    let mut others = Vec::new();
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let path = entry.path();
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        match path.extension().and_then(|e| e.to_str()) {
            Some("cpio") => archives.push((modified, metadata.len(), path)),
            Some("tmp" | "json") => others.push((modified, path)),
            _ => {}
        }
    }
    archives.sort_by_key(|(modified, _, _)| Reverse(*modified));
    let mut bytes = 0;
    for (index, (_, size, path)) in archives.iter().enumerate() {
        bytes += size;
        if index >= MAX_ARCHIVES || bytes > MAX_BYTES {
            remove_unused(path);
        }
    }
    // Unfinished files without a writer, and indices of archives that were removed long ago.
    for (modified, path) in others {
        let age = SystemTime::now()
            .duration_since(modified)
            .unwrap_or_default();
        let stale = match path.extension().and_then(|e| e.to_str()) {
            Some("json") => age > STALE && !leads_somewhere(dir, &path),
            _ => age > STALE,
        };
        if stale {
            let _ = fs::remove_file(path);
        }
    }
}

fn leads_somewhere(dir: &Path, index: &Path) -> bool {
    let parse = || -> Option<Index> { serde_json::from_slice(&fs::read(index).ok()?).ok() };
    parse().is_some_and(|index| dir.join(index.archive).exists())
}

fn remove_unused(path: &Path) {
    let Ok(file) = File::open(path) else {
        return;
    };
    // The lock is held during the removal: a process that has opened it in the meantime sees that it has no link.
    if file.try_lock().is_ok() {
        let _ = fs::remove_file(path);
    }
}
