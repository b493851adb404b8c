//! What can go wrong in a step.

use std::io;

use crate::cgroup::{CgroupError, DefError};
use crate::payload::ProgramError;
use crate::workload::WorkloadError;

/// A scenario in steps that could not be run. Workers that fail are part of the verdict instead.
#[derive(Debug, thiserror::Error)]
#[error("step {number} ({step}), {op}: {problem}")]
pub struct StepError {
    /// Number of the step, from 1; 0 is the background.
    pub number: usize,
    /// Its name.
    pub step: String,
    /// What was being done: an operation, or `setup`.
    pub op: String,
    /// What went wrong.
    pub problem: Box<StepProblem>,
}

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepProblem {
    /// The operation cannot be carried out.
    #[error(transparent)]
    Op(#[from] OpError),
    /// A definition is invalid.
    #[error(transparent)]
    Def(#[from] DefError),
    /// The kernel refused something about a cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Workers could not be started.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A program did not do what it was started for.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The kernel did what it was expected to refuse.
    #[error("the kernel did it, and should have refused it with {expected}")]
    NotRefused {
        /// What was expected.
        expected: String,
    },
    /// The kernel refused it otherwise than expected.
    #[error("the kernel refused it ({refusal}), and should have done so with {expected}")]
    RefusedOtherwise {
        /// What was expected.
        expected: String,
        /// What the kernel said.
        refusal: String,
    },
}

/// An operation that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// A worker could not be changed.
    #[error("worker {worker} of {cgroup} (pid {pid}): {source}{hint}")]
    Worker {
        /// The cgroup that it is in.
        cgroup: String,
        /// Number of the worker.
        worker: usize,
        /// Process id.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
        /// What to do, after a semicolon.
        hint: &'static str,
    },
    /// Workers were told to end, and did not.
    #[error(
        "{cgroup}: workers still run {seconds} s after they were told to end; the scheduler does not run them"
    )]
    StillRunning {
        /// The cgroup that they are in.
        cgroup: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A CPU could not be taken offline, or back online.
    #[error("{path}: writing `{value}`: {source}{hint}")]
    Cpu {
        /// The file.
        path: String,
        /// What was written.
        value: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do, after a semicolon.
        hint: &'static str,
    },
    /// The cgroup is not there.
    #[error("{0}: the cgroup is gone, since it could not be removed in order")]
    Gone(String),
    /// Some of the threads of a process were to be moved.
    #[error(
        "{0}: its workers are threads of one process, which is in one cgroup; move them all together"
    )]
    Threads(String),
    /// The output of a program could not be read.
    #[error("{program}: reading its output: {source}")]
    Program {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The test's own function found something wrong.
    #[error("{0}")]
    Call(String),
    /// A cgroup was not frozen in time.
    #[error("{cgroup}: not frozen within {seconds} s; cgroup.events does not say so")]
    NotFrozen {
        /// The cgroup.
        cgroup: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

impl StepProblem {
    /// The error number that the kernel gave, if it refused something.
    pub(super) fn errno(&self) -> Option<i32> {
        let source = match self {
            Self::Op(OpError::Worker { source, .. } | OpError::Cpu { source, .. })
            | Self::Cgroup(
                CgroupError::Write { source, .. }
                | CgroupError::Create { source, .. }
                | CgroupError::Remove { source, .. },
            )
            | Self::Workload(WorkloadError::Fork { source, .. }) => source,
            Self::Cgroup(CgroupError::Exists { .. }) => return Some(libc::EEXIST),
            _ => return None,
        };
        source.raw_os_error()
    }
}
