//! How much more the verifier has to do for a scheduler than it had in an earlier run.

use std::collections::{BTreeMap, BTreeSet};

use ktstr_core::CaseName;
use ktstr_core::record::{RecordFile, RunStore};
use serde::Serialize;

use super::facts::{self, Facts};
use super::outliers::median;
use super::{StatsError, runs, scan};

/// Earlier run directories that are looked through.
const MOST_RUNS: usize = 50;

/// Verified instructions against the newest earlier run that has the same cells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifierGrowth {
    /// The earlier run.
    pub before: String,
    /// By scheduler.
    pub schedulers: Vec<GrowthOfScheduler>,
}

/// The growth of the programs of one scheduler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrowthOfScheduler {
    /// The scheduler.
    pub scheduler: String,
    /// Programs that both runs verified, counted in each cell.
    pub compared: usize,
    /// Median of their growth, in percent; negative if they shrank.
    pub median_pct: f64,
    /// Those that changed, the largest growth first: of each program on each kernel, the machine where it grew most.
    pub changed: Vec<Growth>,
}

/// A program of a scheduler in both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// Its name.
    pub program: String,
    /// Label of the kernel.
    pub kernel: Option<String>,
    /// The preset.
    pub machine: String,
    /// Verified instructions in the earlier run.
    pub before: u64,
    /// Verified instructions now.
    pub now: u64,
    /// Growth in percent of the earlier number.
    pub growth_pct: f64,
}

/// A cell, in any run.
type Cell = (String, Option<String>, String);

fn cell(facts: &Facts) -> Cell {
    (
        facts.scheduler.clone(),
        facts.kernel.clone(),
        facts.variant.clone(),
    )
}

/// Compares the cells among `cases` with those of the newest run directory in `store` that has some of them, other than
/// `session`'s own. Only records of cells are read there; those that cannot be read are passed over, as they belong to
/// other runs.
pub(super) fn growth(
    store: &RunStore,
    session: &[String],
    cases: &[Facts],
) -> Result<Option<VerifierGrowth>, StatsError> {
    let now: BTreeMap<Cell, &Facts> = cases
        .iter()
        .filter(|facts| !facts.programs.is_empty())
        .map(|facts| (cell(facts), facts))
        .collect();
    if now.is_empty() {
        return Ok(None);
    }
    let others = runs(store)?.into_iter();
    let others = others
        .filter(|run| !session.contains(&run.name))
        .take(MOST_RUNS);
    for run in others {
        let files = scan::files(&run.path, &mut Vec::new());
        let files: Vec<RecordFile> = files.into_iter().filter(is_cell).collect();
        let read = scan::read(&files, |record| {
            let programs = facts::programs(&record.sidecar);
            let sidecar = record.sidecar;
            let kernel = facts::kernel_of(&sidecar);
            (!programs.is_empty())
                .then_some(((sidecar.scheduler, kernel, sidecar.variant), programs))
        });
        let before: BTreeMap<Cell, BTreeMap<String, u64>> = read.items.into_iter().collect();
        let schedulers = compare(&now, &before);
        if !schedulers.is_empty() {
            return Ok(Some(VerifierGrowth {
                before: run.name,
                schedulers,
            }));
        }
    }
    Ok(None)
}

/// By its name: records of cells are called `verifier-…`.
fn is_cell(file: &RecordFile) -> bool {
    let name = file.path.file_name().and_then(|name| name.to_str());
    let rest = name.and_then(|name| name.strip_prefix(CaseName::VERIFIER));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

fn compare(
    now: &BTreeMap<Cell, &Facts>,
    before: &BTreeMap<Cell, BTreeMap<String, u64>>,
) -> Vec<GrowthOfScheduler> {
    let mut schedulers: BTreeMap<&str, Vec<Growth>> = BTreeMap::new();
    for (cell, facts) in now {
        let Some(programs) = before.get(cell) else {
            continue;
        };
        let (scheduler, kernel, machine) = cell;
        for (program, now) in &facts.programs {
            let Some(before) = programs.get(program) else {
                continue;
            };
            schedulers.entry(scheduler).or_default().push(Growth {
                program: program.clone(),
                kernel: kernel.clone(),
                machine: machine.clone(),
                before: *before,
                now: *now,
                growth_pct: 100.0 * (*now as f64 - *before as f64) / (*before).max(1) as f64,
            });
        }
    }
    let schedulers = schedulers.into_iter();
    schedulers
        .filter_map(|(scheduler, all)| of_scheduler(scheduler, all))
        .collect()
}

fn of_scheduler(scheduler: &str, mut all: Vec<Growth>) -> Option<GrowthOfScheduler> {
    let percents: Vec<f64> = all.iter().map(|growth| growth.growth_pct).collect();
    let compared = all.len();
    all.retain(|growth| growth.before != growth.now);
    all.sort_by(|a, b| b.growth_pct.total_cmp(&a.growth_pct));
    let mut seen = BTreeSet::new();
    let mut changed = all;
    changed.retain(|growth| seen.insert((growth.program.clone(), growth.kernel.clone())));
    Some(GrowthOfScheduler {
        scheduler: scheduler.to_owned(),
        compared,
        median_pct: median(&percents)?,
        changed,
    })
}
