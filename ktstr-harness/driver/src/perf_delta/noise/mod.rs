//! Runs the performance tests of both commits in turn, so that the noise of a machine is known.

mod cases;
mod event;
mod project;

use std::path::{Path, PathBuf};

use ktstr_core::env;
use ktstr_core::record::Sidecar;
use ktstr_vmm::CancelToken;

use crate::git::Git;
use crate::perf_delta::compare::{Named, compare};
use crate::perf_delta::error::PerfDeltaError;
use crate::perf_delta::gates::Rules;
use crate::perf_delta::report::{Caveat, Mode, PerfDelta, SideName};
use crate::perf_delta::samples::{Found, Machines, Side, have_all_ended};
use crate::perf_delta::state::{Key, State};
use crate::perf_delta::trees::{Tree, Trees};
use crate::perf_delta::{Commits, short};
use crate::{Session, SessionEvent, cargo, nextest};
use cases::{expression, performance_cases};
use project::{cargo_toml_above, link_neighbours};

pub use event::NoiseEvent;

/// Options for nextest that name places: each commit has its own.
const PLACES: [&str; 7] = [
    "--manifest-path",
    "--target-dir",
    "--archive-file",
    "--cargo-metadata",
    "--binaries-metadata",
    "--workspace-remap",
    "--target-dir-remap",
];

/// A comparison of two commits by runs of both.
///
/// ```no_run
/// use ktstr_core::host::Host;
/// use ktstr_driver::baseline::{BaselineRequest, resolve};
/// use ktstr_driver::perf_delta::{Commits, NoiseAdjusted, NoiseEvent, Rules};
/// use ktstr_driver::{KernelChoice, Session, Silent};
/// use ktstr_vmm::CancelToken;
///
/// let host = Host::of_this_process();
/// let commits = Commits::of(&host, ".".as_ref(), &BaselineRequest::default())?;
/// let session = Session::new(host, ".").prepare(KernelChoice::Discover, &Silent)?;
/// let report = NoiseAdjusted::new(session, commits, 5)
///     .run(&Rules::default(), &|_: NoiseEvent<'_>| {}, &CancelToken::new()?)?;
/// println!("{} regressions", report.regressions);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct NoiseAdjusted {
    session: Session,
    commits: Commits,
    runs: usize,
    narrow: Option<String>,
}

/// A side that is ready to run.
struct Ready<'t> {
    name: SideName,
    session: Session,
    /// The cases of its performance tests, by nextest's names.
    cases: Vec<String>,
    _tree: Tree<'t>,
}

impl NoiseAdjusted {
    /// `runs` runs of each of `commits`, as `session` runs the tests of the work tree: with its kernels and options. Its
    /// streams are those of every run; [`NextestStreams::Foreground`](crate::NextestStreams::Foreground) would leave an
    /// interrupt to nextest alone.
    pub fn new(session: Session, commits: Commits, runs: usize) -> Self {
        Self {
            session,
            commits,
            runs,
            narrow: None,
        }
    }

    /// Runs only cases whose names contain this.
    #[must_use]
    pub fn narrow(mut self, substring: Option<String>) -> Self {
        self.narrow = substring;
        self
    }

