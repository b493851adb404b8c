//! The policy of a project: which changes count, by metric and by test, in a file that is kept with the tests.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ktstr_core::host::files::open_regular;
use ktstr_core::record::MetricDefinition;
use ktstr_harness::check::all_metrics;
use serde::{Deserialize, Serialize};

/// The largest policy file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What a policy file says. All of it is optional; a key that is not in this example is an error:
///
/// ```
/// use ktstr_driver::perf_delta::Policy;
///
/// let policy = Policy::parse(r#"
/// threshold_pct = 15                   # relative gate of every metric, like --threshold
/// fail_threshold = 3                   # like --fail-threshold
/// must_fail = ["p99_wake_latency_ns"]  # like --must-fail
/// correction = "benjamini-hochberg"    # or "none": every separated and material change counts
///
/// [metric.max_gap_ms]                  # for every test
/// absolute = 20                        # in the metric's unit
/// relative_pct = 50                    # percent of the baseline
///
/// [metric.migrations]
/// ignore = true                        # not compared
///
/// [test.steady]                        # a test function: all of its variants
/// threshold_pct = 30                   # relative gate of every metric of this test
///
/// [test.steady.metric.run_delay_s]     # of this test alone
/// relative_pct = 80
/// "#)?;
/// assert_eq!(policy.fail_threshold, Some(3));
/// # Ok::<(), ktstr_driver::perf_delta::PolicyError>(())
/// ```
///
/// Of several relative gates for a metric, the first of these is in force: the test's for the metric, the test's
/// `threshold_pct`, the metric's, `--threshold`, the file's `threshold_pct`, the registry's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Relative gate of every metric, in percent of the baseline.
    pub threshold_pct: Option<f64>,
    /// The number of regressions that fails the comparison.
    pub fail_threshold: Option<usize>,
    /// Metrics of which one regression fails the comparison.
    #[serde(default)]
    pub must_fail: Vec<String>,
    /// How the comparison allows for the number of metrics.
    pub correction: Option<Correction>,
    /// By the metric's name.
    #[serde(default)]
    pub metric: BTreeMap<String, MetricPolicy>,
    /// By the name of the test function.
    #[serde(default)]
    pub test: BTreeMap<String, TestPolicy>,
}

/// What a policy says about a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricPolicy {
    /// Changes smaller than this do not count, in the metric's unit.
    pub absolute: Option<f64>,
    /// Changes smaller than this do not count, in percent of the baseline.
    pub relative_pct: Option<f64>,
    /// Whether it is left out.
    pub ignore: Option<bool>,
}

/// What a policy says about a test.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestPolicy {
    /// Relative gate of every metric of the test, in percent of the baseline.
    pub threshold_pct: Option<f64>,
    /// Whether the test is left out.
    pub ignore: Option<bool>,
    /// By the metric's name.
    #[serde(default)]
    pub metric: BTreeMap<String, MetricPolicy>,
}

/// How a comparison allows for the number of its metrics: of many that did not change, some look changed by chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// The `p` values of all metrics of a comparison are adjusted by Benjamini and Hochberg. A change whose adjusted value
    /// is not below [`ALPHA`](super::ALPHA) is unconfirmed.
    #[default]
    BenjaminiHochberg,
    /// Each metric stands alone.
    None,
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BenjaminiHochberg => "benjamini-hochberg",
            Self::None => "none",
        })
    }
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a policy.
    #[error("line {line}: {why}")]
    Parse {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Something is wrong in a file.
    #[error("policy {}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<PolicyError>,
    },
    /// It names a metric that there is none of.
    #[error("`{name}` in {place} is no metric; there are {}", metric_names())]
    UnknownMetric {
        /// The key that names it.
        place: String,
        /// The name.
        name: String,
    },
    /// A gate that nothing can be measured by.
    #[error("{place} is {value}; give a number of 0 or more")]
    Gate {
        /// The key.
        place: String,
        /// Its value.
        value: f64,
    },
    /// A number of regressions that is always reached.
    #[error("fail_threshold is 0, which every comparison reaches; give 1 or more")]
    FailThreshold,
}

/// The names of all metrics, joined by commas.
pub(super) fn metric_names() -> String {
    let names: Vec<&str> = all_metrics().map(|metric| metric.name).collect();
    names.join(", ")
}

