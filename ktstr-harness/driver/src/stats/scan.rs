//! Reads the records of directories, several at once, and keeps what is made of each.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ktstr_core::record::{Record, RecordFile, RunDir, SidecarError};
use serde::Serialize;

/// More threads do not read faster.
const MOST_THREADS: usize = 8;

/// Fewer files than this are read by one thread.
const SHARE: usize = 64;

/// Something that should have been read: a record, or a run directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unreadable {
    /// The file or directory.
    pub path: String,
    /// What is wrong with it and what to do, in one line that names it.
    pub error: String,
}

/// What was made of records.
#[derive(Debug)]
pub(super) struct Scanned<T> {
    /// By file name within each directory.
    pub(super) items: Vec<T>,
    pub(super) unreadable: Vec<Unreadable>,
}

impl<T> Default for Scanned<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            unreadable: Vec::new(),
        }
    }
}

/// The record files in `dir`; none, and a line about it, if it cannot be listed.
pub(super) fn files(dir: &Path, unreadable: &mut Vec<Unreadable>) -> Vec<RecordFile> {
    RunDir::new(dir, "").files().unwrap_or_else(|error| {
        unreadable.push(Unreadable {
            path: dir.display().to_string(),
            error: format!("run directory {}: {error}", dir.display()),
        });
        Vec::new()
    })
}

/// Reads `files`. `keep` makes of each record what is needed of it, so that no more than one record of each thread is in
/// memory; records that it makes nothing of are left out.
pub(super) fn read<T: Send>(
    files: &[RecordFile],
    keep: impl Fn(Record) -> Option<T> + Sync,
) -> Scanned<T> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let threads = cpus
        .min(MOST_THREADS)
        .min(files.len().div_ceil(SHARE))
        .max(1);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, file)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            files.get(at).map(|file| (at, file))
        } {
            match file.read() {
                Ok(record) => done.extend(record.and_then(&keep).map(|item| (at, Ok(item)))),
                Err(error) => done.push((at, Err(unreadable(file, &error)))),
            }
        }
        done
    };
    let mut done: Vec<(usize, Result<T, Unreadable>)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    let mut scanned = Scanned::default();
    for (_, read) in done {
        match read {
            Ok(item) => scanned.items.push(item),
            Err(error) => scanned.unreadable.push(error),
        }
    }
    scanned
}

/// Reads every record in `dir`.
pub(super) fn read_dir<T: Send>(
    dir: &Path,
    keep: impl Fn(Record) -> Option<T> + Sync,
) -> Scanned<T> {
    let mut unreadable = Vec::new();
    let files = files(dir, &mut unreadable);
    let mut scanned = read(&files, keep);
    scanned.unreadable.extend(unreadable);
    scanned
}

fn unreadable(file: &RecordFile, error: &SidecarError) -> Unreadable {
    Unreadable {
        path: file.path.display().to_string(),
        error: error.to_string(),
    }
}
