//! Statistics of a cgroup in a record.

use serde::{Deserialize, Serialize};

use crate::CpuSet;

/// Statistics of the workers of one cgroup.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CgroupStats {
    /// Name of the cgroup.
    pub name: String,
    /// Number of workers that reported.
    pub workers: usize,
    /// What its workers did, such as `futex_ping_pong`; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_type: Option<String>,
    /// CPUs that the cgroup could use.
    pub cpuset: CpuSet,
    /// CPUs that its workers ran on.
    pub cpus_used: CpuSet,
    /// Loop iterations of all workers.
    pub iterations: u64,
    /// Work units of all workers.
    pub work_units: u64,
    /// CPU time of all workers, in seconds.
    pub cpu_time_s: f64,
    /// Time that the workers were runnable and did not run, in seconds; absent if the kernel does not report it.
    #[serde(default)]
    pub run_delay_s: Option<f64>,
    /// Number of workers that were under a sched_ext scheduler when they ended; absent if the kernel does not report
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_sched_ext: Option<usize>,
    /// Migrations between CPUs that the workers observed.
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
