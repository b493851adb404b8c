//! How long cases took in earlier runs, to estimate how long they will take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::RunStore;
use super::sidecar::Timings;
use crate::{CaseName, Outcome};

/// The estimate for a case where nothing was ever measured: a small machine that runs a test of default length.
const UNMEASURED: Duration = Duration::from_secs(20);

/// What a case takes beside its machine: starting the test process and packing what its guest needs.
const OVERHEAD_S: f64 = 0.5;

/// Number of run directories that are read, the newest ones.
const RUNS: usize = 20;

/// How long cases took in earlier runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeasuredTimes {
    by_case: Times<(String, String)>,
    by_shape: Times<(String, String)>,
    by_test: Times<String>,
    all: Vec<f64>,
}

/// Seconds, several of each.
type Times<K> = BTreeMap<K, Vec<f64>>;

/// The part of a sidecar that tells how long a case took.
#[derive(Deserialize)]
struct TimedRecord {
    case: String,
    test: String,
    #[serde(default)]
    binary_id: Option<String>,
    #[serde(default)]
    topology: Option<crate::Topology>,
    verdict: OutcomeOnly,
    timings: Timings,
}

#[derive(Deserialize)]
struct OutcomeOnly {
    outcome: Outcome,
}

impl MeasuredTimes {
    /// Reads the newest runs of `store`. What cannot be read measures nothing.
    pub fn read(store: &RunStore) -> Self {
        let mut measured = Self::default();
        let runs = store.runs().unwrap_or_default();
        for run in runs.iter().take(RUNS) {
            run.dir()
                .each_latest(|record: TimedRecord| measured.add(record));
        }
        measured
    }

    fn add(&mut self, record: TimedRecord) {
        // A case that was skipped took no time, and will take some when the host has what it needs.
        if record.verdict.outcome == Outcome::Skip {
            return;
        }
        let Timings {
            boot_s,
            scenario_s,
            teardown_s,
            ..
        } = record.timings;
        let phases = [boot_s, scenario_s, teardown_s];
        let seconds = phases.into_iter().flatten().sum::<f64>() + OVERHEAD_S;
        if !seconds.is_finite() || seconds < 0.0 {
            return;
        }
        let topology = record.topology.map(|it| it.to_string()).unwrap_or_default();
        let case = without_kernel(&record.case);
        let binary = record.binary_id.unwrap_or_default();
        self.by_case
            .entry((binary, case))
            .or_default()
            .push(seconds);
        let shape = (record.test.clone(), topology);
        self.by_shape.entry(shape).or_default().push(seconds);
        self.by_test.entry(record.test).or_default().push(seconds);
        self.all.push(seconds);
    }

    /// How long the case called `case` of a test binary will take: the median of what the case took, on whatever kernel.
    /// Where it has not run yet, that of the nearest of these that has: its test on a machine of that shape, its test,
    /// any test.
    pub fn expected(&self, binary_id: &str, case: &CaseName, topology: &str) -> Duration {
        let name = case.clone().without_kernel().to_string();
        let test = case.test().unwrap_or(CaseName::VERIFIER);
        let times = self
            .by_case
            .get(&(binary_id.to_owned(), name))
            .or_else(|| self.by_shape.get(&(test.to_owned(), topology.to_owned())))
            .or_else(|| self.by_test.get(test))
            .unwrap_or(&self.all);
        median(times).map_or(UNMEASURED, Duration::from_secs_f64)
    }
}

fn without_kernel(case: &str) -> String {
    match case.parse::<CaseName>() {
        Ok(name) => name.without_kernel().to_string(),
        Err(_) => case.to_owned(),
    }
}

/// The median; the greater of the two in the middle.
fn median(times: &[f64]) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::{RunDir, Sidecar};
    use crate::{Topology, Verdict};

    fn write(dir: &Path, epoch: &str, test: &str, case: &str, seconds: f64, verdict: Verdict) {
        let sidecar = Sidecar {
            binary_id: Some("p::t".to_owned()),
            topology: Some(Topology::constant(1, 1, 2, 1)),
            timings: Timings {
                boot_s: Some(1.0),
                scenario_s: Some(seconds - 1.0 - OVERHEAD_S),
                ..Timings::default()
            },
            ..Sidecar::new(test, case, verdict)
        };
        RunDir::new(dir, epoch)
            .write(&sidecar, None::<&()>)
            .unwrap();
    }

    #[test]
    fn the_nearest_measurement_counts() {
        let dir = tempfile::tempdir().unwrap();
        let store = RunStore::new(dir.path());
        let nothing = MeasuredTimes::read(&store);
        let expected = |times: &MeasuredTimes, binary: &str, case: &str, topology: &str| {
            let time = times.expected(binary, &case.parse().unwrap(), topology);
            time.as_secs_f64()
        };
        assert_eq!(expected(&nothing, "p::t", "ktstr/a", "1n1l2c1t"), 20.0);
        let run = |name: &str| dir.path().join(name);
        write(
            &run("1"),
            "1-1",
            "a",
            "ktstr/a/kernel_6_12",
            4.0,
            Verdict::pass(),
        );
        write(
            &run("2"),
            "2-1",
            "a",
            "ktstr/a",
            6.0,
            Verdict::fail("x", "y"),
        );
        write(
            &run("3"),
            "3-1",
            "a",
            "ktstr/a",
            90.0,
            Verdict::skip("too small"),
        );
        write(&run("3"), "3-1", "b", "ktstr/b", 30.0, Verdict::pass());
        std::fs::write(run("3").join("odd-0.ktstr.json"), "{").unwrap();
        let times = MeasuredTimes::read(&store);
        let of =
            |binary: &str, case: &str, topology: &str| expected(&times, binary, case, topology);
        assert_eq!(of("p::t", "ktstr/a", "1n1l2c1t"), 6.0);
        assert_eq!(of("p::t", "ktstr/b/kernel_7_0", "1n1l2c1t"), 30.0);
        // Of another binary, another shape, and a test that never ran.
        assert_eq!(of("p::u", "ktstr/b", "1n1l2c1t"), 30.0);
        assert_eq!(of("p::t", "gauntlet/b/8cpu-2llc-smt", "1n2l2c2t"), 30.0);
        assert_eq!(of("p::t", "ktstr/c", "1n1l2c1t"), 6.0);
    }
}
