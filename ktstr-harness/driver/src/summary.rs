//! What a session left behind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use ktstr_core::record::{RunDir, Sidecar, standing};
use ktstr_core::{CaseName, Outcome};

use super::options::{asks_for_ignored, build_selection};

/// One run directory that a session wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The directory.
    pub path: PathBuf,
    /// What stands of the session's records in it: one for each case, see [`ktstr_core::record::standing`].
    pub sidecars: Vec<Sidecar>,
    /// Files in it that should be sidecars and cannot be read: which and why, one line each.
    pub unreadable: Vec<String>,
}

impl RunSummary {
    /// The run directories below `runs` (or `only`, where one is set) that belong to `epoch`.
    pub fn of_epoch(runs: &Path, only: Option<&Path>, epoch: &str) -> Vec<Self> {
        let candidates: Vec<PathBuf> = match only {
            Some(dir) => vec![dir.to_owned()],
            None => std::fs::read_dir(runs)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect(),
        };
        let mut found: Vec<Self> = candidates
            .into_iter()
            .filter(|path| RunDir::has_epoch(path, epoch))
            .map(|path| Self::read(path, epoch))
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    fn read(path: PathBuf, epoch: &str) -> Self {
        let mut summary = Self {
            path,
            sidecars: Vec::new(),
            unreadable: Vec::new(),
        };
        match RunDir::new(&summary.path, epoch).own_records() {
            Ok(read) => {
                let mut records = Vec::new();
                for record in read {
                    match record {
                        Ok(record) => records.push(record),
                        Err(error) => summary.unreadable.push(error.to_string()),
                    }
                }
                let standing = standing(records).into_iter();
                summary.sidecars = standing.map(|record| record.sidecar).collect();
            }
            Err(error) => {
                let line = format!("run directory {}: {error}", summary.path.display());
                summary.unreadable.push(line);
            }
        }
        summary
    }

    /// Names of the cases that ended as `outcome`.
    pub fn cases(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        self.sidecars
            .iter()
            .filter(move |sidecar| sidecar.verdict.outcome() == outcome)
            .map(|sidecar| sidecar.case.as_str())
    }

    /// The records of cases that failed or came to nothing: what one would run again.
    pub fn to_replay(&self) -> impl Iterator<Item = &Sidecar> {
        self.sidecars.iter().filter(|sidecar| {
            matches!(
                sidecar.verdict.outcome(),
                Outcome::Fail | Outcome::Inconclusive
            )
        })
    }

    /// Arguments for nextest that run the case of `sidecar` alone, in a session that had `nextest_args`.
    ///
    /// What decides how tests are built is kept of those; filters and the like are not.
    pub fn replay_args(sidecar: &Sidecar, nextest_args: &[OsString]) -> Vec<OsString> {
        let mut args = build_selection(nextest_args);
        let asked = asks_for_ignored(nextest_args);
        let name = sidecar.case.parse::<CaseName>();
        let ignored = name.is_ok_and(|name| name.is_variant()) || sidecar.test.starts_with("demo_");
        if asked || ignored {
            args.extend(["--run-ignored", "all"].map(Into::into));
        }
        let case = replay_filter(&sidecar.case);
        // Others may have one of that name.
        let filter = match &sidecar.binary_id {
            Some(binary) => format!("binary_id(={binary}) & {case}"),
            None => case,
        };
        args.extend(["-E".into(), filter.into()]);
        args
    }
}

/// The nextest filter expression that selects exactly the case called `name`.
pub fn replay_filter(name: &str) -> String {
    format!("test(={name})")
}

/// How the cases of a session ended, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that passed.
    pub passed: usize,
    /// Those of them that passed on a retry only.
    pub on_a_retry: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases whose run gave nothing to judge by.
    pub inconclusive: usize,
    /// Cases that were skipped, by the reason.
    pub skipped: BTreeMap<String, usize>,
}

