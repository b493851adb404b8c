//! Reads the records of runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use serde::de::DeserializeOwned;

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

/// A file that should be a record, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFile {
    /// The file.
    pub path: PathBuf,
    /// Which record of its case it is.
    pub kind: RecordKind,
    /// The file with the evidence of its failure, if there is one.
    failure_dump: Option<PathBuf>,
}

/// What decides which record of a case counts; see [`standing_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// [`Sidecar::stem`]: the case.
    pub stem: String,
    /// The iteration of a stress run.
    pub stress: Option<u32>,
    /// The attempt.
    pub attempt: u32,
    /// Whether the attempt ended.
    pub ended: bool,
    /// How.
    pub outcome: Outcome,
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

    /// Calls `take` with a part of the newest record of every case, of any run; records that cannot be read are left out.
    /// `T` has the fields that are wanted, which spares parsing the others.
    pub fn each_latest<T: DeserializeOwned>(&self, mut take: impl FnMut(T)) {
        for file in self.files().unwrap_or_default() {
            if file.kind == RecordKind::Latest
                && let Ok(part) = Sidecar::read_part(&file.path)
            {
                take(part);
            }
        }
    }

    /// The files that should be records, of any run, ordered by name. None is opened: [`RecordFile::read`] does that, so
    /// that thousands of them can be read without being held at once.
    pub fn files(&self) -> io::Result<Vec<RecordFile>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        let is_dump = |name: &&String| name.ends_with(Sidecar::FAILURE_DUMP_SUFFIX);
        let dumps: BTreeSet<&String> = names.iter().filter(is_dump).collect();
        let file = |name: &String| {
            let (kind, stem) = kind_of(name)?;
            let dump = format!("{stem}{}", Sidecar::FAILURE_DUMP_SUFFIX);
            let has_dump = kind != RecordKind::Unfinished && dumps.contains(&dump);
            Some(RecordFile {
                path: self.path.join(name),
                kind,
                failure_dump: has_dump.then(|| self.path.join(dump)),
            })
        };
        Ok(names.iter().filter_map(file).collect())
    }

    fn read(
        &self,
        wanted: impl Fn(RecordKind) -> bool,
    ) -> io::Result<Vec<Result<Record, SidecarError>>> {
        let mut files = self.files()?;
        files.retain(|file| wanted(file.kind));
        let read_all = |files: &[RecordFile]| -> Vec<_> {
            let records = files.iter().filter_map(|file| file.read().transpose());
            records.collect()
        };
        let readers = readers(files.len());
        if readers == 1 {
            return Ok(read_all(&files));
        }
        // Parsing takes most of the time.
        Ok(thread::scope(|scope| {
            let parts = files.chunks(files.len().div_ceil(readers));
            let parts: Vec<_> = parts
                .map(|files| scope.spawn(move || read_all(files)))
                .collect();
            let parts = parts.into_iter();
            parts
                .flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        }))
    }
}

impl RecordFile {
    /// Reads the record; `None` if it is gone: the attempt ended, or was replaced, after the directory was listed.
    pub fn read(&self) -> Result<Option<Record>, SidecarError> {
        let sidecar = match Sidecar::read(&self.path) {
            Ok(sidecar) => sidecar,
            Err(SidecarError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let dump = self.failure_dump.clone().filter(|dump| dump.exists());
        Ok(Some(Record {
            path: self.path.clone(),
            sidecar,
            failure_dump: dump,
            kind: self.kind,
        }))
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

impl Standing {
    /// That of `record`.
    pub fn of(record: &Record) -> Self {
        let sidecar = &record.sidecar;
        Self {
            stem: sidecar.stem(),
            stress: sidecar.stress,
            attempt: sidecar.attempt,
            ended: record.kind != RecordKind::Unfinished,
            outcome: sidecar.verdict.outcome(),
        }
    }
}

/// The results of one run from its `records`: one record for each case, by stem.
///
/// Of the attempts of one iteration the last one counts, as for nextest; of the iterations the worst one. An attempt
/// that did not end counts unless there is a record of it or of a later attempt.
pub fn standing(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let records = records.into_iter();
    standing_by(records.map(|record| (Standing::of(&record), record)))
}

/// The same of anything that was made from records, without the records themselves.
pub fn standing_by<T>(items: impl IntoIterator<Item = (Standing, T)>) -> Vec<T> {
    let mut last: BTreeMap<(String, Option<u32>), (Standing, T)> = BTreeMap::new();
    for (standing, item) in items {
        let key = (standing.stem.clone(), standing.stress);
        let rank = |standing: &Standing| (standing.attempt, standing.ended);
        match last.get(&key) {
            Some((other, _)) if rank(other) > rank(&standing) => {}
            _ => drop(last.insert(key, (standing, item))),
        }
    }
    let mut worst: BTreeMap<String, (Outcome, T)> = BTreeMap::new();
    for (standing, item) in last.into_values() {
        match worst.get(&standing.stem) {
            Some((other, _)) if *other > standing.outcome => {}
            _ => drop(worst.insert(standing.stem, (standing.outcome, item))),
        }
    }
    worst.into_values().map(|(_, item)| item).collect()
}
