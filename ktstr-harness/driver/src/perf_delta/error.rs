//! Why two commits cannot be compared.

use std::io;
use std::path::PathBuf;

use ktstr_core::host::LockError;
use ktstr_harness::runner::NoCacheRoot;
use ktstr_kernel::Remedy;

use crate::affected::AffectedError;
use crate::baseline::BaselineError;
use crate::{AskError, GitError, ListingError, SessionError};

/// A comparison that came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerfDeltaError {
    /// There is no such directory of records.
    #[error("{}: no such directory; give a copy of target/ktstr or a run directory", dir.display())]
    NoDirectory {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// The directory of the records cannot be read.
    #[error("{}: {source}; records of runs are read there", dir.display())]
    Records {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The project's sources, the runs' records or the state of the comparison cannot be written.
    #[error("{}: {source}; the runs of both commits are kept there: free space, or move the directory", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An option for nextest that names a place, which the scratch work trees do not share.
    #[error(
        "{option} does not go with runs of two commits: each has sources and a target directory of its own; leave it out"
    )]
    Option {
        /// The option.
        option: &'static str,
    },
    /// One run a side has no noise to be measured by.
    #[error("{runs} run of each commit tells nothing about noise; give 2 or more")]
    TooFewRuns {
        /// How many were asked for.
        runs: usize,
    },
    /// The project is not where git says that its work tree is.
    #[error("{}: it is not below {}, which git calls the root of its work tree; run this in a clone", dir.display(), root.display())]
    Outside {
        /// The project.
        dir: PathBuf,
        /// The root of the work tree.
        root: PathBuf,
    },
    /// The project is not in a commit.
    #[error("{} has no Cargo.toml at commit {commit}; give a commit that has the project by --base", dir.display())]
    NoProject {
        /// The project's directory, below the root of the work tree.
        dir: PathBuf,
        /// The commit.
        commit: String,
    },
    /// It was cancelled, or a run was ended by somebody.
    #[error("interrupted after {done} of {runs} runs; the same command goes on from there")]
    Interrupted {
        /// Runs that are done.
        done: usize,
        /// All of them.
        runs: usize,
    },
    /// Tests of a commit could not be listed or run at all.
    #[error(
        "{commit}: cargo nextest ended with exit code {exit_code} and ran no performance test; its own output says why"
    )]
    NothingRan {
        /// The commit.
        commit: String,
        /// Nextest's exit code.
        exit_code: u8,
    },
    /// There is no baseline.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// What the changes affect cannot be told.
    #[error(transparent)]
    Affected(#[from] AffectedError),
    /// There is nowhere for the scratch work trees.
    #[error(transparent)]
    NoCache(#[from] NoCacheRoot),
    /// Another comparison of the project is running.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The tests cannot be run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The tests do not tell which of them are performance tests.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Nextest printed a list that cannot be read.
    #[error(transparent)]
    Listing(#[from] ListingError),
}

impl PerfDeltaError {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Session(error) => error.remedy(),
            _ => None,
        }
    }
}
