//! Why workers cannot be started.

use std::io;

use super::{WorkTypeError, WorkerPool};

/// A pool that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The work cannot be carried out.
    #[error(transparent)]
    Work(#[from] WorkTypeError),
    /// More workers than a pool may have.
    #[error("{0} workers in all; use at most {max}", max = WorkerPool::MAX_WORKERS)]
    TooMany(usize),
    /// The system gave no memory or pipe.
    #[error("workers: no {what} ({source}); use fewer workers or a machine with more memory")]
    Resources {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A process could not be made.
    #[error(
        "worker {worker} of {workers}: fork failed ({source}); use fewer workers, or raise pids.max or memory"
    )]
    Fork {
        /// Which worker.
        worker: usize,
        /// How many were asked for.
        workers: usize,
        /// What the system said.
        source: io::Error,
    },
    /// Not all workers became ready in time.
    #[error(
        "workers: {ready} of {workers} were ready after {seconds} s; the machine is too slow for so many, or the \
         scheduler does not run them"
    )]
    NotReady {
        /// How many waited for the start.
        ready: usize,
        /// How many were asked for.
        workers: usize,
        /// How long the pool waited for them.
        seconds: u64,
    },
    /// The nice value could not be set.
    #[error("worker pid {pid}: nice {nice} could not be set ({source}); below 0 it needs root")]
    Nice {
        /// The process.
        pid: u32,
        /// The value.
        nice: i32,
        /// What the system said.
        source: io::Error,
    },
}
