//! Why a shell does not run.

use ktstr_core::Verdict;
use ktstr_harness::dispatch::SettingsError;
use ktstr_harness::runner::RunError;

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
