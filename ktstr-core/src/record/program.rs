//! Programs that a test ran in its guest, and what they measure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Better, Metric};

/// A metric that a program of a test measures. A record carries it: only the test knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricDefinition {
    /// Key in [`Sidecar::metrics`](super::Sidecar::metrics): program and metric, such as `hackbench.time_s`.
    pub name: String,
    /// Unit of the value; empty where it has none.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// Changes smaller than this many units do not count.
    pub absolute_gate: f64,
    /// Changes smaller than this share of the baseline, in percent, do not count.
    pub relative_gate_pct: f64,
}

impl MetricDefinition {
    /// The metric as those of ktstr's own are.
    ///
    /// ```
    /// use ktstr_core::Better;
    /// use ktstr_core::record::MetricDefinition;
    ///
    /// let time = MetricDefinition {
    ///     name: "hackbench.time_s".to_owned(),
    ///     unit: "s".to_owned(),
    ///     better: Better::Lower,
    ///     absolute_gate: 0.0,
    ///     relative_gate_pct: 10.0,
    /// };
    /// assert_eq!(time.metric().name, "hackbench.time_s");
    /// ```
    pub fn metric(&self) -> Metric<'_> {
        Metric {
            name: &self.name,
            unit: &self.unit,
            better: self.better,
            absolute_gate: self.absolute_gate,
            relative_gate_pct: self.relative_gate_pct,
        }
    }

    /// Whether `name` may be that of such a metric: a program's name and a metric's, with a dot between them.
    pub fn is_name(name: &str) -> bool {
        let is_part = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            !part.is_empty() && part.bytes().all(plain)
        };
        name.split_once('.')
            .is_some_and(|(program, metric)| is_part(program) && is_part(metric))
    }
}

/// A program that a test ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramRun {
    /// Name of its declaration.
    pub name: String,
    /// How it ended.
    pub end: ProgramEnd,
    /// From its start to its end, in seconds of the guest.
    pub wall_s: f64,
    /// CPU time of its cgroup, in seconds; absent where the kernel does not tell.
    pub cpu_s: Option<f64>,
    /// Bytes that it wrote to standard output and error.
    pub output_bytes: u64,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramEnd {
    /// It exited with this status.
    Exited(i32),
    /// The test ended it.
    Stopped,
}

impl fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Stopped => f.write_str("stopped by the test"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_metrics_have_two_parts() {
        for name in ["hackbench.time_s", "stress-ng.ops", "a.1"] {
            assert!(MetricDefinition::is_name(name), "{name}");
        }
        for name in ["max_gap_ms", "", ".", "a.", ".b", "a.b.c", "a b.c"] {
            assert!(!MetricDefinition::is_name(name), "{name}");
        }
    }
}