impl Policy {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let text = text(path).map_err(|source| PolicyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| PolicyError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Reads the text of a policy file.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            PolicyError::Parse {
                line: before.map_or(1, |before| before.matches('\n').count() + 1),
                why: error.message().to_owned(),
            }
        })?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.fail_threshold == Some(0) {
            return Err(PolicyError::FailThreshold);
        }
        check_gate("threshold_pct", self.threshold_pct)?;
        for name in &self.must_fail {
            check_metric("must_fail", name)?;
        }
        check_metrics("metric", &self.metric)?;
        for (test, policy) in &self.test {
            check_gate(&format!("test.{test}.threshold_pct"), policy.threshold_pct)?;
            check_metrics(&format!("test.{test}.metric"), &policy.metric)?;
        }
        Ok(())
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = open_regular(path)?;
    file.take(LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::other("more than 1 MiB, which no policy is"));
    }
    Ok(text)
}

fn check_metrics(place: &str, metrics: &BTreeMap<String, MetricPolicy>) -> Result<(), PolicyError> {
    for (name, policy) in metrics {
        check_metric(place, name)?;
        check_gate(&format!("{place}.{name}.absolute"), policy.absolute)?;
        check_gate(&format!("{place}.{name}.relative_pct"), policy.relative_pct)?;
    }
    Ok(())
}

/// Whether `name`, which `place` gives, is a metric: one of ktstr's, or one that a program may measure, `program.metric`.
pub(super) fn check_metric(place: &str, name: &str) -> Result<(), PolicyError> {
    if MetricDefinition::is_name(name) || all_metrics().any(|metric| metric.name == name) {
        return Ok(());
    }
    Err(PolicyError::UnknownMetric {
        place: place.to_owned(),
        name: name.to_owned(),
    })
}

/// Whether `value`, which `place` gives, can be a gate.
pub(super) fn check_gate(place: &str, value: Option<f64>) -> Result<(), PolicyError> {
    match value {
        Some(value) if !value.is_finite() || value < 0.0 => Err(PolicyError::Gate {
            place: place.to_owned(),
            value,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Policy::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_known_is_told_where_it_is() {
        assert_eq!(Policy::parse("").unwrap(), Policy::default());
        for (text, expected) in [
            ("treshold_pct = 1", "line 1: unknown field `treshold_pct`"),
            (
                "\n[metric.max_gap_ms]\nabs = 1",
                "line 3: unknown field `abs`",
            ),
            (
                "[test.a]\nrelative_pct = 1",
                "line 2: unknown field `relative_pct`",
            ),
            (
                "[test.a.metric.max_gap_ms]\nx = 1",
                "line 2: unknown field `x`",
            ),
            ("correction = \"holm\"", "line 1: unknown variant `holm`"),
            ("threshold_pct = \"5\"", "line 1: invalid type: string"),
            ("threshold_pct = ", "line 1: "),
            (
                "[metric.gap]",
                "`gap` in metric is no metric; there are iterations_per",
            ),
            (
                "[test.a.metric.gap]",
                "`gap` in test.a.metric is no metric; ",
            ),
            ("must_fail = [\"gap\"]", "`gap` in must_fail is no metric; "),
            ("threshold_pct = -1", "threshold_pct is -1; give"),
            ("threshold_pct = nan", "threshold_pct is NaN; give"),
            (
                "[metric.max_gap_ms]\nabsolute = inf",
                "metric.max_gap_ms.absolute is inf; ",
            ),
            ("fail_threshold = 0", "fail_threshold is 0, "),
            ("fail_threshold = -1", "line 1: invalid value"),
        ] {
            let error = error(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_is_named_with_what_is_wrong_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        let read = || Policy::read(&path).unwrap_err().to_string();
        let start = format!("policy {}: ", path.display());
        assert_eq!(
            read(),
            format!("{start}No such file or directory (os error 2)")
        );
        std::fs::write(&path, "x = 1").unwrap();
        assert!(read().starts_with(&format!("{start}line 1: unknown field `x`")));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read().contains("valid UTF-8"), "{}", read());
        std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
        assert!(read().contains("more than 1 MiB"), "{}", read());
        let dir = Policy::read(dir.path()).unwrap_err().to_string();
        assert!(dir.ends_with("not a regular file"), "{dir}");
        std::fs::write(&path, "threshold_pct = 7").unwrap();
        assert_eq!(Policy::read(&path).unwrap().threshold_pct, Some(7.0));
    }
}
