//! Why a shell does not run.

use std::io;

use ktstr_core::Verdict;
use ktstr_harness::dispatch::SettingsError;
use ktstr_harness::runner::RunError;

use crate::kernels::KernelsError;

/// A shell that did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShellError {
    /// The environment cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The test runs on the host.
    #[error("`{case}` runs on the host, and has no machine; start it there")]
    NoMachine {
        /// The case.
        case: String,
    },
    /// The scheduler's package is in no project.
    #[error("scheduler {name}: no Cargo.toml in {dir} or above; a path of a program holds a /")]
    NoProject {
        /// Name of the package.
        name: String,
        /// Where it was looked for.
        dir: String,
    },
    /// There is no program of the scheduler.
    #[error("scheduler {name}: {why}")]
    Scheduler {
        /// The scheduler, as it is called.
        name: String,
        /// Why, in a line.
        why: String,
    },
    /// The kernel cannot be resolved.
    #[error(transparent)]
    Kernels(#[from] KernelsError),
    /// One identifier stands for several kernels.
    #[error(
        "{identifier} names {} kernels, and a machine has one; give one of {}",
        .versions.len(),
        .versions.join(", ")
    )]
    SeveralKernels {
        /// What was asked for.
        identifier: String,
        /// The versions of the kernels that it stands for.
        versions: Vec<String>,
    },
    /// There is no directory for the socket of a debugger.
    #[error("no directory for a debugger's socket: {0}; set TMPDIR to one")]
    GdbSocket(io::Error),
    /// The machine cannot be made, or cannot run here.
    #[error("{}", reasons(.0))]
    Refused(Verdict),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl From<RunError> for ShellError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Refused(verdict) => Self::Refused(verdict),
            _ => Self::Cancelled,
        }
    }
}

fn reasons(verdict: &Verdict) -> String {
    let details = verdict.details().iter().map(ToString::to_string);
    details.collect::<Vec<_>>().join("; ")
}
