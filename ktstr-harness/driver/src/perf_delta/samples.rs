//! The values of one side of a comparison, from the records of its runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use ktstr_core::Outcome;
use ktstr_core::record::{INTERRUPTED, MetricDefinition, Record, RecordKind, RunDir, Sidecar};
use serde::Serialize;

use crate::Session;

/// A case of a performance test: what is compared with itself. Cases of two kernels are two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PerfCase {
    /// Cargo package of the test target, where the record says so.
    pub package: Option<String>,
    /// The test target, where the record says so.
    pub target: Option<String>,
    /// The test function.
    pub test: String,
    /// `base`, or the name of the gauntlet preset.
    pub variant: String,
    /// Label of the kernel.
    pub kernel: Option<String>,
}

impl PerfCase {
    fn of(sidecar: &Sidecar) -> Self {
        Self {
            package: sidecar.package.clone(),
            target: sidecar.target.clone(),
            test: sidecar.test.clone(),
            variant: sidecar.variant.clone(),
            kernel: sidecar.kernel_label.as_ref().map(ToString::to_string),
        }
    }

    /// `steady`, or `steady/8cpu-2llc-smt` for a gauntlet variant: without what tells apart cases of one name.
    pub fn name(&self) -> String {
        match self.variant.as_str() {
            "base" => self.test.clone(),
            variant => format!("{}/{variant}", self.test),
        }
    }
}

/// Which records are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machines {
    /// Those of machines in performance mode.
    Exclusive,
    /// Those of all machines of tests that are declared with `performance_mode`: also of those that shared the host's CPUs
    /// with others, because of `--no-perf-mode`.
    Shared,
}

impl Machines {
    /// Those whose figures tests of `session` are compared by.
    pub(super) fn of(session: &Session) -> Self {
        if session.is_without_perf_mode() {
            Self::Shared
        } else {
            Self::Exclusive
        }
    }
}

/// The records of one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Side {
    pub(super) cases: BTreeMap<PerfCase, CaseRuns>,
    /// Performance tests that were skipped, and why.
    pub(super) skipped: BTreeMap<PerfCase, String>,
}

/// The runs of one case on one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct CaseRuns {
    /// How many there are.
    pub(super) runs: usize,
    /// How many of them failed or were inconclusive.
    pub(super) failed: usize,
    /// What the first of those says.
    pub(super) failure: Option<String>,
    /// Values of each metric, one for each run that has it.
    pub(super) values: BTreeMap<String, Vec<f64>>,
    /// The metrics that programs of the test measure, by name.
    pub(super) definitions: BTreeMap<String, MetricDefinition>,
    /// Shapes of the machines, such as `1n1l2c1t`.
    pub(super) topologies: BTreeSet<Option<String>>,
    pub(super) backends: BTreeSet<Option<String>>,
    /// Models of the host's CPUs.
    pub(super) cpu_models: BTreeSet<Option<String>>,
    /// Whether the machines were in performance mode.
    pub(super) modes: BTreeSet<bool>,
}

impl Side {
    /// What of `records` is of performance tests.
    pub(super) fn of<'r>(
        records: impl IntoIterator<Item = &'r Sidecar>,
        machines: Machines,
    ) -> Self {
        let mut side = Self::default();
        for record in records {
            side.add(record, machines);
        }
        side
    }

    fn add(&mut self, record: &Sidecar, machines: Machines) {
        let declared = record.performance_mode_declared == Some(true);
        let case = PerfCase::of(record);
        let outcome = record.verdict.outcome();
        if declared && outcome == Outcome::Skip {
            self.skipped.entry(case).or_insert_with(|| reason(record));
            return;
        }
        let exclusive = record.performance_mode == Some(true);
        let wanted = match machines {
            Machines::Exclusive => exclusive,
            Machines::Shared => exclusive || declared,
        };
        if wanted && outcome != Outcome::Skip {
            self.cases.entry(case).or_default().add(record);
        }
    }

    /// Whether there is no record of a run.
    pub(super) fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// The most runs of a case.
    pub(super) fn most_runs(&self) -> usize {
        self.cases.values().map(|case| case.runs).max().unwrap_or(0)
    }
}

impl CaseRuns {
    fn add(&mut self, record: &Sidecar) {
        self.runs += 1;
        let outcome = record.verdict.outcome();
        if matches!(outcome, Outcome::Fail | Outcome::Inconclusive) {
            self.failed += 1;
            self.failure.get_or_insert_with(|| reason(record));
        }
        for (name, value) in &record.metrics {
            self.values.entry(name.clone()).or_default().push(*value);
        }
        for definition in &record.metric_definitions {
            self.definitions
                .insert(definition.name.clone(), definition.clone());
        }
        self.topologies
            .insert(record.topology.map(|shape| shape.to_string()));
        self.backends.insert(record.backend.clone());
        self.cpu_models.insert(record.host.cpu_model.clone());
        self.modes.extend(record.performance_mode);
    }
}

/// What decided how `record` ended.
fn reason(record: &Sidecar) -> String {
    let details = record.verdict.decisive();
    let messages: Vec<&str> = details.map(|detail| detail.message.as_str()).collect();
    messages.join("; ")
}

/// Records that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Sidecar>,
    /// Which files cannot be read and why, in one line each.
    pub(super) unreadable: Vec<String>,
}

impl Found {
    /// Reads the records that count in `dir`, and in each directory in it: those of each case's newest run. Of the attempts
    /// of an iteration the last one counts; each iteration of a stress run is a run.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        found.add(dir);
        let mut below: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                below.push(path);
            }
        }
        below.sort();
        for path in below {
            found.add(&path);
        }
        Ok(found)
    }

    fn add(&mut self, path: &Path) {
        let read = match RunDir::new(path, "").records() {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                let line = format!("run directory {}: {error}", path.display());
                return self.unreadable.push(line);
            }
        };
        let mut records = Vec::new();
        for record in read {
            match record {
                Ok(record) => records.push(record),
                Err(error) => self.unreadable.push(error.to_string()),
            }
        }
        self.records.extend(measured(records));
    }
}

/// Of the records in a directory, those of each case's newest run: the last attempt that ended of each iteration.
fn measured(records: Vec<Record>) -> Vec<Sidecar> {
    let newest: BTreeMap<String, String> = records
        .iter()
        .filter(|record| record.kind == RecordKind::Latest)
        .map(|record| (record.sidecar.stem(), record.sidecar.epoch.clone()))
        .collect();
    let mut last: BTreeMap<(String, Option<u32>), Sidecar> = BTreeMap::new();
    for Record { sidecar, kind, .. } in records {
        let stem = sidecar.stem();
        let is_newest = newest.get(&stem) == Some(&sidecar.epoch);
        if kind == RecordKind::Unfinished || !is_newest {
            continue;
        }
        match last.get(&(stem.clone(), sidecar.stress)) {
            Some(other) if other.attempt > sidecar.attempt => {}
            _ => drop(last.insert((stem, sidecar.stress), sidecar)),
        }
    }
    last.into_values().collect()
}

/// Whether every case of `cases` has a record in `records` that says how it ended.
pub(super) fn have_all_ended<'c>(
    cases: impl IntoIterator<Item = &'c str>,
    records: &[Sidecar],
) -> bool {
    let ended: BTreeSet<&str> = records
        .iter()
        .filter(|record| record.verdict.decisive().all(|it| it.check != INTERRUPTED))
        .map(|record| record.case.as_str())
        .collect();
    cases.into_iter().all(|case| ended.contains(case))
}

#[cfg(test)]
mod tests;
