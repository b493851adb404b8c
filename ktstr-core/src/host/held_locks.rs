//! The locks of ktstr on this host and their holders. Reading them takes no lock.

mod holder;
mod proc_locks;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use holder::LockHolder;
use holder::holder;
use proc_locks::{FileId, held};

/// The directories of lock files.
#[derive(Debug, Clone)]
pub struct LockPlaces {
    /// Locks of CPUs, last-level caches and emulator slots: `KTSTR_LOCK_DIR`.
    pub lock_dir: PathBuf,
    /// Locks of the kernel cache: `{cache}/.locks`.
    pub cache: Option<PathBuf>,
    /// Locks of run directories: `{runs}/.locks`.
    pub runs: Option<PathBuf>,
}

/// What a lock stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LockKind {
    /// A last-level cache of the host.
    Llc,
    /// A CPU of the host.
    Cpu,
    /// A slot for an emulated machine.
    Emulator,
    /// An entry of the kernel cache, or a source tree that is being built.
    Cache,
    /// A run directory.
    Run,
}

/// A lock file, and who holds its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockStatus {
    /// What it stands for.
    pub kind: LockKind,
    /// Number of the cache, CPU or slot; `None` for a lock that only has a name.
    pub number: Option<u32>,
    /// File name without `.lock`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The holders; empty if the lock is free. A process in a PID namespace does not see those of other namespaces.
    pub holders: Vec<LockHolder>,
}

/// The state of locks could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}; check that it can be read")]
pub struct HeldLocksError {
    path: PathBuf,
    source: io::Error,
}

/// The holders of the lock on the file at `path`. This does not take the lock. `root` is `/` except in tests.
pub fn lock_holders(path: &Path, root: &Path) -> Result<Vec<LockHolder>, HeldLocksError> {
    let id = match FileId::of(path, root) {
        Ok(id) => id,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            let path = path.to_owned();
            return Err(HeldLocksError { path, source });
        }
    };
    let held = held(root)?.remove(&id).unwrap_or_default();
    Ok(held.into_iter().map(|held| holder(root, held)).collect())
}

/// Every lock of ktstr in `places`, ordered by kind, number and name. `root` is `/` except in tests.
///
/// Holders come from `{root}/proc/locks`, which names files by device and inode (kernel: `fs/locks.c`,
/// `lock_get_status`).
pub fn held_locks(places: &LockPlaces, root: &Path) -> Result<Vec<LockStatus>, HeldLocksError> {
    let held = held(root)?;
    let mut locks = Vec::new();
    for (path, name) in lock_files(&places.lock_dir)? {
        if let Some((kind, number)) = host_lock(&name) {
            locks.push((kind, Some(number), name, path));
        }
    }
    for (kind, dir) in [
        (LockKind::Cache, &places.cache),
        (LockKind::Run, &places.runs),
    ] {
        for (path, name) in dir.as_deref().map_or(Ok(Vec::new()), lock_files)? {
            locks.push((kind, None, name, path));
        }
    }
    locks.sort();
    let status = |(kind, number, name, path): (LockKind, Option<u32>, String, PathBuf)| {
        let id = match FileId::of(&path, root) {
            Ok(id) => id,
            // It was removed in the meantime.
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(source) => return Some(Err(HeldLocksError { path, source })),
        };
        let holders = held.get(&id).into_iter().flatten();
        let holders = holders.map(|&held| holder(root, held));
        Some(Ok(LockStatus {
            kind,
            number,
            name,
            path,
            holders: holders.collect(),
        }))
    };
    locks.into_iter().filter_map(status).collect()
}

/// The files `*.lock` in `dir`, with their names without `.lock`; none if there is no such directory.
fn lock_files(dir: &Path) -> Result<Vec<(PathBuf, String)>, HeldLocksError> {
    let error = |source| HeldLocksError {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(error)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(error)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(name) = name.strip_suffix(".lock").map(str::to_owned) {
            files.push((path, name));
        }
    }
    Ok(files)
}

/// What the lock `name` of the directory of host locks stands for; `None` for other files, as that directory may be
/// `/tmp`.
fn host_lock(name: &str) -> Option<(LockKind, u32)> {
    [
        ("ktstr-llc-", LockKind::Llc),
        ("ktstr-cpu-", LockKind::Cpu),
        ("ktstr-emulator-", LockKind::Emulator),
    ]
    .into_iter()
    .find_map(|(prefix, kind)| {
        let digits = name.strip_prefix(prefix)?;
        let number: u32 = digits.parse().ok()?;
        (number.to_string() == digits).then_some((kind, number))
    })
}

