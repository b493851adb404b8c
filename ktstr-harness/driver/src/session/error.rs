//! Why a session does not run.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ktstr_core::env::BudgetError;
use ktstr_harness::runner::NoCacheRoot;
use ktstr_kernel::Remedy;
use ktstr_kernel::discover::DiscoverError;
use ktstr_vmm::{MachineError, ParseBackendError};

use crate::ask::AskError;
use crate::kernels::KernelsError;
use crate::nextest::ListingError;

/// A session that could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Cargo could not be started.
    #[error("{program}: {source}; install Rust's cargo or set CARGO to it")]
    Cargo {
        /// What was run.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no nextest.
    #[error("cargo nextest is not installed; run: cargo install --locked cargo-nextest")]
    NoNextest,
    /// Nextest could not list the tests.
    #[error("`cargo nextest list` ended with exit code {exit_code}; its own output says why")]
    List {
        /// Its exit code.
        exit_code: u8,
    },
    /// Nextest printed a list that cannot be read.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// Records could not be written.
    #[error(
        "{dir}: {source}; records of the tests go there: free space, or set KTSTR_SIDECAR_DIR to a directory that can be written"
    )]
    Records {
        /// The directory for them.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written that tells the tests what was decided.
    #[error(
        "{dir}: {source}; what the tests are told is written there: free space, or set KTSTR_CACHE_DIR to a directory that can be written"
    )]
    File {
        /// The directory for it.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What an earlier session of coverage left cannot be removed.
    #[error(
        "coverage: programs of earlier sessions cannot be removed: {0}; run: cargo llvm-cov clean"
    )]
    Coverage(io::Error),
    /// The directory belongs to no cargo project.
    #[error("{dir}: no Cargo.toml there or above; run this in a cargo project")]
    NoProject {
        /// The directory.
        dir: PathBuf,
    },
    /// Two kernels have one name, so that nothing would tell their results apart.
    #[error("`{label}` names two kernels ({first} and {second}); give one of them")]
    SameLabel {
        /// Their label.
        label: String,
        /// Image of the one.
        first: PathBuf,
        /// Image of the other.
        second: PathBuf,
    },
    /// An environment variable names a backend that there is none of.
    #[error("{variable}: {source}")]
    UnknownBackend {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        source: ParseBackendError,
    },
    /// The backend that was asked for does not work here.
    #[error(transparent)]
    Backend(MachineError),
    /// The budget that the environment sets is no time.
    #[error(transparent)]
    BudgetTime(#[from] BudgetError),
    /// No test fits the budget.
    #[error("no test ends in {} s, the shortest is expected to take {} s; give more time", time.as_secs(), shortest.as_secs() + 1)]
    Budget {
        /// The time that the tests may take.
        time: Duration,
        /// What the shortest one takes, by what earlier sessions measured.
        shortest: Duration,
    },
    /// A test binary does not tell of its cases.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The environment names no directory for the kernel cache.
    #[error(transparent)]
    NoCache(#[from] NoCacheRoot),
    /// No kernel was given, and none that can be used was found.
    #[error(transparent)]
    Kernel(#[from] DiscoverError),
    /// A kernel that was asked for cannot be resolved.
    #[error(transparent)]
    Kernels(#[from] KernelsError),
    /// It was cancelled before a test ran.
    #[error("the session was cancelled before a test ran; start it again")]
    Cancelled,
    /// A part of it panicked.
    #[error("{what} panicked; this is a bug in ktstr, please report it")]
    Panicked {
        /// Which.
        what: &'static str,
    },
}

impl SessionError {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Kernel(error) => error.remedy(),
            _ => None,
        }
    }
}
