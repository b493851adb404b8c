//! Why optional fields of records are absent.

mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ktstr_core::record::{INTERRUPTED, Record, RecordKind, RunStore, Sidecar};
use ktstr_core::{CaseName, Outcome};
use serde::Serialize;

use super::scan::{self, Unreadable};
use super::{SCHEMA, StatsError, run};
use fields::FIELDS;

/// Which optional fields the records of a run lack, and why: the document of `stats explain-sidecar --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run.
    pub run: String,
    /// Records that were read: of any session, the earlier attempts too.
    pub records: usize,
    /// The fields that some of them lack, in the order of the record. A field of a part that is absent itself is not
    /// listed for that record.
    pub absent: Vec<Absence>,
    /// The optional fields that no record lacks.
    pub present: Vec<&'static str>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A field that records lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absence {
    /// Its path in the record, such as `timings.boot_s`; `cgroups[]` is any cgroup.
    pub field: &'static str,
    /// Records that lack it.
    pub absent: usize,
    /// Records that could have it.
    pub of: usize,
    /// Why, the most frequent reason first.
    pub groups: Vec<Group>,
}

/// Records that lack a field for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What kind of case they are of.
    pub kind: CaseKind,
    /// Their number.
    pub records: usize,
    /// Whether something can be done about it.
    pub class: Class,
    /// Why the field is absent.
    pub why: String,
    /// What to do; only where something can be done.
    pub fix: Option<&'static str>,
    /// The first of the cases.
    pub example: String,
}

/// Whether something can be done about an absent field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Something can be done.
    Actionable,
    /// A record of this kind does not have it.
    Expected,
}

/// What kind of case a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseKind {
    /// It began and has not ended.
    Unfinished,
    /// It was skipped.
    Skipped,
    /// It ran on the host.
    Host,
    /// It is a cell of the verifier sweep.
    Cell,
    /// It ended before a machine ran.
    NoMachine,
    /// It ran in a machine.
    Machine,
}

impl CaseKind {
    fn of(sidecar: &Sidecar, kind: RecordKind) -> Self {
        let interrupted = || {
            sidecar
                .verdict
                .details()
                .iter()
                .any(|it| it.check == INTERRUPTED)
        };
        let name = sidecar.case.parse::<CaseName>();
        if kind == RecordKind::Unfinished || interrupted() {
            Self::Unfinished
        } else if matches!(name, Ok(CaseName::Host { .. })) {
            Self::Host
        } else if !ran(sidecar) {
            match sidecar.verdict.outcome() {
                Outcome::Skip => Self::Skipped,
                _ => Self::NoMachine,
            }
        } else if sidecar.verifier.is_some() || matches!(name, Ok(CaseName::Verifier { .. })) {
            Self::Cell
        } else {
            Self::Machine
        }
    }
}

/// Whether a machine ran, however it ended.
fn ran(sidecar: &Sidecar) -> bool {
    let Sidecar {
        timings,
        machine,
        performance_mode,
        ..
    } = sidecar;
    machine.is_some() || performance_mode.is_some() || timings.boot_s.is_some()
}

/// A reason for an absence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reason {
    class: Class,
    why: String,
    fix: Option<&'static str>,
}

/// Explains the absent fields of the run called `name` in `store`.
pub fn explain(store: &RunStore, name: &str) -> Result<Explanation, StatsError> {
    let run = run(store, name)?;
    let scanned = scan::read_dir(&run.path, |record| Some(Own::of(&record)));
    let mut unreadable = scanned.unreadable;
    unreadable.sort();
    let (absent, present) = gather(&scanned.items);
    Ok(Explanation {
        schema: SCHEMA,
        run: run.name,
        records: scanned.items.len(),
        absent,
        present,
        unreadable,
    })
}

/// The fields of one record.
#[derive(Debug)]
struct Own {
    kind: CaseKind,
    case: String,
    /// In the order of [`FIELDS`]; `None` where the part is absent that has the field.
    fields: Vec<Option<Result<(), Reason>>>,
}

impl Own {
    fn of(record: &Record) -> Self {
        let kind = CaseKind::of(&record.sidecar, record.kind);
        let look = |field: &fields::Field| (field.look)(&record.sidecar, kind);
        Self {
            kind,
            case: record.sidecar.case.clone(),
            fields: FIELDS.iter().map(look).collect(),
        }
    }
}

fn gather(records: &[Own]) -> (Vec<Absence>, Vec<&'static str>) {
    let mut absences = Vec::new();
    let mut present = Vec::new();
    for (at, field) in FIELDS.iter().enumerate() {
        let mut groups: BTreeMap<(CaseKind, &Reason), Group> = BTreeMap::new();
        let mut of = 0;
        for own in records {
            let Some(look) = &own.fields[at] else {
                continue;
            };
            of += 1;
            let Err(reason) = look else { continue };
            let group = groups.entry((own.kind, reason)).or_insert_with(|| Group {
                kind: own.kind,
                records: 0,
                class: reason.class,
                why: reason.why.clone(),
                fix: reason.fix,
                example: own.case.clone(),
            });
            group.records += 1;
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.records));
        let absent = groups.iter().map(|group| group.records).sum();
        if absent > 0 {
            absences.push(Absence {
                field: field.name,
                absent,
                of,
                groups,
            });
        } else if of > 0 {
            present.push(field.name);
        }
    }
    (absences, present)
}