    /// Runs both commits in turn, the base first in odd rounds and the head in even ones, and compares them by `rules`.
    ///
    /// What was interrupted goes on where it was. The scratch work trees are gone when this returns; the records stay until
    /// the next comparison of the project.
    pub fn run(
        &self,
        rules: &Rules,
        observer: &(dyn Fn(NoiseEvent<'_>) + Sync),
        cancel: &CancelToken,
    ) -> Result<PerfDelta, PerfDeltaError> {
        self.check()?;
        let host = self.session.host().clone();
        let root = Git::new(&host, self.session.dir()).work_tree()?;
        let below = self.dir_below(&root)?;
        let targets = self.session.runs_dir().unwrap_or_default();
        let place = targets.with_file_name("ktstr-perf");
        let trees = Trees::take(&host, root)?;
        let mut state = State::open(&place.join("runs"), self.key(&below))?;
        let runs = 2 * self.runs;
        let done = state.done(self.runs);
        if done > 0 {
            observer(NoiseEvent::Resumed { done, runs });
        }
        let mut ready = Vec::new();
        for name in [SideName::Base, SideName::Head] {
            let side = self.prepare(name, &trees, &below, &place, observer, cancel);
            ready.push(side.map_err(|error| self.interrupted_or(error, &state, cancel))?);
        }
        self.measure(&ready, &mut state, observer, cancel)?;
        let report = self.report(&state, rules);
        state.complete()?;
        Ok(report)
    }

    fn check(&self) -> Result<(), PerfDeltaError> {
        if self.runs < 2 {
            return Err(PerfDeltaError::TooFewRuns { runs: self.runs });
        }
        let is_given = |option: &&&str| nextest::value(self.session.args(), option).is_some();
        match PLACES.iter().find(is_given) {
            Some(option) => Err(PerfDeltaError::Option { option }),
            None => Ok(()),
        }
    }

    /// The project's directory below the root of the work tree.
    fn dir_below(&self, root: &Path) -> Result<PathBuf, PerfDeltaError> {
        let dir = cargo::absolute(self.session.dir());
        let real = dir.canonicalize().unwrap_or(dir.clone());
        let real_root = root.canonicalize().unwrap_or(root.to_owned());
        match real.strip_prefix(&real_root) {
            Ok(below) => Ok(below.to_owned()),
            Err(_) => Err(PerfDeltaError::Outside {
                dir,
                root: root.to_owned(),
            }),
        }
    }

    fn key(&self, below: &Path) -> Key {
        let mut options = self.session.manner();
        options.extend(Key::words(self.session.args()));
        options.extend(self.narrow.iter().map(|narrow| format!("narrow {narrow}")));
        Key {
            base: self.commits.base.clone(),
            head: self.commits.head.clone(),
            kernels: Key::kernels(self.session.resolved_kernels()),
            options,
            dir: below.to_string_lossy().into_owned(),
            ktstr: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn commit(&self, side: SideName) -> &str {
        match side {
            SideName::Base => &self.commits.base,
            SideName::Head => &self.commits.head,
        }
    }

    /// Checks a commit out, builds its tests and asks which of them are performance tests.
    fn prepare<'t>(
        &self,
        name: SideName,
        trees: &'t Trees<'t>,
        below: &Path,
        place: &Path,
        observer: &(dyn Fn(NoiseEvent<'_>) + Sync),
        cancel: &CancelToken,
    ) -> Result<Ready<'t>, PerfDeltaError> {
        let commit = self.commit(name);
        observer(NoiseEvent::Preparing {
            side: name,
            commit: &short(commit),
        });
        let tree = trees.add(name, commit)?;
        let dir = tree.path().join(below);
        if !dir.join("Cargo.toml").is_file() && !cargo_toml_above(&dir, tree.path()) {
            return Err(PerfDeltaError::NoProject {
                dir: below.to_owned(),
                commit: short(commit),
            });
        }
        let target = place.join(match name {
            SideName::Base => "base",
            SideName::Head => "head",
        });
        let mut host = self.session.host().clone();
        // Each run is one of its own.
        host.env.remove(std::ffi::OsStr::new(env::RUN_EPOCH));
        let host = host.with_vars([("CARGO_TARGET_DIR", &target)]);
        let session = self.session.moved(host, dir);
        link_neighbours(&tree, &session);
        let watch = |event: SessionEvent<'_>| observer(NoiseEvent::Session(event));
        let (filter, mut cases) = performance_cases(&session, &watch, cancel)?;
        if let Some(narrow) = &self.narrow {
            cases.retain(|case| case.contains(narrow.as_str()));
        }
        observer(NoiseEvent::Selected {
            side: name,
            cases: cases.len(),
        });
        let filter = match &self.narrow {
            Some(_) => expression(&filter, |case| cases.contains(case)),
            None => expression(&filter, |_| true),
        };
        Ok(Ready {
            name,
            session: session.narrowed(&filter),
            cases,
            _tree: tree,
        })
    }

    fn measure(
        &self,
        sides: &[Ready<'_>],
        state: &mut State,
        observer: &(dyn Fn(NoiseEvent<'_>) + Sync),
        cancel: &CancelToken,
    ) -> Result<(), PerfDeltaError> {
        let runs = 2 * self.runs;
        let mut number = 0;
        for round in 1..=self.runs {
            let mut order: Vec<&Ready<'_>> = sides.iter().collect();
            if round % 2 == 0 {
                // What the first of a pair leaves behind, and what drifts, concerns both alike.
                order.reverse();
            }
            for side in order {
                number += 1;
                if side.cases.is_empty() || state.is_done(side.name, round) {
                    continue;
                }
                observer(NoiseEvent::RunStarted {
                    side: side.name,
                    number,
                    runs,
                });
                self.run_once(side, round, state, observer, cancel)?;
            }
            if round == 1 && !self.has_measured(state) {
                observer(NoiseEvent::NothingMeasured);
                break;
            }
        }
        Ok(())
    }

    fn run_once(
        &self,
        side: &Ready<'_>,
        round: usize,
        state: &mut State,
        observer: &(dyn Fn(NoiseEvent<'_>) + Sync),
        cancel: &CancelToken,
    ) -> Result<(), PerfDeltaError> {
        let records = state.begin(side.name, round)?;
        let host = side.session.host().clone();
        let host = host.with_vars([(env::SIDECAR_DIR, &records)]);
        let mut args = side.session.args().to_vec();
        let stops = ["--fail-fast", "--no-fail-fast", "--max-fail"];
        if nextest::for_cargo(&args, &stops).is_empty() {
            args.insert(0, "--no-fail-fast".into());
        }
        if nextest::value(&args, "--test-threads").is_none() {
            // Tests beside each other would measure each other.
            args.splice(0..0, ["--test-threads", "1"].map(Into::into));
        }
        let session = side
            .session
            .moved(host, side.session.dir().to_owned())
            .nextest_args(args);
        let watch = |event: SessionEvent<'_>| observer(NoiseEvent::Session(event));
        let report = session
            .run(&watch, cancel)
            .map_err(|error| self.interrupted_or(error.into(), state, cancel))?;
        let found = read(&records);
        let interrupted = report.cancelled || report.signal.is_some();
        if interrupted && !have_all_ended(side.cases.iter().map(String::as_str), &found) {
            return Err(self.interrupted(state));
        }
        if found.is_empty() {
            return Err(PerfDeltaError::NothingRan {
                commit: short(self.commit(side.name)),
                exit_code: report.exit_code,
            });
        }
        state.end(side.name, round)
    }

    fn interrupted(&self, state: &State) -> PerfDeltaError {
        PerfDeltaError::Interrupted {
            done: state.done(self.runs),
            runs: 2 * self.runs,
        }
    }

    /// `error`, or what it comes of.
    fn interrupted_or(
        &self,
        error: PerfDeltaError,
        state: &State,
        cancel: &CancelToken,
    ) -> PerfDeltaError {
        if cancel.is_cancelled() {
            return self.interrupted(state);
        }
        error
    }

    fn records(&self, state: &State, side: SideName) -> Vec<Sidecar> {
        let runs = (1..=self.runs).filter(|run| state.is_done(side, *run));
        runs.flat_map(|run| read(&state.records(side, run)))
            .collect()
    }

    fn has_measured(&self, state: &State) -> bool {
        [SideName::Base, SideName::Head].iter().any(|side| {
            let records = self.records(state, *side);
            !Side::of(&records, Machines::of(&self.session)).is_empty()
        })
    }

    fn report(&self, state: &State, rules: &Rules) -> PerfDelta {
        let named = |name: SideName| Named {
            commit: self.commit(name).to_owned(),
            label: short(self.commit(name)),
            origin: match name {
                SideName::Base => self.commits.origin.clone(),
                SideName::Head => None,
            },
            side: Side::of(&self.records(state, name), Machines::of(&self.session)),
        };
        let (base, head) = (named(SideName::Base), named(SideName::Head));
        let mut report = compare(&base, &head, Mode::NoiseAdjusted, rules);
        if self.commits.dirty {
            report.caveats.push(Caveat::UncommittedChanges);
        }
        report
    }
}

fn read(dir: &Path) -> Vec<Sidecar> {
    Found::read(dir).map_or_else(|_| Vec::new(), |found| found.records)
}
