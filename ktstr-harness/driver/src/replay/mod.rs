//! Replays the failures of the newest session: which they were, on which kernels and with which options, and runs them
//! again.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::replay::{Replay, ReplayOptions, ReplayRequest};
//! use ktstr_driver::{Session, Silent};
//! use ktstr_vmm::CancelToken;
//!
//! let host = Host::of_this_process();
//! let replay = Replay::find(&Session::new(host.clone(), "."), &ReplayRequest::default())?;
//! let Some(filter) = replay.filter() else {
//!     return Ok(());
//! };
//! println!("cargo nextest run --run-ignored all -E '{filter}'");
//!
//! let options = ReplayOptions::default();
//! let kernels = replay.kernels_for(&options, &host, ".".as_ref());
//! let session = replay.session(host, ".", &options);
//! let session = replay.prepare(session, &options, kernels, &Silent)?;
//! let cancel = CancelToken::new()?;
//! let plan = replay.plan(session, false, &Silent, &cancel)?;
//! println!("{} tests do not exist any more", plan.missing.len());
//! let report = plan.run(&Silent, &cancel)?;
//! println!("exit code {}", report.exit_code);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod args;
mod case;
mod filter;
mod kernels;
mod names;
mod plan;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ktstr_core::record::{Record, RunStore};
use ktstr_core::{KernelLabel, Outcome};

use crate::session::{SavedSession, SavedSessionError};
use crate::{RunSummary, Session, SessionError, Tally};

pub use case::replay_args;
pub use filter::replay_filter;
pub use kernels::{GoneKernel, ReplayKernel};
pub use plan::{ReplayCaseName, ReplayOptions, ReplayPlan};

/// What to replay. The default is all failures of the project's newest session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The directory with the records: an archived copy of `target/ktstr`, or one run directory. `None` for where the
    /// project's records are.
    pub dir: Option<PathBuf>,
    /// Leaves out cases whose name does not contain this.
    pub name_contains: Option<String>,
}

/// The failures of a session.
#[derive(Debug)]
pub struct Replay {
    /// The directory that was searched for records.
    pub dir: PathBuf,
    /// The session that began most recently; `None` if no session left records there.
    pub session: Option<ReplaySession>,
    /// Its cases that failed or were inconclusive, by name.
    pub failures: Vec<ReplayCase>,
    /// How many more there are that were not asked for.
    pub left_out: usize,
    /// Files that should be records of the session and cannot be read: which and why, in one line each.
    pub unreadable: Vec<String>,
    /// Whether the records are those of the project, and nobody else's.
    is_own: bool,
}

/// The session that is replayed.
#[derive(Debug)]
pub struct ReplaySession {
    /// Its name in the records.
    pub epoch: String,
    /// When it began, as far as is known.
    pub begun: SystemTime,
    /// How all of its cases ended.
    pub tally: Tally,
    /// Its kernels and options, or why they are not known: tests without `cargo ktstr` leave records alone.
    pub options: Result<SavedSession, SavedSessionError>,
    /// Its kernels by the records alone.
    recorded: Vec<kernels::Recorded>,
}

/// A case that failed or was inconclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayCase {
    /// Its full name, such as `gauntlet/steady/8cpu-2llc-smt`.
    pub case: String,
    /// Nextest's identifier of its test binary; absent if nextest did not run it.
    pub binary_id: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What decided that, in one line.
    pub why: String,
    /// The kernel that it ran on; absent for a test on the host.
    pub kernel: Option<KernelLabel>,
    /// The record.
    pub path: PathBuf,
}

/// A replay that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The records could not be searched for.
    #[error("{dir}: {source}; give the directory of an archived run, or of several", dir = dir.display())]
    Read {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernels of all failures are gone.
    #[error("none of the failures' kernels is left: {}", labels(.0))]
    KernelsGone(Vec<KernelLabel>),
    /// None of the failed tests exists any more.
    #[error("none of the failed tests exists any more: {}; run all tests again", .0.join(", "))]
    TestsGone(Vec<String>),
    /// The session could not run.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl ReplayError {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<ktstr_kernel::Remedy> {
        match self {
            Self::Session(error) => error.remedy(),
            _ => None,
        }
    }
}

