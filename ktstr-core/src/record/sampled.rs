//! Samples of the kernel's scheduling that the guest took while a test ran.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A summary of the samples of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Number of samples.
    pub samples: u64,
    /// Time over which they were taken, in seconds of the guest.
    pub wall_s: f64,
    /// CPU time that sampling took, in seconds.
    pub cpu_s: f64,
    /// The run queues over all samples.
    pub run_queues: Reading<RunQueues>,
    /// Events that sched_ext counted during the run, by the kernel's names, such as `SCX_EV_SELECT_CPU_FALLBACK`.
    pub events: Reading<BTreeMap<String, u64>>,
    /// Samples of the run in chronological order.
    pub timeline: Vec<Moment>,
}

/// Data that not every kernel provides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// It was read.
    Read(T),
    /// It could not be read, for this reason.
    Absent(String),
}

/// Run queues over all samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunQueues {
    /// The mean of a ratio over all samples with a runnable task: the tasks on the longest run queue, divided by those
    /// that it would have if all tasks were spread evenly. 1 is perfect. Absent if no sample had a runnable task.
    pub imbalance: Option<f64>,
    /// The deepest local dispatch queue; absent on a kernel without sched_ext.
    pub local_dsq: Option<LocalDsq>,
}

/// A local dispatch queue at one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LocalDsq {
    /// Tasks on it.
    pub depth: u32,
    /// The CPU it belongs to.
    pub cpu: u32,
    /// Seconds from the start of the run.
    pub at_s: f64,
}

/// One sample of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds from the start of the run.
    pub at_s: f64,
    /// Runnable tasks by CPU.
    pub runnable: Vec<u32>,
    /// Tasks on local dispatch queues by CPU; empty on a kernel without sched_ext.
    pub local_dsq: Vec<u32>,
}

impl<T> Reading<T> {
    /// The data, or why it could not be read.
    pub fn get(&self) -> Result<&T, &str> {
        match self {
            Self::Read(value) => Ok(value),
            Self::Absent(why) => Err(why),
        }
    }
}

impl Sampled {
    /// The share of the CPU time of a machine with `cpus` CPUs that sampling took, in percent; `None` if no time
    /// passed.
    pub fn cost_pct(&self, cpus: u32) -> Option<f64> {
        let capacity = self.wall_s * f64::from(cpus);
        (capacity > 0.0).then(|| 100.0 * self.cpu_s / capacity)
    }
}
