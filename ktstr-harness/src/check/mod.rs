//! What a run is judged by.

mod judge;
mod run;
mod sampled;

pub use judge::judge;
pub use run::{CgroupRun, metrics};
pub use sampled::{judge_sampled, sampled_metrics};

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
    /// Largest coefficient of variation (standard deviation divided by the mean) of a cgroup's wake-up latencies.
    pub max_wake_latency_cv: Option<f64>,
    /// Largest coefficient of variation of the work rates of a cgroup's workers.
    pub max_throughput_cv: Option<f64>,
    /// Fewest work units per second of every worker.
    pub min_work_rate: Option<f64>,
    /// Most migrations of a cgroup's workers per iteration.
    pub max_migration_ratio: Option<f64>,
    /// Largest share of a cgroup's migrations that lead to another NUMA node, from 0 to 1.
    pub max_cross_node_migration_ratio: Option<f64>,
    /// Smallest page locality of every worker, from 0 to 1:
    /// [`WorkerReport::page_locality`](crate::workload::WorkerReport::page_locality).
    pub min_page_locality: Option<f64>,
    /// Largest imbalance of the run queues: [`ktstr_core::record::RunQueues::imbalance`], 1 at the best.
    pub max_imbalance_ratio: Option<f64>,
    /// Most tasks on the local dispatch queue of a CPU at any sample.
    pub max_local_dsq_depth: Option<u64>,
    /// Most `SCX_EV_SELECT_CPU_FALLBACK` per second of the run: `ops.select_cpu()` chose a CPU that the task may not
    /// use.
    pub max_fallback_rate: Option<f64>,
    /// Most `SCX_EV_DISPATCH_KEEP_LAST` per second of the run: a CPU kept its task because the scheduler gave it no
    /// other.
    pub max_keep_last_rate: Option<f64>,
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
        max_wake_latency_cv: None,
        max_throughput_cv: None,
        min_work_rate: None,
        max_migration_ratio: None,
        max_cross_node_migration_ratio: None,
        min_page_locality: None,
        max_imbalance_ratio: None,
        max_local_dsq_depth: None,
        max_fallback_rate: None,
        max_keep_last_rate: None,
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
        or!(
            not_stuck isolation max_gap_ms max_spread_pct min_iteration_rate max_p99_wake_latency_ns
            max_wake_latency_cv max_throughput_cv min_work_rate max_migration_ratio
            max_cross_node_migration_ratio min_page_locality max_imbalance_ratio max_local_dsq_depth
            max_fallback_rate max_keep_last_rate
        )
    }
}
