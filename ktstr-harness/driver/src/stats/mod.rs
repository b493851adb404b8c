//! What past runs tell: an analysis of the newest, and lists of what there is.
//!
//! Each call reads the records below a directory ([`RunStore`]) and returns a document: a plain struct that serializes with
//! the number of its layout, [`SCHEMA`]. Records that cannot be read are named in the document ([`Unreadable`]); the rest is
//! analysed.
//!
//! ```no_run
//! use ktstr_core::record::RunStore;
//! use ktstr_driver::stats;
//!
//! let analysis = stats::analyze(&RunStore::new("target/ktstr"))?;
//! for outlier in &analysis.outliers {
//!     println!("{}: {} = {} on {}", outlier.test, outlier.metric, outlier.value, outlier.machine);
//! }
//! # Ok::<(), stats::StatsError>(())
//! ```

mod analysis;
mod explain;
mod facts;
mod findings;
mod growth;
mod hosts;
mod metrics;
mod outliers;
mod runs;
mod scan;
#[cfg(test)]
mod tests;
mod times;
mod values;
mod verdicts;

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::host::Host;
use ktstr_core::record::{RunStore, StoredRun};

pub use analysis::{Analysis, AnalyzedRun, AnalyzedSession, analyze};
pub use explain::{Absence, CaseKind, Class, Explanation, Group, explain};
pub use findings::{Exit, KernelFault, Restarted, Retried, SkipReason};
pub use growth::{Growth, GrowthOfScheduler, VerifierGrowth};
pub use hosts::{HostReport, RecordedHost, host_of_run, live_host};
pub use metrics::{MetricList, list_metrics};
pub use outliers::{LEAST_VARIANTS, LIMIT, Outlier};
pub use runs::{ListedRun, RunList, list_runs};
pub use scan::Unreadable;
pub use times::{Phases, TestTime};
pub use values::{Value, ValueList, list_values};
pub use verdicts::{CaseVerdict, Counts, TestVerdicts};

use crate::Session;

/// Number of the layout of the documents here: `schema` in each. It changes when a field changes its meaning or goes; a
/// field that is added does not change it.
pub const SCHEMA: u32 = 1;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// The directory of the runs cannot be listed.
    #[error("runs in {}: {source}", dir.display())]
    Store {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no cargo project, which would say where its runs are.
    #[error("no cargo project here")]
    NoProject,
    /// There is no such directory.
    #[error("{}: {source}", dir.display())]
    NoDirectory {
        /// The directory that was asked about.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No run directory is called so.
    #[error("no run `{run}` in {}{}", dir.display(), near_text(near))]
    UnknownRun {
        /// What was asked for.
        run: String,
        /// The directory.
        dir: PathBuf,
        /// Up to three names that are alike.
        near: Vec<String>,
    },
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    format!(" (there is {})", names.join(", "))
}

/// The runs of the cargo project around `dir`, by the environment of `host`. Cargo is asked for its target directory.
pub fn store(host: &Host, dir: &Path) -> Result<RunStore, StatsError> {
    let runs = match env::path(host, env::SIDECAR_DIR) {
        Some(dir) => Some(dir),
        None => Session::new(host.clone(), dir).runs_dir(),
    };
    runs.map(RunStore::new).ok_or(StatsError::NoProject)
}

/// The runs in `dir`, which has to be there: a name that is mistyped must not look like a project without runs.
pub fn store_in(dir: &Path) -> Result<RunStore, StatsError> {
    match std::fs::metadata(dir) {
        Ok(_) => Ok(RunStore::new(dir)),
        Err(source) => Err(StatsError::NoDirectory {
            dir: dir.to_owned(),
            source,
        }),
    }
}

fn runs(store: &RunStore) -> Result<Vec<StoredRun>, StatsError> {
    store.runs().map_err(|source| StatsError::Store {
        dir: store.dir().to_owned(),
        source,
    })
}

/// The run directory called `name`.
fn run(store: &RunStore, name: &str) -> Result<StoredRun, StatsError> {
    let runs = runs(store)?;
    if let Some(run) = runs.iter().find(|run| run.name == name) {
        return Ok(run.clone());
    }
    Err(StatsError::UnknownRun {
        run: name.to_owned(),
        dir: store.dir().to_owned(),
        near: near(name, runs.into_iter().map(|run| run.name).collect()),
    })
}

/// Up to three names that share the longest start with `name`, or hold it.
fn near(name: &str, mut names: Vec<String>) -> Vec<String> {
    let shared = |other: &str| {
        name.bytes()
            .zip(other.bytes())
            .take_while(|(a, b)| a == b)
            .count()
    };
    names.retain(|other| shared(other) >= 3 || (!name.is_empty() && other.contains(name)));
    names.sort_by_cached_key(|other| Reverse(shared(other)));
    names.truncate(3);
    names
}
