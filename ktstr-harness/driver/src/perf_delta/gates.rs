//! Which changes count: the gates of each metric, and the number of regressions that fails a comparison.

use ktstr_core::{Better, Metric};
use serde::Serialize;

use super::policy::{Correction, Policy, PolicyError, check_gate, check_metric};

/// Regressions that fail a comparison where nobody says how many.
pub const FAIL_THRESHOLD: usize = 5;

/// Which changes of a comparison count, and when it fails.
///
/// ```
/// use ktstr_driver::perf_delta::{Policy, Rules};
///
/// let rules = Rules::new(Policy::default())
///     .threshold_pct(Some(25.0))?
///     .must_fail(["p99_wake_latency_ns"])?;
/// assert_eq!(rules.fails_at(), 5);
/// # Ok::<(), ktstr_driver::perf_delta::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    policy: Policy,
    threshold_pct: Option<f64>,
    fail_threshold: Option<usize>,
}

/// The size that a change of a metric must have to count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gates {
    /// In the metric's unit.
    pub absolute: f64,
    /// In percent of the baseline.
    pub relative_pct: f64,
}

/// What a change of a metric means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// There is no change.
    Same,
    /// It changed to the worse.
    Worse,
    /// It changed to the better.
    Better,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Rules {
    /// What `policy` says; the gates of the registry where it says nothing.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            threshold_pct: None,
            fail_threshold: None,
        }
    }

    /// The relative gate of every metric that the policy names no gate for.
    pub fn threshold_pct(mut self, pct: Option<f64>) -> Result<Self, PolicyError> {
        check_gate("the threshold", pct)?;
        self.threshold_pct = pct;
        Ok(self)
    }

    /// The number of regressions that fails the comparison; without one the policy's, else [`FAIL_THRESHOLD`].
    pub fn fail_threshold(mut self, regressions: Option<usize>) -> Result<Self, PolicyError> {
        if regressions == Some(0) {
            return Err(PolicyError::FailThreshold);
        }
        self.fail_threshold = regressions;
        Ok(self)
    }

    /// More metrics of which one regression fails the comparison.
    pub fn must_fail<M: Into<String>>(
        mut self,
        metrics: impl IntoIterator<Item = M>,
    ) -> Result<Self, PolicyError> {
        for metric in metrics {
            let metric = metric.into();
            check_metric("the list of metrics that must fail", &metric)?;
            if !self.policy.must_fail.contains(&metric) {
                self.policy.must_fail.push(metric);
            }
        }
        Ok(self)
    }

    /// The number of regressions that fails the comparison.
    pub fn fails_at(&self) -> usize {
        let given = self.fail_threshold.or(self.policy.fail_threshold);
        given.unwrap_or(FAIL_THRESHOLD)
    }

    /// The metrics of which one regression fails the comparison.
    pub fn failing_metrics(&self) -> &[String] {
        &self.policy.must_fail
    }

    /// How the comparison allows for the number of metrics.
    pub fn correction(&self) -> Correction {
        self.policy.correction.unwrap_or_default()
    }

    /// The gates of `metric` in the test function `test`; `None` where the policy leaves it out.
    pub fn gates(&self, test: &str, metric: &Metric<'_>) -> Option<Gates> {
        let of_test = self.policy.test.get(test);
        let own = of_test.and_then(|test| test.metric.get(metric.name));
        let of_metric = self.policy.metric.get(metric.name);
        // What is said of the metric in this test also puts back what is left out elsewhere.
        let ignored = own.and_then(|own| own.ignore).unwrap_or_else(|| {
            let test = of_test.and_then(|test| test.ignore);
            let metric = of_metric.and_then(|metric| metric.ignore);
            test == Some(true) || metric == Some(true)
        });
        if ignored {
            return None;
        }
        let absolute = own
            .and_then(|own| own.absolute)
            .or_else(|| of_metric?.absolute)
            .unwrap_or(metric.absolute_gate);
        let relative_pct = own
            .and_then(|own| own.relative_pct)
            .or_else(|| of_test?.threshold_pct)
            .or_else(|| of_metric?.relative_pct)
            .or(self.threshold_pct)
            .or(self.policy.threshold_pct)
            .unwrap_or(metric.relative_gate_pct);
        Some(Gates {
            absolute,
            relative_pct,
        })
    }

    /// Tests that the policy names and that `is_there` does not know.
    pub(super) fn unused(&self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        let tests = self.policy.test.keys();
        tests.filter(|test| !is_there(test)).cloned().collect()
    }
}

impl Gates {
    /// Whether a change from `base` to `head` is large enough for both gates. No change never is.
    pub fn pass(&self, base: f64, head: f64) -> bool {
        let change = (head - base).abs();
        // Divided, so that nothing overflows; of a baseline of 0 every change is more than any share.
        let relative = base == 0.0 || change / base.abs() >= self.relative_pct / 100.0;
        change > 0.0 && change >= self.absolute && relative
    }
}

impl Direction {
    /// The direction of a change from `base` to `head` of a metric of which `better` is good.
    pub fn of(base: f64, head: f64, better: Better) -> Self {
        let grows_better = better == Better::Higher;
        if head == base {
            Self::Same
        } else if (head > base) == grows_better {
            Self::Better
        } else {
            Self::Worse
        }
    }
}

#[cfg(test)]
mod tests {
    use ktstr_harness::check::all_metrics;
    use proptest::prelude::*;

