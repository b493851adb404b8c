//! The metrics that compare runs.

use serde::Serialize;

/// Which direction of a metric is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// A metric of a sidecar, and the size of a change that counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metric {
    /// Key in [`crate::record::Sidecar::metrics`].
    pub name: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// Changes smaller than this many units do not count.
    pub absolute_gate: f64,
    /// Changes smaller than this share of the baseline, in percent, do not count.
    pub relative_gate_pct: f64,
}

const fn metric(
    name: &'static str,
    unit: &'static str,
    better: Better,
    absolute_gate: f64,
    relative_gate_pct: f64,
) -> Metric {
    Metric {
        name,
        unit,
        better,
        absolute_gate,
        relative_gate_pct,
    }
}

impl Metric {
    /// Every metric that ktstr writes.
    pub const ALL: &'static [Self] = &[
        metric("iterations_per_second", "1/s", Better::Higher, 1.0, 10.0),
        metric("work_units_per_second", "1/s", Better::Higher, 1.0, 10.0),
        metric("cpu_time_s", "s", Better::Higher, 0.1, 10.0),
        metric("run_delay_s", "s", Better::Lower, 0.05, 20.0),
        metric("max_gap_ms", "ms", Better::Lower, 5.0, 25.0),
        metric("spread_pct", "%", Better::Lower, 2.0, 25.0),
        metric("migrations", "1", Better::Lower, 10.0, 25.0),
        metric("p50_wake_latency_ns", "ns", Better::Lower, 2_000.0, 20.0),
        metric("imbalance_ratio", "1", Better::Lower, 0.1, 10.0),
        metric("local_dsq_depth", "1", Better::Lower, 1.0, 25.0),
        metric("fallbacks_per_second", "1/s", Better::Lower, 1.0, 25.0),
        metric("keep_lasts_per_second", "1/s", Better::Lower, 1.0, 25.0),
        metric("p99_wake_latency_ns", "ns", Better::Lower, 10_000.0, 25.0),
    ];

    /// The metric called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|metric| metric.name == name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for metric in Metric::ALL {
            assert_eq!(Metric::by_name(metric.name).as_ref(), Some(metric));
        }
        assert_eq!(Metric::by_name("none"), None);
    }
}
