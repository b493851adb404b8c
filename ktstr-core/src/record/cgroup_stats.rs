//! What a record says of each cgroup.

use serde::{Deserialize, Serialize};

use crate::CpuSet;

/// What the workers of one cgroup came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CgroupStats {
    /// Name of the cgroup.
    pub name: String,
    /// Workers that reported.
    pub workers: usize,
    /// CPUs the cgroup was allowed to use.
    pub cpuset: CpuSet,
    /// CPUs its workers were seen on.
    pub cpus_used: CpuSet,
    /// Loop iterations of all workers.
    pub iterations: u64,
    /// Work units of all workers.
    pub work_units: u64,
    /// CPU time of all workers, in seconds.
    pub cpu_time_s: f64,
    /// Time that workers were runnable and waited, in seconds; absent where the kernel does not tell.
    #[serde(default)]
    pub run_delay_s: Option<f64>,
    /// How many of the workers ran under a sched_ext scheduler at their end; absent where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_sched_ext: Option<usize>,
    /// Changes of CPU seen by the workers.
    pub migrations: u64,
    /// Longest time between two iterations of one worker, in milliseconds.
    pub max_gap_ms: f64,
    /// Largest minus smallest share of off-CPU time among the workers, in percentage points.
    pub spread_pct: Option<f64>,
    /// Median wake-up latency in nanoseconds.
    pub p50_wake_latency_ns: Option<u64>,
    /// 99th percentile of wake-up latency in nanoseconds.
    pub p99_wake_latency_ns: Option<u64>,
}
