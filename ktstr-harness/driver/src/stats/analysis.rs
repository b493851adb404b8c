//! What the newest run tells.

use std::path::PathBuf;

use ktstr_core::record::{RunStore, StoredSession, standing_by};
use ktstr_core::timestamp::rfc3339;
use serde::Serialize;

use super::facts::Facts;
use super::findings::{self, Exit, KernelFault, Restarted, Retried, SkipReason};
use super::growth::{self, VerifierGrowth};
use super::outliers::{self, Outlier};
use super::scan::{self, Unreadable};
use super::times::{self, TestTime};
use super::verdicts::{self, Counts, TestVerdicts};
use super::{SCHEMA, StatsError, runs};

/// What the newest session tells, over all run directories that it wrote to: the document of `stats --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The session; absent if there is none.
    pub session: Option<AnalyzedSession>,
    /// Verdicts by test and machine: tests that failed first, then by name.
    pub verdicts: Vec<TestVerdicts>,
    /// Variants of tests that measured something else than the others, worse ones first.
    pub outliers: Vec<Outlier>,
    /// The time of each test, the slowest first.
    pub times: Vec<TestTime>,
    /// Exits of schedulers, by kind.
    pub exits: Vec<Exit>,
    /// Verified instructions against an earlier run; absent if no cell of the verifier sweep is in both.
    pub verifier: Option<VerifierGrowth>,
    /// Cases whose scheduler was started again.
    pub restarts: Vec<Restarted>,
    /// Lines in which kernels reported faults of their own.
    pub kernel_faults: Vec<KernelFault>,
    /// Cases that ended in several ways.
    pub retries: Vec<Retried>,
    /// Why cases were skipped.
    pub skips: Vec<SkipReason>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A session that was analysed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnalyzedSession {
    /// Its name in the records.
    pub epoch: String,
    /// When it began, RFC 3339 in UTC.
    pub begun: String,
    /// How many cases ended how.
    pub counts: Counts,
    /// The run directories that it wrote to: one for each kernel.
    pub runs: Vec<AnalyzedRun>,
}

/// A run directory of the session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnalyzedRun {
    /// Its name: what `--run` takes.
    pub run: String,
    /// Its path.
    pub path: PathBuf,
    /// Cases of the session in it.
    pub cases: usize,
}

/// Analyses the newest session in `store`: for each case, the record that counts
/// ([`standing_by`](ktstr_core::record::standing_by)).
pub fn analyze(store: &RunStore) -> Result<Analysis, StatsError> {
    let newest = runs(store)?.into_iter().next();
    let failed = |source| StatsError::Store {
        dir: store.dir().to_owned(),
        source,
    };
    let Some(newest) = newest else {
        return Ok(of_facts(&[], &[], Vec::new()));
    };
    let session = store.session(&newest.epoch).map_err(failed)?;
    let session = session.unwrap_or(StoredSession {
        epoch: newest.epoch,
        dirs: vec![newest.path],
    });
    let mut read = Read::default();
    for dir in &session.dirs {
        read.add(dir.clone(), &session.epoch);
    }
    read.unreadable.sort();
    let names: Vec<String> = read.runs.iter().map(|run| run.run.clone()).collect();
    let mut analysis = of_facts(&read.all, &read.cases, read.unreadable);
    analysis.verifier = growth::growth(store, &names, &read.cases)?;
    let mut counts = Counts::default();
    read.cases
        .iter()
        .for_each(|facts| counts.add(facts.outcome()));
    analysis.session = Some(AnalyzedSession {
        epoch: session.epoch,
        begun: begun(&read.all).unwrap_or_else(|| rfc3339(newest.begun)),
        counts,
        runs: read.runs,
    });
    Ok(analysis)
}

/// When the first of the records was begun, which names of sessions and times of files need not tell.
fn begun(all: &[Facts]) -> Option<String> {
    let started = all.iter().map(|facts| &facts.started);
    started.filter(|started| !started.is_empty()).min().cloned()
}

/// The records of a session.
#[derive(Debug, Default)]
struct Read {
    runs: Vec<AnalyzedRun>,
    all: Vec<Facts>,
    /// Those that count.
    cases: Vec<Facts>,
    unreadable: Vec<Unreadable>,
}

impl Read {
    fn add(&mut self, dir: PathBuf, epoch: &str) {
        let scanned = scan::read_dir(&dir, |record| {
            (record.sidecar.epoch == epoch).then(|| Facts::of(&record))
        });
        let items = scanned.items.iter();
        let cases = standing_by(items.map(|facts| (facts.standing.clone(), facts.clone())));
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        self.runs.push(AnalyzedRun {
            run: name.to_string_lossy().into_owned(),
            cases: cases.len(),
            path: dir,
        });
        self.cases.extend(cases);
        self.all.extend(scanned.items);
        self.unreadable.extend(scanned.unreadable);
    }
}

/// What `all` records tell, of which `cases` count: everything but what needs other sessions.
pub(super) fn of_facts(all: &[Facts], cases: &[Facts], unreadable: Vec<Unreadable>) -> Analysis {
    Analysis {
        schema: SCHEMA,
        session: None,
        verdicts: verdicts::verdicts(cases),
        outliers: outliers::outliers(cases),
        times: times::times(cases),
        exits: findings::exits(cases),
        verifier: None,
        restarts: findings::restarts(cases),
        kernel_faults: findings::kernel_faults(cases),
        retries: findings::retries(all, cases),
        skips: findings::skips(cases),
        unreadable,
    }
}
