//! The table of checks: one row for each.
//!
//! It is in this crate because both sides need it and each crate is packaged alone. From its rows come the keys of
//! `#[ktstr_test]` and their documentation here, and in `ktstr-harness`, through [`check_table!`](crate::check_table),
//! the fields of `Checks`, their documentation, units and metrics. A new check is a row here and its judging there.

use crate::key::{Key, Kind};

/// Calls the macro `$then` with the rows.
///
/// - `takes`: type of the value. A `bool` is switched on or off, a `u64` or an `f64` is a limit.
/// - `unit`: of the limit; empty where it has none.
/// - `sampled`: whether the guest's init samples or traces the value while the body runs, which takes a machine; other values
///   come from the workers' reports.
/// - `metric`: what the value is called in the records of a run, which way is good, and from which change on, in units
///   and in percent of the baseline, two runs differ.
macro_rules! with_checks {
    ($then:ident) => {
        $then! {
            /// Every worker keeps making progress. Where `max_gap_ms` and `max_spread_pct` are not given, they are
            /// checked as well, at their own defaults.
            not_stuck { takes: bool, unit: "", sampled: false, }

            /// Workers run on the CPUs of their cgroup's cpuset and nowhere else.
            isolation { takes: bool, unit: "", sampled: false, }

            /// Longest time between two iterations of a worker, in milliseconds.
            max_gap_ms {
                takes: u64, unit: "ms", sampled: false,
                metric: max_gap_ms { better: Lower, absolute_gate: 5.0, relative_gate_pct: 25.0 },
            }

            /// Largest difference between the off-CPU shares of a cgroup's workers, in percentage points.
            max_spread_pct {
                takes: f64, unit: "%", sampled: false,
                metric: spread_pct { better: Lower, absolute_gate: 2.0, relative_gate_pct: 25.0 },
            }

            /// Fewest iterations per second of every worker.
            min_iteration_rate { takes: f64, unit: "/s", sampled: false, }

            /// Largest 99th percentile of the wake-up latencies of a cgroup, in nanoseconds.
            max_p99_wake_latency_ns {
                takes: u64, unit: "ns", sampled: false,
                metric: p99_wake_latency_ns { better: Lower, absolute_gate: 10_000.0, relative_gate_pct: 25.0 },
            }

            /// Largest coefficient of variation (standard deviation divided by the mean) of a cgroup's wake-up
            /// latencies.
            max_wake_latency_cv { takes: f64, unit: "", sampled: false, }

            /// Largest coefficient of variation of the work rates of a cgroup's workers.
            max_throughput_cv { takes: f64, unit: "", sampled: false, }

            /// Fewest work units per second of every worker.
            min_work_rate { takes: f64, unit: "units/s", sampled: false, }

            /// Most migrations of a cgroup's workers per iteration.
            max_migration_ratio { takes: f64, unit: "per iteration", sampled: false, }

            /// Largest share of a cgroup's migrations that lead to another NUMA node, from 0 to 1.
            max_cross_node_migration_ratio { takes: f64, unit: "", sampled: false, }

            /// Smallest page locality of every worker, from 0 to 1: the chance that an access to its own memory stays
            /// on its NUMA node.
            min_page_locality { takes: f64, unit: "", sampled: false, }

            /// Largest imbalance of the run queues: the longest queue divided by the longest that an even spread would
            /// leave, 1 at the best, as the mean of all samples.
            max_imbalance_ratio {
                takes: f64, unit: "", sampled: true,
                metric: imbalance_ratio { better: Lower, absolute_gate: 0.1, relative_gate_pct: 10.0 },
            }

            /// Most tasks on the local dispatch queue of a CPU at any sample.
            max_local_dsq_depth {
                takes: u64, unit: "tasks", sampled: true,
                metric: local_dsq_depth { better: Lower, absolute_gate: 1.0, relative_gate_pct: 25.0 },
            }

            /// Most `SCX_EV_SELECT_CPU_FALLBACK` per second of the run: `ops.select_cpu()` chose a CPU that the task
            /// may not use (Linux 6.15).
            max_fallback_rate {
                takes: f64, unit: "/s", sampled: true,
                metric: fallbacks_per_second { better: Lower, absolute_gate: 1.0, relative_gate_pct: 25.0 },
            }

            /// Most `SCX_EV_DISPATCH_KEEP_LAST` per second of the run: a CPU kept its task because the scheduler gave
            /// it no other (Linux 6.15).
            max_keep_last_rate {
                takes: f64, unit: "/s", sampled: true,
                metric: keep_lasts_per_second { better: Lower, absolute_gate: 1.0, relative_gate_pct: 25.0 },
            }

            /// Longest time that a CPU is idle while a task waits that may use it, in milliseconds.
            max_wasted_ms {
                takes: f64, unit: "ms", sampled: true,
                metric: wasted_ms { better: Lower, absolute_gate: 5.0, relative_gate_pct: 25.0 },
            }

            /// Longest time from a task's wake-up until it runs, in milliseconds.
            max_wake_to_run_ms {
                takes: f64, unit: "ms", sampled: true,
                metric: wake_to_run_ms { better: Lower, absolute_gate: 5.0, relative_gate_pct: 25.0 },
            }
        }
    };
}

/// The kind of a key whose field has this type.
macro_rules! kind {
    (bool) => {
        Kind::Flag
    };
    (u64) => {
        Kind::LIMIT
    };
    (f64) => {
        Kind::Float
    };
}

macro_rules! keys {
    ($($(#[$doc:meta])+ $name:ident {
        takes: $type:ident, unit: $unit:tt, sampled: $sampled:literal, $($metric:tt)*
    })*) => {
        /// The keys of checks.
        pub(crate) const KEYS: &[Key] = &[$(Key::check(stringify!($name), kind!($type)),)*];

        /// Names of the checks whose values are sampled, which takes a machine.
        const SAMPLED: &[Option<&str>] = &[$(if $sampled { Some(stringify!($name)) } else { None },)*];
    };
}

with_checks!(keys);

/// Whether the value of the check `name` is sampled in a guest.
pub(crate) fn is_sampled(name: &str) -> bool {
    SAMPLED.contains(&Some(name))
}

/// What a row of the documentation says of a value.
macro_rules! value_column {
    (bool $unit:tt) => {
        "flag"
    };
    ($type:ident "") => {
        "number"
    };
    ($type:ident $unit:tt) => {
        $unit
    };
}

/// The rows as those of the documentation's table.
macro_rules! documented {
    ($($(#[doc = $doc:literal])+ $name:ident { takes: $type:ident, unit: $unit:tt, $($rest:tt)* })*) => {
        concat!($(
            "| `", stringify!($name), "` | ", value_column!($type $unit), " | not checked |", $($doc,)+ " |\n",
        )*)
    };
}

pub(crate) use {documented, value_column, with_checks};
