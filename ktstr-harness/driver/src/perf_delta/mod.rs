//! Compares the figures of performance tests at two commits: did anything get worse?
//!
//! [`cached`] compares what earlier runs recorded. [`NoiseAdjusted`] runs both commits several times, in turn, and so knows
//! the noise of the machine. [`PerfDeltaRequest`] does either, as it is asked for.
//!
//! A change of a metric is real only when it is *separated*: Welch's t-test, two-sided, is below [`ALPHA`], or the ranges of
//! the two sides are disjoint; and *material*: it passes the absolute and the relative gate of the metric, see [`Rules`].
//! A test at a level of 0.05 finds one change in twenty where there is none, and a comparison has dozens of metrics. So
//! the `p` values of a comparison are adjusted for their number ([`Correction`]), and what does not hold then is told as
//! unconfirmed: more runs would tell. Where a side has a single run there is no test, and the size alone decides.

mod cached;
mod compare;
mod error;
mod gates;
mod noise;
mod policy;
mod report;
mod request;
mod samples;
mod state;
mod statistics;
mod trees;

use std::path::Path;

use ktstr_core::host::{Commit, Host};

use crate::baseline::{self, BaselineError, BaselineRequest};

pub use cached::cached;
pub use error::PerfDeltaError;
pub use gates::{Direction, FAIL_THRESHOLD, Gates, Rules};
pub use noise::{NoiseAdjusted, NoiseEvent};
pub use policy::{Correction, MetricPolicy, Policy, PolicyError, TestPolicy};
pub use report::{
    Caveat, Comparison, FailedRuns, Finding, Incomparable, Missing, Mode, PerfDelta, Separation,
    SideInfo, SideName, SkippedCase,
};
pub use request::PerfDeltaRequest;
pub use samples::{Machines, PerfCase};
pub use statistics::{
    ALPHA, Samples, SamplesError, Summary, Welch, are_disjoint, benjamini_hochberg,
    chance_of_disjoint, welch,
};

/// The commits that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commits {
    /// The baseline, in full.
    pub base: String,
    /// What is compared with it, in full.
    pub head: String,
    /// Why it is that baseline, for people.
    pub origin: Option<String>,
    /// Whether the work tree has changes that are in no commit.
    pub dirty: bool,
}

impl Commits {
    /// `HEAD` of the work tree around `dir`, and the baseline that `request` asks for.
    pub fn of(host: &Host, dir: &Path, request: &BaselineRequest) -> Result<Self, BaselineError> {
        let baseline = baseline::resolve(host, dir, request)?;
        Ok(Self {
            base: baseline.commit,
            head: baseline.head,
            origin: Some(baseline.origin.to_string()),
            dirty: Commit::of(host, dir).is_some_and(|commit| commit.dirty),
        })
    }
}

/// A commit as records name it.
fn short(commit: &str) -> String {
    commit.chars().take(7).collect()
}
