//! The result of a test, and how several results combine into one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Exit code of a test that passed or was skipped.
pub const EXIT_PASS: u8 = 0;
/// Exit code of a test that failed.
pub const EXIT_FAIL: u8 = 1;
/// Exit code of a test that is inconclusive.
pub const EXIT_INCONCLUSIVE: u8 = 2;

/// The outcome of a test. Outcomes are ordered by severity: the most severe is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The test did not run.
    Skip,
    /// Every check held.
    Pass,
    /// A check could not be decided: the denominator of a ratio was zero, or a value was not measured.
    Inconclusive,
    /// A check did not hold, or the run broke.
    Fail,
}

impl Outcome {
    /// The exit code of a test process with this outcome.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass | Self::Skip => EXIT_PASS,
            Self::Fail => EXIT_FAIL,
            Self::Inconclusive => EXIT_INCONCLUSIVE,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        })
    }
}

/// One finding, and the outcome that it implies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// The outcome that it implies.
    pub outcome: Outcome,
    /// Name of the check or part of the run, such as `max_gap_ms`.
    pub check: String,
    /// One line: the place, the value, the threshold.
    pub message: String,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.message)
    }
}

/// The result of a test: an outcome and the findings that led to it.
///
/// The outcome is that of the most severe finding. A verdict without findings is a pass.
///
/// ```
/// use ktstr_core::{Outcome, Verdict};
///
/// let mut verdict = Verdict::pass();
/// verdict.at_most_ratio("migrations per iteration", 3.0, 0.0, 0.5);
/// assert_eq!(verdict.outcome(), Outcome::Inconclusive);
/// assert_eq!(verdict.exit_code(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    outcome: Outcome,
    details: Vec<Detail>,
}

impl Verdict {
    /// A pass without findings.
    #[must_use]
    pub const fn pass() -> Self {
        Self {
            outcome: Outcome::Pass,
            details: Vec::new(),
        }
    }

    /// A skip; `why` says what is missing.
    #[must_use]
    pub fn skip(why: impl Into<String>) -> Self {
        Self::single(Outcome::Skip, "skip", why.into())
    }

    /// A failure of `check`.
    #[must_use]
    pub fn fail(check: &str, message: impl Into<String>) -> Self {
        Self::single(Outcome::Fail, check, message.into())
    }

    /// An inconclusive `check`.
    #[must_use]
    pub fn inconclusive(check: &str, message: impl Into<String>) -> Self {
        Self::single(Outcome::Inconclusive, check, message.into())
    }

    fn single(outcome: Outcome, check: &str, message: String) -> Self {
        Self {
            outcome,
            details: vec![Detail {
                outcome,
                check: check.to_owned(),
                message,
            }],
        }
    }

    /// The outcome of the most severe finding.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// All findings, in the order in which they were recorded.
    pub fn details(&self) -> &[Detail] {
        &self.details
    }

    /// The findings that decide the outcome: those that are as severe as it.
    pub fn decisive(&self) -> impl Iterator<Item = &Detail> {
        self.details
            .iter()
            .filter(|detail| detail.outcome == self.outcome)
    }

    /// Adds the findings of `other`; the more severe outcome wins.
    pub fn merge(&mut self, other: Self) {
        self.outcome = self.outcome.max(other.outcome);
        self.details.extend(other.details);
    }

    /// Records one more finding.
    pub fn record(&mut self, outcome: Outcome, check: &str, message: impl Into<String>) {
        self.merge(Self::single(outcome, check, message.into()));
    }

    /// Records whether `value` is at most `limit`; a value that is not a number is Inconclusive.
    pub fn at_most(&mut self, check: &str, value: f64, limit: f64, place: &str) {
        self.bound(check, value, limit, place, value <= limit, ">");
    }

    /// Records whether `value` is at least `limit`; a value that is not a number is Inconclusive.
    pub fn at_least(&mut self, check: &str, value: f64, limit: f64, place: &str) {
        self.bound(check, value, limit, place, value >= limit, "<");
    }

    /// Records whether `numerator / denominator` is at most `limit`.
    ///
    /// With a denominator of zero the ratio is undefined: the check is Inconclusive, and the ratio is not taken for
    /// 0.0.
    pub fn at_most_ratio(&mut self, check: &str, numerator: f64, denominator: f64, limit: f64) {
        if denominator == 0.0 {
            let message =
                format!("{numerator} / 0: the run gave nothing to relate to (limit {limit})");
            self.record(Outcome::Inconclusive, check, message);
        } else {
            self.at_most(check, numerator / denominator, limit, "");
        }
    }

    fn bound(&mut self, check: &str, value: f64, limit: f64, place: &str, holds: bool, sign: &str) {
        let place = if place.is_empty() {
            String::new()
        } else {
            format!(" in {place}")
        };
        if value.is_nan() || limit.is_nan() {
            self.record(
                Outcome::Inconclusive,
                check,
                format!("not a number{place} (limit {limit})"),
            );
        } else if !holds {
            let (value, limit) = (Short(value), Short(limit));
            self.record(
                Outcome::Fail,
                check,
                format!("{value} {sign} {limit}{place}"),
            );
        }
    }

