//! Counts how the cases of a session ended.

use std::collections::BTreeMap;
use std::fmt;

use ktstr_core::Outcome;

use crate::RunSummary;

/// How many cases of a session ended how. Displays as `9 passed (1 on a retry), 2 failed`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that passed.
    pub passed: usize,
    /// Those of the passed cases that needed a retry.
    pub on_a_retry: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that gave nothing to judge by.
    pub inconclusive: usize,
    /// Cases that were skipped, by the reason.
    pub skipped: BTreeMap<String, usize>,
}

impl Tally {
    /// Counts the records of `runs`.
    pub fn of<'r>(runs: impl IntoIterator<Item = &'r RunSummary>) -> Self {
        let mut tally = Self::default();
        for sidecar in runs.into_iter().flat_map(RunSummary::sidecars) {
            match sidecar.verdict.outcome() {
                Outcome::Pass => {
                    tally.passed += 1;
                    tally.on_a_retry += usize::from(sidecar.attempt > 1);
                }
                Outcome::Fail => tally.failed += 1,
                Outcome::Inconclusive => tally.inconclusive += 1,
                Outcome::Skip => {
                    let why: Vec<&str> = sidecar
                        .verdict
                        .decisive()
                        .map(|detail| detail.message.as_str())
                        .collect();
                    *tally.skipped.entry(why.join("; ")).or_default() += 1;
                }
            }
        }
        tally
    }

    /// The number of all cases.
    pub fn cases(&self) -> usize {
        let skipped: usize = self.skipped.values().sum();
        self.passed + self.failed + self.inconclusive + skipped
    }
}

/// `9 passed (1 on a retry), 2 failed, 1 inconclusive, 3 skipped`; what there is none of is not in it.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retried = match self.on_a_retry {
            0 => String::new(),
            count => format!(" ({count} on a retry)"),
        };
        let skipped: usize = self.skipped.values().sum();
        let counts = [
            (self.passed, format!("passed{retried}")),
            (self.failed, "failed".to_owned()),
            (self.inconclusive, "inconclusive".to_owned()),
            (skipped, "skipped".to_owned()),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(count, how)| format!("{count} {how}"))
            .collect();
        f.write_str(&counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;
    use ktstr_core::record::{Record, RecordKind, RunDir, Sidecar};

    use super::*;

    #[test]
    fn endings_are_counted_and_skips_told_by_reason() {
        let record = |verdict| Record {
            path: "/r/a.ktstr.json".into(),
            sidecar: Sidecar::new("a", "ktstr/a", verdict),
            failure_dump: None,
            kind: RecordKind::Latest,
        };
        let run = RunSummary {
            path: "/r".into(),
            records: [
                Verdict::pass(),
                Verdict::pass(),
                Verdict::fail("x", "y"),
                Verdict::skip("too large"),
                Verdict::skip("needs KVM"),
                Verdict::skip("too large"),
            ]
            .map(record)
            .to_vec(),
            unreadable: Vec::new(),
        };
        let tally = Tally::of([&run]);
        assert_eq!(tally.cases(), 6);
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 3 skipped");
        let reasons: Vec<_> = tally.skipped.iter().collect();
        let (large, kvm) = ("too large".to_owned(), "needs KVM".to_owned());
        assert_eq!(reasons, [(&kvm, &1), (&large, &2)]);
    }

    #[test]
    fn a_case_that_passed_on_a_retry_has_passed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("r"), "1");
        let write = |test: &str, attempt, verdict| {
            let sidecar = Sidecar {
                attempt,
                ..Sidecar::new(test, &format!("ktstr/{test}"), verdict)
            };
            run.write(&sidecar, None::<&()>).unwrap();
        };
        write("steady", 1, Verdict::pass());
        write("flaky", 1, Verdict::fail("x", "y"));
        write("flaky", 2, Verdict::pass());
        write("odd", 1, Verdict::fail("x", "y"));
        write("odd", 2, Verdict::inconclusive("x", "y"));
        let runs = RunSummary::of_epoch(dir.path(), None, "1");
        let tally = Tally::of(&runs);
        assert_eq!(tally.to_string(), "2 passed (1 on a retry), 1 inconclusive");
        assert_eq!(runs[0].failures().count(), 1);
    }
}
