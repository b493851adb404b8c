//! Which values the records of all runs have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ktstr_core::record::{RunStore, Sidecar};
use serde::Serialize;

use super::facts::kernel_of;
use super::scan::{self, Unreadable};
use super::{SCHEMA, StatsError, runs};

/// The distinct values in the records of all runs: the document of `stats list-values --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueList {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The directory of the runs.
    pub dir: PathBuf,
    /// Labels of kernels.
    pub kernels: Vec<Value>,
    /// Commits of the project.
    pub commits: Vec<Value>,
    /// Schedulers under test.
    pub schedulers: Vec<Value>,
    /// Shapes of machines.
    pub topologies: Vec<Value>,
    /// What workers did.
    pub work_types: Vec<Value>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Value {
    /// The value.
    pub value: String,
    /// Records that have it.
    pub records: usize,
}

/// The values of one record.
struct Own {
    single: [Option<String>; 4],
    work_types: BTreeSet<String>,
}

impl Own {
    fn of(sidecar: &Sidecar) -> Self {
        let work_types = sidecar
            .cgroups
            .iter()
            .filter_map(|cgroup| cgroup.work_type.clone());
        Self {
            single: [
                kernel_of(sidecar),
                sidecar.project_commit.clone(),
                Some(sidecar.scheduler.clone()),
                sidecar.topology.map(|topology| topology.to_string()),
            ],
            work_types: work_types.collect(),
        }
    }
}

/// The distinct values in every record in `store`, by name.
pub fn list_values(store: &RunStore) -> Result<ValueList, StatsError> {
    let mut counts: [BTreeMap<String, usize>; 5] = Default::default();
    let mut unreadable = Vec::new();
    for run in runs(store)? {
        let scanned = scan::read_dir(&run.path, |record| Some(Own::of(&record.sidecar)));
        unreadable.extend(scanned.unreadable);
        for own in scanned.items {
            for (counts, value) in counts.iter_mut().zip(own.single) {
                if let Some(value) = value {
                    *counts.entry(value).or_default() += 1;
                }
            }
            for value in own.work_types {
                *counts[4].entry(value).or_default() += 1;
            }
        }
    }
    unreadable.sort();
    let [kernels, commits, schedulers, topologies, work_types] = counts.map(|counts| {
        let values = counts.into_iter();
        values
            .map(|(value, records)| Value { value, records })
            .collect()
    });
    Ok(ValueList {
        schema: SCHEMA,
        dir: store.dir().to_owned(),
        kernels,
        commits,
        schedulers,
        topologies,
        work_types,
        unreadable,
    })
}
