//! Where the time of tests went.

use std::collections::BTreeMap;

use ktstr_core::record::Timings;
use serde::Serialize;

use super::facts::Facts;

/// Seconds of host time by phase. A phase that was not reached counts 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Waiting for host CPUs.
    pub wait_s: f64,
    /// From starting the machine until the guest was ready.
    pub boot_s: f64,
    /// From there until the guest reported.
    pub scenario_s: f64,
    /// From the report until the machine was gone.
    pub teardown_s: f64,
}

/// The time of a test, over all of its cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestTime {
    /// The test function, or `verifier/{scheduler}`.
    pub test: String,
    /// Crate name of its test target; absent for cells of the verifier sweep.
    pub target: Option<String>,
    /// Cases that took time.
    pub cases: usize,
    /// Time of all of them, in seconds.
    pub total_s: f64,
    /// The same by phase.
    pub phases: Phases,
    /// The case that took longest.
    pub slowest_case: String,
    /// Time of that case, in seconds.
    pub slowest_s: f64,
}

impl Phases {
    fn of(timings: &Timings) -> Self {
        let told = |seconds: Option<f64>| seconds.filter(|it| it.is_finite() && *it > 0.0);
        Self {
            wait_s: told(timings.wait_s).unwrap_or(0.0),
            boot_s: told(timings.boot_s).unwrap_or(0.0),
            scenario_s: told(timings.scenario_s).unwrap_or(0.0),
            teardown_s: told(timings.teardown_s).unwrap_or(0.0),
        }
    }

    fn add(&mut self, other: Self) {
        let add = |sum: &mut f64, more: f64| *sum = (*sum + more).min(f64::MAX);
        add(&mut self.wait_s, other.wait_s);
        add(&mut self.boot_s, other.boot_s);
        add(&mut self.scenario_s, other.scenario_s);
        add(&mut self.teardown_s, other.teardown_s);
    }

    /// The sum.
    pub fn total_s(&self) -> f64 {
        let sum = self.wait_s + self.boot_s + self.scenario_s + self.teardown_s;
        sum.min(f64::MAX)
    }
}

/// The tests of `cases` that took time, the one with the longest total first.
pub(super) fn times(cases: &[Facts]) -> Vec<TestTime> {
    let mut tests: BTreeMap<(&str, Option<&str>), TestTime> = BTreeMap::new();
    for facts in cases {
        let phases = Phases::of(&facts.timings);
        let total = phases.total_s();
        if total == 0.0 {
            continue;
        }
        let key = (facts.test.as_str(), facts.target.as_deref());
        let test = tests.entry(key).or_insert_with(|| TestTime {
            test: facts.test.clone(),
            target: facts.target.clone(),
            cases: 0,
            total_s: 0.0,
            phases: Phases::default(),
            slowest_case: String::new(),
            slowest_s: 0.0,
        });
        test.cases += 1;
        test.phases.add(phases);
        test.total_s = test.phases.total_s();
        if total > test.slowest_s {
            test.slowest_s = total;
            test.slowest_case.clone_from(&facts.case);
        }
    }
    let mut tests: Vec<TestTime> = tests.into_values().collect();
    tests.sort_by(|a, b| b.total_s.total_cmp(&a.total_s));
    tests
}
