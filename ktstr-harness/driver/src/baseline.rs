//! The commit that a work tree is compared with: what changed since, and whether it got worse.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::baseline::{BaselineRequest, resolve};
//!
//! let request = BaselineRequest {
//!     base_ref: Some("origin/release".to_owned()),
//!     ..BaselineRequest::default()
//! };
//! let baseline = resolve(&Host::of_this_process(), ".".as_ref(), &request)?;
//! println!("{}: {}", baseline.commit, baseline.origin);
//! # Ok::<(), ktstr_driver::baseline::BaselineError>(())
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use ktstr_core::host::Host;
use serde::Serialize;

use crate::git::{self, Git, GitError};

/// Set by GitHub Actions for a pull request: the branch that it is to be merged into.
const GITHUB_BASE_REF: &str = "GITHUB_BASE_REF";

/// Which commit to compare with. The first of these decides: [`base`](Self::base), [`base_ref`](Self::base_ref),
/// `origin/$GITHUB_BASE_REF`, [`default_branch`](Self::default_branch).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineRequest {
    /// A revision, taken as it is.
    pub base: Option<String>,
    /// A branch or another revision: the baseline is its merge base with `HEAD`.
    pub base_ref: Option<String>,
    /// Likewise, where nothing else is said: `main` by default. If there is no such revision, it is one of the remote
    /// `origin`.
    pub default_branch: String,
}

impl Default for BaselineRequest {
    fn default() -> Self {
        Self {
            base: None,
            base_ref: None,
            default_branch: "main".to_owned(),
        }
    }
}

/// The commit to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Baseline {
    /// Its whole hash.
    pub commit: String,
    /// The hash of `HEAD`.
    pub head: String,
    /// Why it is this one.
    pub origin: BaselineOrigin,
    /// More merge bases that are as good: there are some where two branches were merged into each other.
    pub other_merge_bases: Vec<String>,
    /// Whether the clone is shallow. A merge base that was found in one may not be the best: newer ones may be missing.
    pub is_shallow: bool,
}

impl Baseline {
    /// Whether the commit is certainly the one that a whole clone would give.
    pub fn is_certain(&self) -> bool {
        !self.is_shallow || matches!(self.origin, BaselineOrigin::Revision { .. })
    }
}

/// Why a commit is the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BaselineOrigin {
    /// It was asked for.
    Revision {
        /// What it was called.
        name: String,
    },
    /// It is the newest common ancestor of `HEAD` and another revision.
    MergeBase {
        /// What that one is called.
        with: String,
    },
}

impl fmt::Display for BaselineOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision { name } => write!(f, "{name}, as asked for"),
            Self::MergeBase { with } => write!(f, "merge base of HEAD and {with}"),
        }
    }
}

/// There is no baseline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The directory is in no work tree of git.
    #[error("{}: no git work tree there or above ({said}); changes are told by git: run this in a clone", dir.display())]
    NoWorkTree {
        /// The directory.
        dir: PathBuf,
        /// What git said.
        said: String,
    },
    /// The repository is empty.
    #[error("{}: its git repository has no commit yet; commit something first", dir.display())]
    NoCommit {
        /// The directory.
        dir: PathBuf,
    },
    /// What was asked for is not there.
    #[error("{asked_by} `{name}`: no such commit here; fetch it, or give another one by --base")]
    Unknown {
        /// The option or variable that names it.
        asked_by: &'static str,
        /// The name.
        name: String,
    },
    /// `HEAD` and what it was to be compared with have no common ancestor.
    #[error("HEAD and `{with}` have no commit in common{}", if *is_shallow {
        ": the clone is shallow; fetch all of it (git fetch --unshallow; fetch-depth: 0 of actions/checkout)"
    } else {
        "; give the commit to compare with by --base"
    })]
    NoMergeBase {
        /// What `HEAD` was to be compared with.
        with: String,
        /// Whether history is missing.
        is_shallow: bool,
    },
    /// Git does not answer.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Finds the commit that the work tree around `dir` is compared with, by the git of `host`.
pub fn resolve(
    host: &Host,
    dir: &Path,
    request: &BaselineRequest,
) -> Result<Baseline, BaselineError> {
    let git = Git::new(host, dir);
    git.work_tree().map_err(|error| match error {
        GitError::Failed { said, .. } => BaselineError::NoWorkTree {
            dir: dir.to_owned(),
            said,
        },
        other => other.into(),
    })?;
    let Some(head) = git.commit("HEAD")? else {
        let dir = dir.to_owned();
        return Err(BaselineError::NoCommit { dir });
    };
    let is_shallow = is_shallow(&git)?;
    if let Some(name) = &request.base {
        let unknown = || BaselineError::Unknown {
            asked_by: "--base",
            name: name.clone(),
        };
        return Ok(Baseline {
            commit: git.commit(name)?.ok_or_else(unknown)?,
            head,
            origin: BaselineOrigin::Revision { name: name.clone() },
            other_merge_bases: Vec::new(),
            is_shallow,
        });
    }
    let (with, commit) = other(&git, host, request)?;
    let mut bases = merge_bases(&git, &head, &commit)?.into_iter();
    let Some(base) = bases.next() else {
        return Err(BaselineError::NoMergeBase { with, is_shallow });
    };
    Ok(Baseline {
        commit: base,
        head,
        origin: BaselineOrigin::MergeBase { with },
        other_merge_bases: bases.collect(),
        is_shallow,
    })
}

/// The revision to find a merge base with: its name and its commit.
fn other(
    git: &Git<'_>,
    host: &Host,
    request: &BaselineRequest,
) -> Result<(String, String), BaselineError> {
    let of_pull_request = host.non_empty_var(GITHUB_BASE_REF);
    let (asked_by, names) = if let Some(name) = &request.base_ref {
        ("--base-ref", vec![name.clone()])
    } else if let Some(name) = of_pull_request {
        let name = format!("origin/{}", name.to_string_lossy());
        ("GITHUB_BASE_REF", vec![name])
    } else {
        let name = &request.default_branch;
        (
            "--default-branch",
            vec![name.clone(), format!("origin/{name}")],
        )
    };
    for name in &names {
        if let Some(commit) = git.commit(name)? {
            return Ok((name.clone(), commit));
        }
    }
    let name = names.join("` or `");
    Err(BaselineError::Unknown { asked_by, name })
}

/// The best common ancestors of two commits, the one that git names first in front.
fn merge_bases(git: &Git<'_>, one: &str, other: &str) -> Result<Vec<String>, GitError> {
    let args = ["merge-base", "--all", one, other];
    let Some(printed) = git.output_if_any(&args)? else {
        return Ok(Vec::new());
    };
    let lines = printed.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| git::hash(line).ok_or_else(|| git::odd(&args, "no hash")))
        .collect()
}

fn is_shallow(git: &Git<'_>) -> Result<bool, GitError> {
    let args = ["rev-parse", "--is-shallow-repository"];
    match git.output(&args)?.trim_ascii() {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err(git::odd(&args, "neither true nor false")),
    }
}

#[cfg(test)]
mod tests;
