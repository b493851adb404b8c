//! Reads the records of runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use super::super::sidecar::Sidecar;
use super::super::sidecar::SidecarError;
use super::RunDir;
use crate::Outcome;

/// Suffix of a record that is not the newest of its case.
pub(super) const EARLIER: &str = ".json";

/// Suffix of the record of an attempt that has not ended.
pub(super) const UNFINISHED: &str = ".unfinished.json";

/// Fewer files are not worth a thread of their own.
const FILES_OF_A_THREAD: usize = 256;

/// A record in a run directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub sidecar: Sidecar,
    /// The file with the evidence of its failure, if there is one.
    pub failure_dump: Option<PathBuf>,
    /// Which record of its case it is.
    pub kind: RecordKind,
}

/// Which record of its case a [`Record`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// The newest.
    Latest,
    /// An attempt, or an iteration of a stress run, that was followed by another.
    Earlier,
    /// An attempt that has not ended: it is running, or it was killed.
    Unfinished,
}

impl RunDir {
    /// Every record in the directory, of any run, ordered by file name; an error for each that cannot be read.
    pub fn records(&self) -> io::Result<Vec<Result<Record, SidecarError>>> {
        self.read(|_| true)
    }

    /// The records of this run, and an error for each that cannot be read.
    pub fn own_records(&self) -> io::Result<Vec<Result<Record, SidecarError>>> {
        let mut records = self.read(|_| true)?;
        records.retain(|record| {
            record
                .as_ref()
                .map_or(true, |record| record.sidecar.epoch == self.epoch)
        });
        Ok(records)
    }

    /// The newest record of every case, of any run, ordered by file name; an error for each that cannot be read.
    pub fn sidecars(&self) -> io::Result<Vec<Result<Sidecar, SidecarError>>> {
        let records = self.read(|kind| kind == RecordKind::Latest)?;
        let sidecar = |record: Result<Record, _>| record.map(|record| record.sidecar);
        Ok(records.into_iter().map(sidecar).collect())
    }

    fn read(
        &self,
        wanted: impl Fn(RecordKind) -> bool,
    ) -> io::Result<Vec<Result<Record, SidecarError>>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        let is_dump = |name: &&String| name.ends_with(Sidecar::FAILURE_DUMP_SUFFIX);
        let dumps: BTreeSet<String> = names.iter().filter(is_dump).cloned().collect();
        names.retain(|name| kind_of(name).is_some_and(|(kind, _)| wanted(kind)));
        let read_all = |names: &[String]| -> Vec<_> {
            let names = names.iter();
            names
                .filter_map(|name| self.read_one(name, &dumps))
                .collect()
        };
        let readers = readers(names.len());
        if readers == 1 {
            return Ok(read_all(&names));
        }
        // Parsing takes most of the time.
        Ok(thread::scope(|scope| {
            let parts = names.chunks(names.len().div_ceil(readers));
            let parts: Vec<_> = parts
                .map(|names| scope.spawn(move || read_all(names)))
                .collect();
            let parts = parts.into_iter();
            parts
                .flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        }))
    }

    /// The record in the file called `name`, with its evidence if that is among `dumps`; `None` if there is no such file any
    /// more.
    fn read_one(
        &self,
        name: &str,
        dumps: &BTreeSet<String>,
    ) -> Option<Result<Record, SidecarError>> {
        let (kind, stem) = kind_of(name)?;
        let path = self.path.join(name);
        match Sidecar::read(&path) {
            Ok(sidecar) => {
                let dump = format!("{stem}{}", Sidecar::FAILURE_DUMP_SUFFIX);
                let has_dump = kind != RecordKind::Unfinished && dumps.contains(&dump);
                let dump = Some(self.path.join(dump)).filter(|dump| has_dump && dump.exists());
                Some(Ok(Record {
                    path,
                    sidecar,
                    failure_dump: dump,
                    kind,
                }))
            }
            // The attempt ended, or was replaced, after the directory was listed.
            Err(SidecarError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// How many threads read `files` records.
fn readers(files: usize) -> usize {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    cpus.min(files / FILES_OF_A_THREAD).max(1)
}

/// Whether a file called `name` should be a record.
pub(in super::super) fn is_record_name(name: &str) -> bool {
    kind_of(name).is_some()
}

/// The kind of a record, and the part of its name before the suffix; `None` for other files.
fn kind_of(name: &str) -> Option<(RecordKind, &str)> {
    if name.starts_with('.') || name.ends_with(Sidecar::FAILURE_DUMP_SUFFIX) {
        return None;
    }
    if let Some(stem) = name.strip_suffix(Sidecar::SUFFIX) {
        return Some((RecordKind::Latest, stem));
    }
    let (kind, tagged) = match name.strip_suffix(UNFINISHED) {
        Some(tagged) => (RecordKind::Unfinished, tagged),
        None => (RecordKind::Earlier, name.strip_suffix(EARLIER)?),
    };
    let (_, tag) = tagged.rsplit_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let attempt = |text: &str| text.strip_prefix("attempt-").is_some_and(number);
    let is_tag = match tag.strip_prefix("stress-") {
        Some(rest) => rest
            .split_once('-')
            .is_some_and(|(iteration, rest)| number(iteration) && attempt(rest)),
        None => attempt(tag),
    };
    is_tag.then_some((kind, tagged))
}

/// The results of one run from its `records`: one record for each case, by stem.
///
/// Of the attempts of one iteration the last one counts, as for nextest; of the iterations the worst one. An attempt
/// that did not end counts unless there is a record of it or of a later attempt.
pub fn standing(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut last: BTreeMap<(String, Option<u32>), Record> = BTreeMap::new();
    for record in records {
        let key = (record.sidecar.stem(), record.sidecar.stress);
        let rank = |record: &Record| {
            let ended = record.kind != RecordKind::Unfinished;
            (record.sidecar.attempt, ended)
        };
        match last.get(&key) {
            Some(other) if rank(other) > rank(&record) => {}
            _ => drop(last.insert(key, record)),
        }
    }
    let mut worst: BTreeMap<String, Record> = BTreeMap::new();
    let outcome = |record: &Record| -> Outcome { record.sidecar.verdict.outcome() };
    for ((stem, _), record) in last {
        match worst.get(&stem) {
            Some(other) if outcome(other) > outcome(&record) => {}
            _ => drop(worst.insert(stem, record)),
        }
    }
    worst.into_values().collect()
}