#[cfg(test)]
mod tests {
    use super::super::lock::{LockFile, LockMode};
    use super::*;

    fn places(dir: &Path) -> LockPlaces {
        LockPlaces {
            lock_dir: dir.join("host"),
            cache: Some(dir.join("cache/.locks")),
            runs: Some(dir.join("runs/.locks")),
        }
    }

    #[test]
    fn holders_are_found_and_what_is_free_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let root = Path::new("/");
        assert_eq!(held_locks(&places, root).unwrap(), []);
        let file = |dir: &Path, name: &str| dir.join(format!("{name}.lock"));
        let take = |path: &Path, mode| LockFile::try_acquire(path, mode).unwrap().unwrap();
        let shared = file(&places.lock_dir, "ktstr-cpu-10");
        let held = [
            take(&shared, LockMode::Shared),
            take(&shared, LockMode::Shared),
            take(
                &file(&places.lock_dir, "ktstr-emulator-0"),
                LockMode::Exclusive,
            ),
            take(
                &file(places.runs.as_deref().unwrap(), "6.12-abc"),
                LockMode::Exclusive,
            ),
        ];
        drop(take(
            &file(&places.lock_dir, "ktstr-cpu-9"),
            LockMode::Exclusive,
        ));
        for name in ["ktstr-cpu-01", "ktstr-cpu-x", "other"] {
            fs::write(file(&places.lock_dir, name), "").unwrap();
        }
        fs::write(places.lock_dir.join("ktstr-cpu-3"), "").unwrap();

        let locks = held_locks(&places, root).unwrap();
        let seen: Vec<_> = locks
            .iter()
            .map(|lock| (lock.kind, lock.number, lock.holders.len()))
            .collect();
        let expected = [
            (LockKind::Cpu, Some(9), 0),
            (LockKind::Cpu, Some(10), 2),
            (LockKind::Emulator, Some(0), 1),
            (LockKind::Run, None, 1),
        ];
        assert_eq!(seen, expected);
        let holder = &locks[2].holders[0];
        assert_eq!(holder.pid, std::process::id());
        assert_eq!(holder.mode, LockMode::Exclusive);
        let ours: Vec<String> = std::env::args().collect();
        assert_eq!(holder.command.as_deref(), Some(&ours[..]));
        assert_eq!(locks[1].holders[0].mode, LockMode::Shared);
        for lock in &locks {
            assert_eq!(lock_holders(&lock.path, root).unwrap(), lock.holders);
        }
        assert_eq!(lock_holders(Path::new("/no/such"), root).unwrap(), []);
        drop(held);
        let locks = held_locks(&places, root).unwrap();
        assert!(locks.iter().all(|lock| lock.holders.is_empty()));
    }

    #[test]
    fn a_process_that_is_gone_has_no_command() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let path = places.lock_dir.join("ktstr-llc-0.lock");
        fs::create_dir_all(&places.lock_dir).unwrap();
        fs::write(&path, "").unwrap();
        let id = FileId::of(&path, Path::new("/")).unwrap();
        let (major, minor, inode) = (id.major, id.minor, id.inode);
        fs::create_dir_all(dir.path().join("proc")).unwrap();
        let line = format!("1: FLOCK  ADVISORY  WRITE 77 {major:02x}:{minor:02x}:{inode} 0 EOF\n");
        let waits =
            format!("1: -> FLOCK  ADVISORY  READ 78 {major:02x}:{minor:02x}:{inode} 0 EOF\n");
        fs::write(dir.path().join("proc/locks"), line + &waits).unwrap();
        let locks = held_locks(&places, dir.path()).unwrap();
        let expected = LockHolder {
            pid: 77,
            mode: LockMode::Exclusive,
            command: None,
        };
        assert_eq!(locks[0].holders, [expected]);
        assert!(
            locks[0].holders[0]
                .to_string()
                .starts_with("process 77 (exited")
        );

        fs::remove_dir_all(dir.path().join("proc")).unwrap();
        let error = held_locks(&places, dir.path()).unwrap_err().to_string();
        assert!(error.contains("proc/locks: "), "{error}");
    }
}
