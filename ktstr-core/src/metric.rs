//! The metrics that compare runs.

use serde::{Deserialize, Serialize};

/// Which direction of a metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// A metric of a sidecar, and the size of a change that counts.
///
/// `ktstr_harness::check::all_metrics` lists those that ktstr measures itself; what programs of a test measure is described
/// in the records, see [`MetricDefinition`](crate::record::MetricDefinition).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metric<'a> {
    /// Key in [`crate::record::Sidecar::metrics`].
    pub name: &'a str,
    /// Unit of the value; empty where it has none.
    pub unit: &'a str,
    /// Which direction is good.
    pub better: Better,
    /// Changes smaller than this many units do not count.
    pub absolute_gate: f64,
    /// Changes smaller than this share of the baseline, in percent, do not count.
    pub relative_gate_pct: f64,
}
