//! The verifier sweep: runs every declared scheduler on every machine shape and kernel.
//!
//! Each cell is a case that nextest runs in a machine of its own. The results are read from the records.
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::verifier::Sweep;
//! use ktstr_driver::{Session, Silent};
//! use ktstr_vmm::CancelToken;
//!
//! # fn kernels() -> Vec<ktstr_kernel::ResolvedKernel> { vec![] }
//! let session = Session::new(Host::of_this_process(), ".").kernels(kernels());
//! let report = Sweep::new(session, ["-p", "mine"]).run(&Silent, &CancelToken::new()?)?;
//! for scheduler in &report.schedulers {
//!     println!("{}: {} cells ran", scheduler.name, scheduler.cells.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cells;

use std::collections::BTreeMap;
use std::ffi::OsString;

use ktstr_core::Outcome;
use ktstr_core::record::{Stage, VerifierStats};

use ktstr_kernel::Remedy;
use ktstr_vmm::CancelToken;

use crate::nextest;
use crate::{RunSummary, Session, SessionError, SessionObserver, SessionReport};

use cells::Table;

/// A sweep over a project's schedulers.
#[derive(Debug, Clone)]
pub struct Sweep {
    session: Session,
    schedulers: Vec<String>,
    raw: bool,
    nextest_args: Vec<OsString>,
}

/// A sweep that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The session could not run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// No cell exists on the kernels of the session.
    #[error(
        "no test binary declares a scheduler that has a cell on these kernels; declare one by declare_scheduler! in a test target with `harness = false`, and see its `kernels`"
    )]
    NoScheduler,
    /// A scheduler that was asked for has no cell on the kernels of the session.
    #[error("no scheduler called `{name}` has a cell on these kernels; there are {}", there.join(", "))]
    UnknownScheduler {
        /// The name that was asked for.
        name: String,
        /// The schedulers that have cells.
        there: Vec<String>,
    },
}

impl SweepError {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Session(error) => error.remedy(),
            _ => None,
        }
    }
}

/// The result of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepReport {
    /// How the session ended: the exit code is nextest's.
    pub session: SessionReport,
    /// By scheduler, in the order of their names.
    pub schedulers: Vec<SchedulerReport>,
}

/// The results of one scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerReport {
    /// Name of the scheduler.
    pub name: String,
    /// Labels of the kernels that it has cells on.
    pub kernels: Vec<String>,
    /// The presets that it has cells on, in the order of [`ktstr_core::Preset::ALL`].
    pub presets: Vec<&'static str>,
    /// The cells that ran, by kernel and preset.
    pub cells: BTreeMap<(String, String), CellReport>,
}

/// The result of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellReport {
    /// Passed, failed, skipped or inconclusive.
    pub outcome: Outcome,
    /// What the verifier did; `None` where the machine did not get so far.
    pub stats: Option<VerifierStats>,
}

/// The range of verified instructions (`verified_insns`) of one program over all machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// On the machine with the fewest.
    pub least: u64,
    /// On the machine with the most.
    pub most: u64,
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.least == self.most {
            f.pad(&self.least.to_string())
        } else {
            f.pad(&format!("{}..{}", self.least, self.most))
        }
    }
}

impl Sweep {
    /// A sweep as part of `session`, which should have kernels: without one there are no cells.
    ///
    /// `nextest_args` are those for `cargo nextest run`; filter expressions among them narrow the sweep.
    pub fn new<A: Into<OsString>>(
        session: Session,
        nextest_args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            session,
            schedulers: Vec::new(),
            raw: false,
            nextest_args: nextest_args.into_iter().map(Into::into).collect(),
        }
    }

    /// Sweeps only these schedulers; all of them if `names` is empty.
    #[must_use]
    pub fn schedulers(mut self, names: Vec<String>) -> Self {
        self.schedulers = names;
        self
    }

    /// Has failed cells show the whole verifier log, with every loop iteration.
    #[must_use]
    pub fn raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// Lists the cells and runs every one of them, and tells `observer` what happens.
    pub fn run(
        self,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<SweepReport, SweepError> {
        let Self {
            session,
            schedulers,
            raw,
            nextest_args,
        } = self;
        let session = session.nextest_args(nextest_args.iter().cloned());
        let table = Table::of(&session.list(observer, cancel)?, &schedulers)?;
        let session = session
            .nextest_args(arguments(&nextest_args, &table.expression()))
            .raw_verifier_log(raw);
        let report = session.run(observer, cancel)?;
        let records = report.runs.iter().flat_map(RunSummary::sidecars);
        Ok(SweepReport {
            schedulers: table.reports(records),
            session: report,
        })
    }
}

impl SchedulerReport {
    /// The verified instructions on `kernel`, by program.
    pub fn programs(&self, kernel: &str) -> BTreeMap<String, Span> {
        let mut spans: BTreeMap<String, Span> = BTreeMap::new();
        let cells = self.cells.iter().filter(|((of, _), _)| of == kernel);
        for stats in cells.filter_map(|(_, cell)| cell.stats.as_ref()) {
            // What a scheduler was rejected with is no figure of its.
            if stats.stage == Stage::Load {
                continue;
            }
            for (name, insns) in distinct(stats) {
                let span = spans.entry(name).or_insert(Span {
                    least: insns,
                    most: insns,
                });
                span.least = span.least.min(insns);
                span.most = span.most.max(insns);
            }
        }
        spans
    }
}

/// The programs that the kernel gives a figure for. It cuts long names; equal ones get a number.
fn distinct(stats: &VerifierStats) -> Vec<(String, u64)> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut distinct = Vec::new();
    for program in &stats.programs {
        let time = times.entry(&program.name).or_insert(0);
        *time += 1;
        let name = match *time {
            1 => program.name.clone(),
            time => format!("{}#{time}", program.name),
        };
        distinct.extend(program.verified_insns.map(|insns| (name, insns)));
    }
    distinct
}

/// `args`, narrowed to what `expression` selects, which are ignored tests.
fn arguments(args: &[OsString], expression: &str) -> Vec<OsString> {
    let own = ["--run-ignored", "all"].map(OsString::from);
    let own = own.into_iter();
    own.chain(nextest::narrowed(args, expression)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_narrow_the_sweep() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let joined = |line: &str| {
            let args = arguments(&words(line), "X");
            let args: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
            args.join(" ")
        };
        assert_eq!(joined("-p x"), "--run-ignored all -E (X) -p x");
        assert_eq!(
            joined("-p x -E a --filter-expr=b -Ec -- -E d"),
            "--run-ignored all -E (X) & ((a) + (b) + (c)) -p x -- -E d"
        );
    }
}
