//! Which runs there are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ktstr_core::record::{RecordFile, RecordKind, RunStore, StoredRun};
use ktstr_core::timestamp::rfc3339;
use serde::Serialize;

use super::scan::{self, Unreadable};
use super::{SCHEMA, StatsError, runs};

/// Damaged records of a run that are tried for the architecture.
const MOST_TRIED: usize = 100;

/// The runs below a directory, newest first: the document of `stats list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunList {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The directory.
    pub dir: PathBuf,
    /// The runs.
    pub runs: Vec<ListedRun>,
    /// What could not be read. Of each run, records are read until one tells the architecture.
    pub unreadable: Vec<Unreadable>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedRun {
    /// Name of its directory: what `--run` takes.
    pub run: String,
    /// Cases that have a record, of any session; cases whose only record is of an attempt that did not end are not
    /// counted.
    pub tests: usize,
    /// When the newest session in it began, RFC 3339 in UTC.
    pub date: String,
    /// Architecture of the host; absent if no record tells it.
    pub arch: Option<String>,
    /// Its path.
    pub path: PathBuf,
}

/// The runs in `store`, newest first.
pub fn list_runs(store: &RunStore) -> Result<RunList, StatsError> {
    let mut unreadable = Vec::new();
    let runs = runs(store)?.into_iter();
    let runs = runs.map(|run| listed(run, &mut unreadable)).collect();
    unreadable.sort();
    Ok(RunList {
        schema: SCHEMA,
        dir: store.dir().to_owned(),
        runs,
        unreadable,
    })
}

fn listed(run: StoredRun, unreadable: &mut Vec<Unreadable>) -> ListedRun {
    let files = scan::files(&run.path, unreadable);
    let latest = files.iter().filter(|file| file.kind == RecordKind::Latest);
    let names: BTreeSet<_> = latest.filter_map(|file| file.path.file_name()).collect();
    let tests = names.len();
    ListedRun {
        run: run.name,
        tests,
        date: rfc3339(run.begun),
        arch: arch(&files, unreadable),
        path: run.path,
    }
}

fn arch(files: &[RecordFile], unreadable: &mut Vec<Unreadable>) -> Option<String> {
    for file in files.iter().take(MOST_TRIED) {
        let read = scan::read(std::slice::from_ref(file), |record| {
            Some(record.sidecar.host.arch)
        });
        unreadable.extend(read.unreadable);
        let arch = read.items.into_iter().find(|arch| !arch.is_empty());
        if arch.is_some() {
            return arch;
        }
    }
    None
}