fn labels(labels: &[KernelLabel]) -> String {
    let labels: Vec<&str> = labels.iter().map(KernelLabel::as_str).collect();
    labels.join(", ")
}

impl Replay {
    /// The failures of the newest session in the directory that `request` names, or where the records of `session` are.
    pub fn find(session: &Session, request: &ReplayRequest) -> Result<Self, ReplayError> {
        let own = session.records_dir();
        let dir = request.dir.as_ref().unwrap_or(&own);
        let read_error = |source| ReplayError::Read {
            dir: dir.clone(),
            source,
        };
        if request.dir.is_some() {
            std::fs::read_dir(dir).map_err(read_error)?;
        }
        let mut replay = Self::of_dir(dir, request.name_contains.as_deref()).map_err(read_error)?;
        replay.is_own = is_within(dir, &own);
        Ok(replay)
    }

    /// The failures of the newest session in `dir`, of those cases whose name contains `name_contains`. There is no
    /// session if there is no directory.
    ///
    /// Options in a directory of anybody's are not trusted: see [`Replay::refused_args`].
    pub fn of_dir(dir: &Path, name_contains: Option<&str>) -> io::Result<Self> {
        let store = RunStore::new(dir);
        let mut replay = Self {
            dir: dir.to_owned(),
            session: None,
            failures: Vec::new(),
            left_out: 0,
            unreadable: Vec::new(),
            is_own: false,
        };
        let Some(newest) = store.runs()?.into_iter().next() else {
            return Ok(replay);
        };
        let Some(stored) = store.session(&newest.epoch)? else {
            return Ok(replay);
        };
        let runs = RunSummary::of_session(&stored);
        let sidecars = || runs.iter().flat_map(RunSummary::sidecars);
        replay.session = Some(ReplaySession {
            begun: newest.begun,
            tally: Tally::of(&runs),
            options: SavedSession::read(dir, &stored.epoch),
            recorded: kernels::recorded(sidecars()),
            epoch: stored.epoch,
        });
        for record in runs.iter().flat_map(RunSummary::failures) {
            replay.add(record, name_contains.unwrap_or_default());
        }
        let by_name =
            |a: &ReplayCase, b: &ReplayCase| (&a.binary_id, &a.case).cmp(&(&b.binary_id, &b.case));
        replay.failures.sort_by(by_name);
        let unreadable = runs.into_iter().flat_map(|run| run.unreadable);
        replay.unreadable.extend(unreadable);
        Ok(replay)
    }

    fn add(&mut self, record: &Record, name_contains: &str) {
        let sidecar = &record.sidecar;
        if sidecar.case.is_empty() {
            let path = record.path.display();
            let line = format!("sidecar {path}: it names no case; run the tests again");
            self.unreadable.push(line);
        } else if sidecar.case.contains(name_contains) {
            self.failures.push(ReplayCase::from(record));
        } else {
            self.left_out += 1;
        }
    }

    /// The nextest filter expression that selects exactly the failures; `None` if there are none.
    pub fn filter(&self) -> Option<String> {
        let cases = self.failures.iter();
        filter::expression(cases.map(|case| (case.binary_id.as_deref(), case.case.as_str())))
    }

    /// The session's options, where they are known.
    pub fn options(&self) -> Option<&SavedSession> {
        self.session.as_ref()?.options.as_ref().ok()
    }
}

impl From<&Record> for ReplayCase {
    fn from(record: &Record) -> Self {
        let sidecar = &record.sidecar;
        let details = sidecar.verdict.decisive();
        let why: Vec<String> = details.map(ToString::to_string).collect();
        Self {
            case: sidecar.case.clone(),
            binary_id: sidecar.binary_id.clone(),
            outcome: sidecar.verdict.outcome(),
            why: ktstr_core::text::line(&why.join("; ")),
            kernel: sidecar.kernel_label.clone(),
            path: record.path.clone(),
        }
    }
}

/// Whether `dir` is `outer` or in it, whatever links lead there.
fn is_within(dir: &Path, outer: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    match (real(dir), real(outer)) {
        (Some(dir), Some(outer)) => dir.starts_with(outer),
        _ => false,
    }
}
