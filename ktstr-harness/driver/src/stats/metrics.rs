//! The registry of metrics.

use ktstr_core::Metric;
use ktstr_harness::check::all_metrics;
use serde::Serialize;

use super::SCHEMA;

/// The metrics that runs are compared by: the document of `stats list-metrics --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricList {
    /// [`SCHEMA`].
    pub schema: u32,
    /// By name.
    pub metrics: Vec<Metric<'static>>,
}

/// The metrics that records may have.
pub fn list_metrics() -> MetricList {
    let mut metrics: Vec<Metric<'static>> = all_metrics().collect();
    metrics.sort_by_key(|metric| metric.name);
    MetricList {
        schema: SCHEMA,
        metrics,
    }
}
