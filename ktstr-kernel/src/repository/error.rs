//! Errors of git repositories.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::no_space::{CACHE_HINT, is_full};
use crate::text::line;

/// Why a git repository does not provide a kernel's sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The address cannot be used.
    #[error("git repository {url}: {why}; write git+https://host/repository.git#tag=v6.14")]
    Address {
        /// The address, without its password.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot be reached.
    #[error("git repository {url} cannot be reached: {why}; check the address and the network")]
    Unreachable {
        /// The repository.
        url: String,
        /// What happened, in one clause.
        why: String,
    },
    /// The server sends nothing.
    #[error(
        "git repository {url}: the server has said nothing for {} s; try again later",
        silence.as_secs_f32()
    )]
    Silent {
        /// The repository.
        url: String,
        /// For how long.
        silence: Duration,
    },
    /// The server exceeds the [limits](super::Limits).
    #[error("git repository {url}: gave up: the server {what}; check the address")]
    Endless {
        /// The repository.
        url: String,
        /// What it did.
        what: String,
    },
    /// The server asks for a login.
    #[error(
        "git repository {url}: the server asks for a login, which ktstr does not have; check the address (servers also ask for one where there is no such repository), or use ssh:// with a key"
    )]
    Login {
        /// The repository.
        url: String,
    },
    /// The answer is not of the git protocol.
    #[error(
        "git repository {url}: the answer is not valid git protocol ({why}); check the address"
    )]
    Garbage {
        /// The repository.
        url: String,
        /// What is wrong with it, in one clause.
        why: String,
    },
    /// There is no such tag or branch.
    #[error(
        "git repository {url} has no {reference}{}; git ls-remote {url} lists what it has",
        near_text(near)
    )]
    UnknownRef {
        /// The repository.
        url: String,
        /// What was asked for.
        reference: String,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// No reference is at a commit that starts with these digits.
    #[error(
        "git repository {url}: no tag or branch points at a commit {sha}…, and no such kernel is cached; give all 40 digits"
    )]
    Abbreviated {
        /// The repository.
        url: String,
        /// The digits.
        sha: String,
    },
    /// Several commits start with these digits.
    #[error("commit {sha}… may be {}; give more digits", commits.join(" or "))]
    Ambiguous {
        /// The digits.
        sha: String,
        /// Some of the commits.
        commits: Vec<String>,
    },
    /// The server does not serve commits by their hash, or does not have this one.
    #[error(
        "git repository {url} has no commit {sha}, or serves none by its hash ({why}); give a tag or branch that points at it"
    )]
    Refused {
        /// The repository.
        url: String,
        /// The commit.
        sha: String,
        /// What the server said.
        why: String,
    },
    /// The name does not lead to a commit.
    #[error("git repository {url}: {reference} is a {kind}, not a commit; give another")]
    NoCommit {
        /// The repository.
        url: String,
        /// What was asked for.
        reference: String,
        /// What it is.
        kind: String,
    },
    /// The reference kept moving while we waited to build.
    #[error("git repository {url}: {reference} keeps moving; give a commit by sha=")]
    ReferenceKeptMoving {
        /// The repository.
        url: String,
        /// What was asked for.
        reference: String,
    },
    /// The commit's files cannot be written.
    #[error("git repository {url}: commit {commit} cannot be checked out: {why}; give another")]
    Contents {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// What is wrong with them.
        why: String,
    },
    /// The commit's files are not kernel sources.
    #[error(
        "git repository {url}: commit {commit} is not a kernel source tree ({why}); check the address"
    )]
    NoKernel {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// What is missing.
        why: String,
    },
    /// The file system became full.
    #[error("{path}: no space left on the device; free some{CACHE_HINT}")]
    NoSpace {
        /// Where.
        path: PathBuf,
    },
    /// The scratch directory cannot be written.
    #[error("{path}: cannot create a git repository there: {source}; check its permissions")]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl GitError {
    /// Whether the repository may exist but did not answer properly, so that it may later.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Silent { .. }
                | Self::Endless { .. }
                | Self::Garbage { .. }
        )
    }
}

/// An error and what caused it, as one clause.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.len() < 16 && !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    line(&texts.join(": "))
}

/// Whether something could not be written for want of room.
pub(super) fn is_no_space(error: &gix::Error) -> bool {
    let is_full = |error: &(dyn std::error::Error + 'static)| {
        let error = error.downcast_ref::<io::Error>();
        error.is_some_and(is_full)
    };
    error.iter_errors().any(is_full)
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    format!(" (there is {})", near.join(", "))
}
