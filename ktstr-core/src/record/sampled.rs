//! What the guest saw of the kernel's scheduling while a test ran.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Samples of a run, summed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// How many were taken.
    pub samples: u64,
    /// Over how long, in seconds of the guest.
    pub wall_s: f64,
    /// CPU time that taking them cost, in seconds.
    pub cpu_s: f64,
    /// What was on the run queues.
    pub run_queues: Reading<RunQueues>,
    /// What sched_ext counted over the run, by the kernel's names, such as `SCX_EV_SELECT_CPU_FALLBACK`.
    pub events: Reading<BTreeMap<String, u64>>,
    /// How the run went, in order of time.
    pub timeline: Vec<Moment>,
}

/// What was read of something that not every kernel offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// It was read.
    Read(T),
    /// It could not be read; why.
    Absent(String),
}

/// Run queues over all samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunQueues {
    /// Mean over the samples that had a runnable task of the longest run queue, in tasks, divided by the longest that
    /// is left when the tasks are spread evenly; 1 is perfect. Absent when no sample had a runnable task.
    pub imbalance: Option<f64>,
    /// The deepest local dispatch queue; absent on a kernel without sched_ext.
    pub local_dsq: Option<LocalDsq>,
}

/// A local dispatch queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LocalDsq {
    /// Tasks on it.
    pub depth: u32,
    /// The CPU it belongs to.
    pub cpu: u32,
    /// When, in seconds from the start of the run.
    pub at_s: f64,
}

/// One moment of a run.
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
    /// What was read, or why it could not be.
    pub fn get(&self) -> Result<&T, &str> {
        match self {
            Self::Read(value) => Ok(value),
            Self::Absent(why) => Err(why),
        }
    }
}

impl Sampled {
    /// Share of the CPU time of a machine with `cpus` CPUs that sampling took, in percent; `None` when no time passed.
    pub fn cost_pct(&self, cpus: u32) -> Option<f64> {
        let capacity = self.wall_s * f64::from(cpus);
        (capacity > 0.0).then(|| 100.0 * self.cpu_s / capacity)
    }
}