impl Tally {
    pub(super) fn of<'r>(runs: impl Iterator<Item = &'r RunSummary>) -> Self {
        let mut tally = Self::default();
        for sidecar in runs.flat_map(|run| &run.sidecars) {
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

    /// How many cases there are.
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
    use super::*;
    use ktstr_core::Verdict;

    fn replay(test: &str, case: &str, session: &str) -> String {
        let session: Vec<OsString> = session.split_whitespace().map(Into::into).collect();
        let sidecar = Sidecar::new(test, case, Verdict::pass());
        let args = RunSummary::replay_args(&sidecar, &session);
        let args: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
        args.join(" ")
    }

    #[test]
    fn a_case_is_replayed_alone_and_built_as_before() {
        assert_eq!(replay("a", "ktstr/a", ""), "-E test(=ktstr/a)");
        assert_eq!(
            replay("a", "gauntlet/a/4cpu-1llc-nosmt", "--retries 2"),
            "--run-ignored all -E test(=gauntlet/a/4cpu-1llc-nosmt)"
        );
        assert_eq!(
            replay("demo_a", "ktstr/demo_a/kernel_6_12", "name"),
            "--run-ignored all -E test(=ktstr/demo_a/kernel_6_12)"
        );
        assert_eq!(
            replay(
                "a",
                "ktstr/a",
                "--run-ignored=only -E test(x) --features=f -p x -Fg --no-capture"
            ),
            "--features=f -p x -Fg --run-ignored all -E test(=ktstr/a)"
        );
        assert_eq!(
            replay("a", "ktstr/a", "--workspace --exclude y some -- -p"),
            "--workspace --exclude y -E test(=ktstr/a)"
        );
    }

    #[test]
    fn a_summary_counts_what_it_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |run: &str, epoch: &str, test: &str, verdict| {
            let record = Sidecar::new(test, &format!("ktstr/{test}"), verdict);
            let run = RunDir::new(dir.path().join(run), epoch);
            run.write(&record, None::<&()>).unwrap()
        };
        write("b", "2", "good", Verdict::pass());
        write("b", "2", "bad", Verdict::fail("x", "y"));
        write("b", "2", "odd", Verdict::inconclusive("x", "y"));
        let broken = write("b", "2", "broken", Verdict::pass());
        std::fs::write(&broken, "{").unwrap();
        write("a", "1", "old", Verdict::fail("x", "y"));
        let runs = RunSummary::of_epoch(dir.path(), None, "2");
        let [run] = runs.as_slice() else {
            panic!("{runs:?}")
        };
        assert_eq!(run.path, dir.path().join("b"));
        assert_eq!(run.sidecars.len(), 3);
        assert_eq!(run.unreadable.len(), 1);
        assert!(run.unreadable[0].contains("broken"), "{:?}", run.unreadable);
        let replay: Vec<_> = run
            .to_replay()
            .map(|sidecar| sidecar.test.as_str())
            .collect();
        assert_eq!(replay, ["bad", "odd"]);
        let only = dir.path().join("a");
        assert_eq!(RunSummary::of_epoch(dir.path(), Some(&only), "1").len(), 1);
    }

    #[test]
    fn endings_are_counted_and_skips_told_by_reason() {
        let record = |verdict| Sidecar::new("a", "ktstr/a", verdict);
        let run = RunSummary {
            path: "/r".into(),
            sidecars: [
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
        let tally = Tally::of([&run].into_iter());
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
        let tally = Tally::of(runs.iter());
        assert_eq!(tally.to_string(), "2 passed (1 on a retry), 1 inconclusive");
        assert_eq!(runs[0].to_replay().count(), 1);
    }

    #[test]
    fn a_case_is_told_from_others_of_its_name() {
        let sidecar = Sidecar {
            binary_id: Some("p::t".to_owned()),
            ..Sidecar::new("a", "ktstr/a", Verdict::pass())
        };
        let args = RunSummary::replay_args(&sidecar, &[]);
        assert_eq!(args, ["-E", "binary_id(=p::t) & test(=ktstr/a)"]);
    }
}
