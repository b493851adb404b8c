//! Reads the records of runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::super::sidecar::Sidecar;
use super::super::sidecar::SidecarError;
use super::RunDir;
use crate::Outcome;

/// Suffix of a record that is not the newest of its case.
pub(super) const EARLIER: &str = ".json";

/// Suffix of the record of an attempt that has not ended.
pub(super) const UNFINISHED: &str = ".unfinished.json";

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

    /// Calls `take` with a part of the newest record of every case, of any run; records that cannot be read are left out.
    /// `T` has the fields that are wanted, which spares parsing the others.
    pub fn each_latest<T: DeserializeOwned>(&self, mut take: impl FnMut(T)) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let kind = name.to_str().and_then(kind_of);
            if matches!(kind, Some((RecordKind::Latest, _)))
                && let Ok(part) = Sidecar::read_part(&entry.path())
            {
                take(part);
            }
        }
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
        let mut records = Vec::new();
        for name in names {
            let Some((kind, stem)) = kind_of(&name).filter(|(kind, _)| wanted(*kind)) else {
                continue;
            };
            let path = self.path.join(&name);
            match Sidecar::read(&path) {
                Ok(sidecar) => {
                    let dump = self
                        .path
                        .join(format!("{stem}{}", Sidecar::FAILURE_DUMP_SUFFIX));
                    let has_dump = kind != RecordKind::Unfinished && dump.exists();
                    records.push(Ok(Record {
                        path,
                        sidecar,
                        failure_dump: has_dump.then_some(dump),
                        kind,
                    }));
                }
                // The attempt ended, or was replaced, after the directory was listed.
                Err(SidecarError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(error) => records.push(Err(error)),
            }
        }
        Ok(records)
    }
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