    use super::*;

    fn metric(name: &str) -> Metric<'static> {
        all_metrics().find(|metric| metric.name == name).unwrap()
    }

    #[test]
    fn what_is_said_of_less_wins() {
        let policy = |text: &str| Rules::new(Policy::parse(text).unwrap());
        let relative = |rules: &Rules| {
            let gates = rules.gates("steady", &metric("max_gap_ms")).unwrap();
            gates.relative_pct
        };
        let registry = metric("max_gap_ms").relative_gate_pct;
        let mut text = String::new();
        assert_eq!(relative(&policy(&text)), registry);
        text.push_str("threshold_pct = 1\n");
        assert_eq!(relative(&policy(&text)), 1.0);
        let given = |text: &str| policy(text).threshold_pct(Some(2.0)).unwrap();
        assert_eq!(relative(&given(&text)), 2.0);
        text.push_str("[metric.max_gap_ms]\nrelative_pct = 3\nabsolute = 9\n");
        assert_eq!(relative(&given(&text)), 3.0);
        text.push_str("[test.steady]\nthreshold_pct = 4\n");
        assert_eq!(relative(&given(&text)), 4.0);
        text.push_str("[test.steady.metric.max_gap_ms]\nrelative_pct = 5\n");
        assert_eq!(relative(&given(&text)), 5.0);
        let rules = given(&text);
        let gates = |test: &str| rules.gates(test, &metric("max_gap_ms")).unwrap();
        assert_eq!(
            (gates("steady").absolute, gates("other").relative_pct),
            (9.0, 3.0)
        );
        assert_eq!(rules.unused(|test| test == "other"), ["steady"]);
    }

    #[test]
    fn what_is_left_out_has_no_gates() {
        let text = "[metric.migrations]\nignore = true\n[test.odd]\nignore = true\n\
            [test.odd.metric.max_gap_ms]\nignore = false";
        let rules = Rules::new(Policy::parse(text).unwrap());
        let is_there = |test: &str, name: &str| rules.gates(test, &metric(name)).is_some();
        assert!(!is_there("steady", "migrations") && is_there("steady", "max_gap_ms"));
        assert!(!is_there("odd", "run_delay_s") && is_there("odd", "max_gap_ms"));
    }

    #[test]
    fn the_number_of_regressions_that_fails() {
        let rules = || Rules::new(Policy::parse("fail_threshold = 3").unwrap());
        assert_eq!(Rules::default().fails_at(), 5);
        assert_eq!(rules().fails_at(), 3);
        assert_eq!(rules().fail_threshold(Some(1)).unwrap().fails_at(), 1);
        assert!(rules().fail_threshold(Some(0)).is_err());
        assert!(rules().threshold_pct(Some(f64::NAN)).is_err());
        let error = rules().must_fail(["gap"]).unwrap_err().to_string();
        assert!(
            error.contains("`gap`") && error.contains("max_gap_ms"),
            "{error}"
        );
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(0.0),
            -1e3..1e3_f64,
            Just(f64::MAX),
            Just(-f64::MAX),
            Just(5e-324),
        ]
    }

    fn gates() -> impl Strategy<Value = Gates> {
        (0.0..100.0_f64, 0.0..100.0_f64).prop_map(|(absolute, relative_pct)| Gates {
            absolute,
            relative_pct,
        })
    }

    proptest! {
        #[test]
        fn a_swap_of_the_sides_turns_the_direction(a in value(), b in value(), higher in any::<bool>()) {
            let better = if higher { Better::Higher } else { Better::Lower };
            let (there, back) = (Direction::of(a, b, better), Direction::of(b, a, better));
            let turned = match there {
                Direction::Same => Direction::Same,
                Direction::Better => Direction::Worse,
                Direction::Worse => Direction::Better,
            };
            prop_assert_eq!(back, turned);
            prop_assert_eq!(there == Direction::Same, a == b);
        }

        // The relative gate is a share of the baseline, which the other side is after a swap.
        #[test]
        fn the_absolute_gate_does_not_know_the_sides(a in value(), b in value(), absolute in 0.0..100.0_f64) {
            let gates = Gates { absolute, relative_pct: 0.0 };
            prop_assert_eq!(gates.pass(a, b), gates.pass(b, a));
        }

        #[test]
        fn a_higher_gate_lets_no_more_pass(a in value(), b in value(), low in gates(), more in gates()) {
            let high = Gates {
                absolute: low.absolute + more.absolute,
                relative_pct: low.relative_pct + more.relative_pct,
            };
            prop_assert!(low.pass(a, b) || !high.pass(a, b));
        }

        #[test]
        fn a_change_below_a_gate_never_passes(base in 1.0..1e6_f64, share in 0.0..0.99_f64, gates in gates()) {
            let below_relative = base * gates.relative_pct / 100.0 * share;
            prop_assert!(!gates.pass(base, base + below_relative));
            let below_absolute = gates.absolute * share;
            prop_assert!(gates.absolute == 0.0 || !gates.pass(0.0, below_absolute));
            prop_assert!(!gates.pass(base, base));
        }

        #[test]
        fn a_change_at_both_gates_passes(base in 1.0..1e6_f64, gates in gates()) {
            let change = gates.absolute.max(base * gates.relative_pct / 100.0) * 1.001 + 1e-6;
            prop_assert!(gates.pass(base, base + change) && gates.pass(base, base - change));
        }
    }
}
