//! What a run is judged by.

mod judge;
mod run;

pub use judge::judge;
pub use run::{CgroupRun, metrics};

use serde::{Deserialize, Serialize};

/// The checks of a test; what is `None` was not asked for.
///
/// Layers are merged with [`Checks::or`]: library defaults, the scheduler's, the test's own; the
/// last that is set wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// No worker may stop making progress; turns the gap and spread checks on at their defaults.
    pub not_stuck: Option<bool>,
    /// Workers stay within the CPUs of their cgroup.
    pub isolation: Option<bool>,
    /// Longest time between two iterations of a worker, in milliseconds.
    pub max_gap_ms: Option<u64>,
    /// Largest difference of off-CPU share among the workers of a cgroup, in percentage points.
    pub max_spread_pct: Option<f64>,
    /// Fewest iterations per second of every worker.
    pub min_iteration_rate: Option<f64>,
    /// Largest 99th percentile of wake-up latency of a cgroup, in nanoseconds.
    pub max_p99_wake_latency_ns: Option<u64>,
}

impl Checks {
    /// Nothing is asked for.
    pub const NONE: Self = Self {
        not_stuck: None,
        isolation: None,
        max_gap_ms: None,
        max_spread_pct: None,
        min_iteration_rate: None,
        max_p99_wake_latency_ns: None,
    };

    /// Longest gap that `not_stuck` allows where `max_gap_ms` is not set: 2000 ms, in unoptimised
    /// builds 3000 ms.
    pub const NOT_STUCK_GAP_MS: u64 = if cfg!(debug_assertions) { 3000 } else { 2000 };

    /// Largest spread that `not_stuck` allows where `max_spread_pct` is not set: 15 percentage
    /// points, in unoptimised builds 35.
    pub const NOT_STUCK_SPREAD_PCT: f64 = if cfg!(debug_assertions) { 35.0 } else { 15.0 };

    /// These checks, and those of `base` where these say nothing.
    #[must_use]
    pub const fn or(self, base: Self) -> Self {
        // `Option::or` is not const yet.
        macro_rules! or {
            ($($field:ident)*) => {
                Self {
                    $($field: match self.$field {
                        Some(_) => self.$field,
                        None => base.$field,
                    },)*
                }
            };
        }
        or!(not_stuck isolation max_gap_ms max_spread_pct min_iteration_rate max_p99_wake_latency_ns)
    }
}
