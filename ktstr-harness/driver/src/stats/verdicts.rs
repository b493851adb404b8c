//! Verdicts by test and machine.

use std::collections::BTreeMap;

use ktstr_core::Outcome;
use serde::Serialize;

use super::facts::Facts;

/// How many cases ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Cases that passed.
    pub pass: usize,
    /// Cases that failed.
    pub fail: usize,
    /// Cases that gave nothing to judge by.
    pub inconclusive: usize,
    /// Cases that did not run.
    pub skip: usize,
}

/// The cases of one test, or of one scheduler in the verifier sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestVerdicts {
    /// The test function, or `verifier/{scheduler}`.
    pub test: String,
    /// Crate name of its test target; absent for cells of the verifier sweep.
    pub target: Option<String>,
    /// How many of its cases ended how.
    pub counts: Counts,
    /// Its cases, by size of the machine, then by kernel.
    pub cases: Vec<CaseVerdict>,
}

/// How one case ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseVerdict {
    /// Its name for nextest.
    pub case: String,
    /// `base`, or the name of the gauntlet preset.
    pub variant: String,
    /// Shape of the machine, such as `1n2l2c1t`; absent for a test that ran on the host.
    pub topology: Option<String>,
    /// CPUs of the machine; 0 without one.
    pub cpus: u32,
    /// Label of the kernel; absent for a test that ran on the host.
    pub kernel: Option<String>,
    /// The scheduler under test.
    pub scheduler: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What decided that, in a line each; empty for a pass.
    pub why: Vec<String>,
    /// The record.
    pub record: String,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Pass => &mut self.pass,
            Outcome::Fail => &mut self.fail,
            Outcome::Inconclusive => &mut self.inconclusive,
            Outcome::Skip => &mut self.skip,
        } += 1;
    }

    /// The number of all cases.
    pub fn all(&self) -> usize {
        self.pass + self.fail + self.inconclusive + self.skip
    }
}

/// The tests of `cases`, those with failures first, then those with inconclusive cases, then by name.
pub(super) fn verdicts(cases: &[Facts]) -> Vec<TestVerdicts> {
    let mut tests: BTreeMap<(&str, Option<&str>), TestVerdicts> = BTreeMap::new();
    for facts in cases {
        let key = (facts.test.as_str(), facts.target.as_deref());
        let test = tests.entry(key).or_insert_with(|| TestVerdicts {
            test: facts.test.clone(),
            target: facts.target.clone(),
            counts: Counts::default(),
            cases: Vec::new(),
        });
        test.counts.add(facts.outcome());
        test.cases.push(CaseVerdict {
            case: facts.case.clone(),
            variant: facts.variant.clone(),
            topology: facts.topology.clone(),
            cpus: facts.cpus,
            kernel: facts.kernel.clone(),
            scheduler: facts.scheduler.clone(),
            outcome: facts.outcome(),
            why: facts.why.clone(),
            record: facts.path.clone(),
        });
    }
    let mut tests: Vec<TestVerdicts> = tests.into_values().collect();
    for test in &mut tests {
        let key = |case: &CaseVerdict| (case.cpus, case.variant.clone(), case.kernel.clone());
        test.cases.sort_by_cached_key(key);
    }
    tests.sort_by_key(|test| {
        let Counts {
            fail, inconclusive, ..
        } = test.counts;
        (fail == 0, fail == 0 && inconclusive == 0)
    });
    tests
}