    /// The exit code of a test process that ends with this verdict.
    pub const fn exit_code(&self) -> u8 {
        self.outcome.exit_code()
    }

    /// The verdict if skips are not allowed: a skip becomes a failure with the same reason.
    #[must_use]
    pub fn without_skips(self) -> Self {
        match self.outcome {
            Outcome::Skip => {
                let why = self
                    .details
                    .iter()
                    .map(|d| d.message.as_str())
                    .collect::<Vec<_>>()
                    .join("; ");
                Self::fail(
                    "no-skip-mode",
                    format!("skipped, and skips are failures here: {why}"),
                )
            }
            _ => self,
        }
    }

    /// The verdict of a test that may be inconclusive: an inconclusive result passes.
    #[must_use]
    pub fn allowing_inconclusive(mut self) -> Self {
        if self.outcome == Outcome::Inconclusive {
            self.outcome = Outcome::Pass;
        }
        self
    }

    /// The verdict of a test that must fail: a failure passes, a clean pass fails.
    ///
    /// An inconclusive run stays Inconclusive and a skipped one stays a skip: neither shows that the expected failure
    /// occurs.
    #[must_use]
    pub fn expecting_error(mut self) -> Self {
        match self.outcome {
            Outcome::Fail => self.outcome = Outcome::Pass,
            Outcome::Pass => {
                self.record(
                    Outcome::Fail,
                    "expect_err",
                    "the test passed, and it was declared to fail",
                );
            }
            Outcome::Skip | Outcome::Inconclusive => {}
        }
        self
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self::pass()
    }
}

/// A number rounded for display.
#[derive(Debug, Clone, Copy)]
pub struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value == value.trunc() || value.abs() >= 1000.0 {
            write!(f, "{value:.0}")
        } else if value.abs() >= 1.0 {
            write!(f, "{value:.2}")
        } else {
            write!(f, "{value:.4}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Skip),
            Just(Outcome::Pass),
            Just(Outcome::Inconclusive),
            Just(Outcome::Fail)
        ]
    }

    fn of(outcome: Outcome) -> Verdict {
        Verdict::single(outcome, "check", "message".to_owned())
    }

    #[test]
    fn severity_and_exit_codes() {
        assert!(Outcome::Fail > Outcome::Inconclusive);
        assert!(Outcome::Inconclusive > Outcome::Pass);
        assert!(Outcome::Pass > Outcome::Skip);
        let code = |outcome| of(outcome).exit_code();
        assert_eq!(code(Outcome::Pass), 0);
        assert_eq!(code(Outcome::Skip), 0);
        assert_eq!(code(Outcome::Fail), 1);
        assert_eq!(code(Outcome::Inconclusive), 2);
    }

    #[test]
    fn violations_name_value_and_threshold() {
        let mut verdict = Verdict::pass();
        verdict.at_most("max_gap_ms", 2500.0, 2000.0, "cgroup a, worker 3");
        verdict.at_least("min_iteration_rate", 10.0, 5.0, "");
        assert_eq!(verdict.outcome(), Outcome::Fail);
        let lines: Vec<_> = verdict.decisive().map(ToString::to_string).collect();
        assert_eq!(lines, ["max_gap_ms: 2500 > 2000 in cgroup a, worker 3"]);
    }

    #[test]
    fn no_signal_is_never_a_pass() {
        let mut zero = Verdict::pass();
        zero.at_most_ratio("r", 0.0, 0.0, 1.0);
        assert_eq!(zero.exit_code(), EXIT_INCONCLUSIVE);
        let mut nan = Verdict::pass();
        nan.at_least("r", f64::NAN, 1.0, "");
        assert_eq!(nan.exit_code(), EXIT_INCONCLUSIVE);
        assert_eq!(nan.allowing_inconclusive().exit_code(), EXIT_PASS);
    }

    #[test]
    fn modes() {
        let skipped = Verdict::skip("host too small").without_skips();
        assert_eq!(skipped.exit_code(), EXIT_FAIL);
        assert!(skipped.details()[0].message.contains("host too small"));
        assert_eq!(of(Outcome::Pass).expecting_error().outcome(), Outcome::Fail);
        assert_eq!(of(Outcome::Fail).expecting_error().outcome(), Outcome::Pass);
        assert_eq!(
            of(Outcome::Inconclusive).expecting_error().outcome(),
            Outcome::Inconclusive
        );
        assert_eq!(of(Outcome::Skip).expecting_error().outcome(), Outcome::Skip);
    }

    proptest! {
        #[test]
        fn merging_keeps_the_most_severe(outcomes in prop::collection::vec(any_outcome(), 1..8)) {
            let mut forward = of(outcomes[0]);
            outcomes[1..].iter().for_each(|o| forward.merge(of(*o)));
            let mut backward = of(*outcomes.last().unwrap());
            outcomes.iter().rev().skip(1).for_each(|o| backward.merge(of(*o)));
            prop_assert_eq!(forward.outcome(), *outcomes.iter().max().unwrap());
            prop_assert_eq!(forward.outcome(), backward.outcome());
            prop_assert_eq!(forward.details().len(), outcomes.len());
        }
    }
}
