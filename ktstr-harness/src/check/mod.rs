//! What a run is judged by.

mod judge;
mod run;
mod sampled;

pub use judge::judge;
pub use run::{CgroupRun, metrics};
pub use sampled::{judge_sampled, sampled_metrics};

use std::fmt;

use serde::{Deserialize, Serialize};

/// Makes [`Checks`] and all that goes through every check from one table: documentation, name, type, unit.
macro_rules! table_of_checks {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $unit:literal;)*) => {
        /// The checks of a test; what is `None` was not asked for.
        ///
        /// Layers are merged with [`Checks::or`]: library defaults, the scheduler's, the test's own; the
        /// last that is set wins.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
        pub struct Checks {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl Checks {
            /// Nothing is asked for.
            pub const NONE: Self = Self { $($name: None,)* };

            /// These checks, and those of `base` where these say nothing.
            #[must_use]
            pub const fn or(self, base: Self) -> Self {
                // `Option::or` is not const yet.
                Self {
                    $($name: match self.$name {
                        Some(_) => self.$name,
                        None => base.$name,
                    },)*
                }
            }

            /// Every check, in the order of the fields.
            pub fn each(&self) -> impl Iterator<Item = Check> {
                [$(Check {
                    name: stringify!($name),
                    unit: $unit,
                    value: self.$name.map(CheckValue::from),
                },)*].into_iter()
            }
        }
    };
}

/// One check, and what it asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// Its name: a key of `#[ktstr_test]`, and the check that its details in a verdict name.
    pub name: &'static str,
    /// The unit of its value; empty where it has none.
    pub unit: &'static str,
    /// What was asked for.
    pub value: Option<CheckValue>,
}

/// What a check asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CheckValue {
    /// That it is on or off.
    Switch(bool),
    /// A limit that is a whole number.
    Count(u64),
    /// Any other limit.
    Number(f64),
}

impl From<bool> for CheckValue {
    fn from(value: bool) -> Self {
        Self::Switch(value)
    }
}

impl From<u64> for CheckValue {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<f64> for CheckValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl fmt::Display for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(true) => f.write_str("on"),
            Self::Switch(false) => f.write_str("off"),
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

table_of_checks! {
    /// No worker may stop making progress; turns the gap and spread checks on at their defaults.
    not_stuck: bool, "";
    /// Workers stay within the CPUs of their cgroup.
    isolation: bool, "";
    /// Longest time between two iterations of a worker, in milliseconds.
    max_gap_ms: u64, "ms";
    /// Largest difference of off-CPU share among the workers of a cgroup, in percentage points.
    max_spread_pct: f64, "%";
    /// Fewest iterations per second of every worker.
    min_iteration_rate: f64, "/s";
    /// Largest 99th percentile of wake-up latency of a cgroup, in nanoseconds.
    max_p99_wake_latency_ns: u64, "ns";
    /// Largest coefficient of variation (standard deviation divided by the mean) of a cgroup's wake-up latencies.
    max_wake_latency_cv: f64, "";
    /// Largest coefficient of variation of the work rates of a cgroup's workers.
    max_throughput_cv: f64, "";
    /// Fewest work units per second of every worker.
    min_work_rate: f64, "units/s";
    /// Most migrations of a cgroup's workers per iteration.
    max_migration_ratio: f64, "per iteration";
    /// Largest share of a cgroup's migrations that lead to another NUMA node, from 0 to 1.
    max_cross_node_migration_ratio: f64, "";
    /// Smallest page locality of every worker, from 0 to 1:
    /// [`WorkerReport::page_locality`](crate::workload::WorkerReport::page_locality).
    min_page_locality: f64, "";
    /// Largest imbalance of the run queues: [`ktstr_core::record::RunQueues::imbalance`], 1 at the best.
    max_imbalance_ratio: f64, "";
    /// Most tasks on the local dispatch queue of a CPU at any sample.
    max_local_dsq_depth: u64, "tasks";
    /// Most `SCX_EV_SELECT_CPU_FALLBACK` per second of the run: `ops.select_cpu()` chose a CPU that the task may not
    /// use.
    max_fallback_rate: f64, "/s";
    /// Most `SCX_EV_DISPATCH_KEEP_LAST` per second of the run: a CPU kept its task because the scheduler gave it no
    /// other.
    max_keep_last_rate: f64, "/s";
}

impl Checks {
    /// Longest gap that `not_stuck` allows where `max_gap_ms` is not set: 2000 ms, in unoptimised
    /// builds 3000 ms.
    pub const NOT_STUCK_GAP_MS: u64 = if cfg!(debug_assertions) { 3000 } else { 2000 };

    /// Largest spread that `not_stuck` allows where `max_spread_pct` is not set: 15 percentage
    /// points, in unoptimised builds 35.
    pub const NOT_STUCK_SPREAD_PCT: f64 = if cfg!(debug_assertions) { 35.0 } else { 15.0 };
}
