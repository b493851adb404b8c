//! What a test body hands back.

use std::collections::BTreeMap;

use ktstr_core::record::{CgroupStats, ProgramRun};
use ktstr_core::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// The result of a body: a verdict and what was measured on the way.
///
/// Results of several scenarios in one body are folded with [`AssertResult::merge`].
///
/// ```
/// use ktstr_harness::AssertResult;
///
/// let mut result = AssertResult::pass();
/// result.verdict.at_most("my_latency_ms", 12.0, 10.0, "phase 2");
/// assert_eq!(result.verdict.exit_code(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AssertResult {
    /// How it ended so far.
    pub verdict: Verdict,
    /// What the workers of each cgroup came to.
    pub cgroups: Vec<CgroupStats>,
    /// Values by metric name, beside those that come from `cgroups`.
    pub metrics: BTreeMap<String, f64>,
    /// The programs that ran, in the order in which they ended.
    pub programs: Vec<ProgramRun>,
}

impl AssertResult {
    /// A pass with nothing measured.
    #[must_use]
    pub fn pass() -> Self {
        Self::default()
    }

    /// A failure of `check`.
    #[must_use]
    pub fn fail(check: &str, message: impl Into<String>) -> Self {
        Verdict::fail(check, message).into()
    }

    /// A skip; `why` says what was missing.
    #[must_use]
    pub fn skip(why: impl Into<String>) -> Self {
        Verdict::skip(why).into()
    }

    /// Adds what `other` found; the more severe outcome stands, later metrics replace earlier ones.
    pub fn merge(&mut self, other: Self) {
        self.verdict.merge(other.verdict);
        self.cgroups.extend(other.cgroups);
        self.metrics.extend(other.metrics);
        self.programs.extend(other.programs);
    }

    /// This result without metrics that are no numbers: each is a finding of its own instead.
    #[must_use]
    pub(crate) fn finite(mut self) -> Self {
        let (metrics, odd) = self
            .metrics
            .into_iter()
            .partition(|(_, value)| value.is_finite());
        self.metrics = metrics;
        for name in BTreeMap::<String, f64>::into_keys(odd) {
            self.verdict.record(
                Outcome::Inconclusive,
                &name,
                "the metric is not a finite number",
            );
        }
        self
    }
}

impl From<Verdict> for AssertResult {
    fn from(verdict: Verdict) -> Self {
        Self {
            verdict,
            ..Self::default()
        }
    }
}
