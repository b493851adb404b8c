//! What a trace of the kernel's scheduler showed while a test ran.

use serde::{Deserialize, Serialize};

/// A summary of the events of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// Number of events.
    pub events: u64,
    /// Events that were switches from one task to another.
    pub switches: u64,
    /// Events that were lost: the kernel had no room for them.
    pub lost: u64,
    /// Time over which they were recorded, in seconds of the guest.
    pub wall_s: f64,
    /// CPU time that reading and judging them took, in seconds; what the kernel spent on writing them is not in it.
    pub cpu_s: f64,
    /// Size of the buffer of each CPU, in KiB.
    pub buffer_kib: u32,
    /// The longest time that a CPU was idle while a task waited that may use it; absent if there was none of 0.1 ms.
    pub wasted: Option<Wasted>,
    /// Times from wake-up to run; absent if no task was woken up and ran.
    pub wake_to_run: Option<WakeToRun>,
}

/// A time for which a CPU was idle while a task waited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wasted {
    /// The CPU.
    pub cpu: u32,
    /// How long, in milliseconds.
    pub ms: f64,
    /// When it began, in seconds from the start of the run.
    pub at_s: f64,
    /// Id of the task that waited longest.
    pub pid: i32,
    /// Its name.
    pub task: String,
    /// How long that task had waited at the end, in milliseconds.
    pub waited_ms: f64,
    /// Events before and after, one in each line, with the time in milliseconds from the beginning.
    pub moments: Vec<String>,
}

/// Times from wake-up to run of all tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WakeToRun {
    /// How many there were.
    pub count: u64,
    /// Their median, in milliseconds, to within a fifth.
    pub p50_ms: f64,
    /// Their 99th percentile, likewise.
    pub p99_ms: f64,
    /// The tasks with the longest times, that with the longest first.
    pub tasks: Vec<TaskWakes>,
    /// The CPUs that tasks were woken up for, by their number.
    pub cpus: Vec<CpuWakes>,
}

/// Times from wake-up to run of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskWakes {
    /// Id of the task.
    pub pid: i32,
    /// Its name.
    pub task: String,
    /// How often it was woken up and ran.
    pub count: u64,
    /// The mean, in milliseconds.
    pub mean_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
    /// When that ended, in seconds from the start of the run.
    pub at_s: f64,
    /// The CPU on which it then ran.
    pub cpu: u32,
}

/// Times from wake-up to run on one CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CpuWakes {
    /// The CPU on which the tasks then ran.
    pub cpu: u32,
    /// How many there were.
    pub count: u64,
    /// The 99th percentile, in milliseconds, to within a fifth.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
}

impl Traced {
    /// The share of the CPU time of a machine with `cpus` CPUs that reading the trace took, in percent; `None` if no
    /// time passed.
    pub fn cost_pct(&self, cpus: u32) -> Option<f64> {
        let capacity = self.wall_s * f64::from(cpus);
        (capacity > 0.0).then(|| 100.0 * self.cpu_s / capacity)
    }
}
