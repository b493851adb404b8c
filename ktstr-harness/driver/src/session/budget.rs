//! Selects the cases of a session that cover most in a limited time.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ktstr_core::CaseName;
use ktstr_core::budget::{Candidate, LeftOut, select};
use ktstr_core::record::{MeasuredTimes, RunStore};
use ktstr_harness::dispatch::CaseThresholds;
use ktstr_vmm::CancelToken;

use super::Session;
use super::error::SessionError;
use super::event::{SessionEvent, SessionObserver};
use crate::nextest::{self, Binary, Listing};

/// What runs within a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The time that the tests may take.
    pub time: Duration,
    /// How many run at a time.
    pub threads: usize,
    /// Number of cases that are run.
    pub cases: usize,
    /// Number of cases that would have run without a budget.
    pub of: usize,
    /// How long the machines of those that run are expected to take in all, by what earlier sessions measured.
    pub expected: Duration,
    /// What does not run.
    pub left_out: LeftOut,
}

/// Names of cases by nextest's name of their test binary.
pub(super) type Selected = BTreeMap<String, BTreeSet<String>>;

impl Session {
    /// The cases that run within the session's budget; `None` without one.
    pub(super) fn within_budget(
        &self,
        runs: &Path,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Option<Selected>, SessionError> {
        let Some(time) = self.budget else {
            return Ok(None);
        };
        let listing = self.list_selected(observer, cancel)?;
        let times = MeasuredTimes::read(&RunStore::new(runs));
        let mut candidates = Vec::new();
        for (id, binary) in &listing.binaries {
            if has_cases(binary) {
                candidates.extend(self.candidates(id, binary, &times, observer, cancel)?);
            }
        }
        let threads = self.test_threads();
        let selection = select(&candidates, time, threads);
        let shortest = candidates.iter().map(|case| case.time).min();
        if let (true, Some(shortest)) = (selection.selected.is_empty(), shortest) {
            return Err(SessionError::Budget { time, shortest });
        }
        observer.event(SessionEvent::BudgetSpent(&Budget {
            time,
            threads,
            cases: selection.selected.len(),
            of: candidates.len(),
            expected: selection.time,
            left_out: selection.left_out,
        }));
        let mut selected = Selected::new();
        for index in selection.selected {
            let (binary, case) = candidates[index].id.clone();
            selected.entry(binary).or_default().insert(case);
        }
        Ok(Some(selected))
    }

    /// The tests that nextest would run.
    fn list_selected(
        &self,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Listing, SessionError> {
        let mut command = self.list_command(&self.epoch())?;
        command.args(nextest::listing(self.args()));
        self.listing(command, observer, cancel)
    }

    /// The cases of a test binary that would run.
    fn candidates(
        &self,
        id: &str,
        binary: &Binary,
        times: &MeasuredTimes,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<Candidate>, SessionError> {
        let told: Vec<CaseThresholds> =
            self.cases_of(binary, &["--include-ignored"], observer, cancel)?;
        let told: BTreeMap<&str, &CaseThresholds> = told
            .iter()
            .map(|about| (about.case.as_str(), about))
            .collect();
        let candidate = |name: &String| {
            let case: CaseName = name.parse().ok()?;
            let unlabelled = case.clone().without_kernel().to_string();
            let about = told.get(unlabelled.as_str());
            let preset = match &case {
                CaseName::Gauntlet { preset, .. } | CaseName::Verifier { preset, .. } => {
                    Some(preset.topology.to_string())
                }
                CaseName::Base { .. } | CaseName::Host { .. } => None,
            };
            let topology = about.and_then(|about| about.topology.clone()).or(preset);
            let scheduler = match &case {
                CaseName::Verifier { scheduler, .. } => scheduler.clone(),
                _ => about
                    .map(|about| about.scheduler.clone())
                    .unwrap_or_default(),
            };
            let topology = topology.unwrap_or_default();
            Some(Candidate::new(id, &case, topology, scheduler, times))
        };
        Ok(binary.selected.iter().filter_map(candidate).collect())
    }

    /// How many tests nextest runs at a time, as far as its command line tells; else one per CPU.
    fn test_threads(&self) -> usize {
        let told = nextest::value(self.args(), "--test-threads")
            .or_else(|| self.host().var("NEXTEST_TEST_THREADS"));
        let told = told.and_then(|number| number.to_str()?.parse().ok());
        let cpus = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        told.unwrap_or_else(cpus)
    }
}

/// Whether the tests of `binary` are cases of ktstr.
fn has_cases(binary: &Binary) -> bool {
    let is_case = |name: &String| name.parse::<CaseName>().is_ok();
    !binary.selected.is_empty() && binary.selected.iter().all(is_case)
}
