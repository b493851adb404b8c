//! What a comparison found, as data.

use ktstr_core::Better;
use serde::{Deserialize, Serialize};

use super::gates::{Direction, Gates};
use super::policy::Correction;
use super::samples::PerfCase;
use super::statistics::Summary;

/// The result of a comparison of two commits: what `perf-delta --json` prints.
///
/// Fields are added without a new [`PerfDelta::SCHEMA`]; it changes when one is removed or means something else. Numbers
/// are in the unit of their metric, shares in percent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PerfDelta {
    /// Version of this layout, [`PerfDelta::SCHEMA`].
    pub schema: u32,
    /// Where the figures come from.
    pub mode: Mode,
    /// The baseline.
    pub base: SideInfo,
    /// What is compared with it.
    pub head: SideInfo,
    /// Level of the tests that separate two sides.
    pub alpha: f64,
    /// How the comparison allows for the number of its metrics.
    pub correction: Correction,
    /// Every metric that both sides have, by test.
    pub comparisons: Vec<Comparison>,
    /// What only one side has.
    pub missing: Vec<Missing>,
    /// Cases that both sides have and that are not compared.
    pub incomparable: Vec<Incomparable>,
    /// Cases of which runs failed.
    pub failures: Vec<FailedRuns>,
    /// Performance tests that were skipped.
    pub skipped: Vec<SkippedCase>,
    /// What limits the conclusion.
    pub caveats: Vec<Caveat>,
    /// Metrics that got worse.
    pub regressions: usize,
    /// Metrics that got better.
    pub improvements: usize,
    /// Changes that may be chance.
    pub unconfirmed: usize,
    /// The number of regressions that fails the comparison.
    pub fail_threshold: usize,
    /// Metrics of which one regression fails the comparison.
    pub must_fail: Vec<String>,
    /// Those of them that got worse.
    pub must_fail_regressed: Vec<String>,
    /// Whether the comparison failed: by the number of regressions, or by a metric that must not regress.
    pub failed: bool,
    /// Files that should be records and cannot be read: which and why, in one line each.
    pub unreadable: Vec<String>,
    /// Tests that the policy names and that neither side has.
    pub unused_policy: Vec<String>,
}

/// Where the figures of a comparison come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// From records of earlier runs.
    Cached,
    /// From runs of both commits, one after the other in turn.
    NoiseAdjusted,
}

/// A side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SideInfo {
    /// The commit, in full.
    pub commit: String,
    /// The commit as records and people name it, with `-dirty` for a work tree with changes.
    pub label: String,
    /// How it was chosen, for the baseline: `merge-base with main`.
    pub origin: Option<String>,
    /// Cases of performance tests.
    pub cases: usize,
    /// The most runs of a case.
    pub runs: usize,
}

/// A metric of a case on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The case.
    #[serde(flatten)]
    pub case: PerfCase,
    /// Name of the metric.
    pub metric: String,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// The baseline.
    pub base: Summary,
    /// What is compared with it.
    pub head: Summary,
    /// Mean of the head minus mean of the baseline.
    pub change: f64,
    /// The same in percent of the baseline; absent where that is 0.
    pub change_pct: Option<f64>,
    /// What the change means.
    pub direction: Direction,
    /// The size that counts.
    pub gates: Gates,
    /// Whether the change has that size.
    pub material: bool,
    /// What separates the sides.
    pub separation: Separation,
    /// The two-sided `p` of Welch's t-test; absent with fewer than two runs on a side.
    pub p: Option<f64>,
    /// The smaller of `p` and, where the ranges are disjoint, the chance of that, adjusted for the number of metrics.
    pub adjusted_p: Option<f64>,
    /// What follows.
    pub verdict: Finding,
}

/// What separates the values of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Separation {
    /// There is no telling: it takes two runs on each side.
    Untested,
    /// Nothing does.
    Overlapping,
    /// Their means, by Welch's t-test.
    Welch,
    /// Their ranges, which have nothing in common.
    DisjointRanges,
}

/// What follows from a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Too small, or not separated.
    Unchanged,
    /// Separated and large enough, and among so many metrics it may be chance.
    Unconfirmed,
    /// It got better.
    Improvement,
    /// It got worse.
    Regression,
}

/// The name of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SideName {
    /// The baseline.
    Base,
    /// What is compared with it.
    Head,
}

/// A case, or a metric of it, that one side does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The case.
    #[serde(flatten)]
    pub case: PerfCase,
    /// The metric; absent where it is the whole case.
    pub metric: Option<String>,
    /// Which side does not have it.
    pub side: SideName,
    /// Why, where a record says so.
    pub why: Option<String>,
}

/// A case, or a metric of it, that both sides have and that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incomparable {
    /// The case.
    #[serde(flatten)]
    pub case: PerfCase,
    /// The metric; absent where it is the whole case.
    pub metric: Option<String>,
    /// Why.
    pub why: String,
}

/// A case of which runs failed or were inconclusive. Their figures count, where they have any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedRuns {
    /// The case.
    #[serde(flatten)]
    pub case: PerfCase,
    /// Which side.
    pub side: SideName,
    /// How many failed.
    pub failed: usize,
    /// Of how many.
    pub runs: usize,
    /// What the first of them says.
    pub why: String,
}

/// A performance test that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedCase {
    /// The case.
    #[serde(flatten)]
    pub case: PerfCase,
    /// Which side.
    pub side: SideName,
    /// Why.
    pub why: String,
}

/// What limits the conclusion of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Caveat {
    /// Machines shared the host's CPUs with others: figures of speed and latency are those of the host's load as well.
    SharedCpus,
    /// Machines were emulated in software: figures tell how the emulator fares, too.
    Emulated,
    /// Metrics with fewer than two runs on a side: only the size of their changes was looked at.
    Untested {
        /// How many.
        metrics: usize,
    },
    /// The sides ran on hosts with different CPUs.
    HostsDiffer {
        /// CPU models of the baseline.
        base: Vec<String>,
        /// CPU models of the head.
        head: Vec<String>,
    },
    /// The work tree has changes that are in no commit, and so in none of the runs.
    UncommittedChanges,
    /// A comparison of a commit with itself: every change is chance.
    SameCommit,
}

impl PerfDelta {
    /// The version of the layout.
    pub const SCHEMA: u32 = 1;

    /// The comparisons with a finding, in the order in which they are worth a look: regressions, unconfirmed changes to the
    /// worse, improvements, the rest.
    pub fn findings(&self) -> Vec<&Comparison> {
        let mut found: Vec<&Comparison> = self
            .comparisons
            .iter()
            .filter(|it| it.verdict != Finding::Unchanged)
            .collect();
        found.sort_by_key(|it| match (it.verdict, it.direction) {
            (Finding::Regression, _) => 0,
            (Finding::Unconfirmed, Direction::Worse) => 1,
            (Finding::Improvement, _) => 2,
            _ => 3,
        });
        found
    }

    /// Whether neither side has a figure of a performance test.
    pub fn has_nothing(&self) -> bool {
        self.base.cases == 0 && self.head.cases == 0
    }
}
