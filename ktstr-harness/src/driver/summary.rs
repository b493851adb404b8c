//! What a session left behind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ktstr_core::rundir::standing;
use ktstr_core::{Outcome, RunDir, Sidecar};

/// One run directory that a session wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The directory.
    pub path: PathBuf,
    /// What stands of the session's records in it: one for each case, see [`ktstr_core::rundir::standing`].
    pub sidecars: Vec<Sidecar>,
    /// Files in it that should be sidecars and cannot be read: which and why, one line each.
    pub unreadable: Vec<String>,
}

/// Cargo's and nextest's options that say what is built; their values follow as `--option value` or `--option=value`.
const WITH_VALUE: &[&str] = &[
    "-p",
    "--package",
    "--exclude",
    "--test",
    "-F",
    "--features",
    "--cargo-profile",
    "--target",
    "--target-dir",
    "--manifest-path",
    "--config",
    "--config-file",
    "--tool-config-file",
];

/// Such options without a value.
const PLAIN: &[&str] = &[
    "--workspace",
    "--all",
    "--tests",
    "--all-targets",
    "--all-features",
    "--no-default-features",
    "-r",
    "--release",
];

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
        let text = |arg: &OsString| arg.to_string_lossy().into_owned();
        let asked = nextest_args
            .iter()
            .any(|arg| text(arg).starts_with("--run-ignored"));
        let ignored = ["gauntlet/", "verifier/"]
            .iter()
            .any(|kind| sidecar.case.starts_with(kind))
            || sidecar.test.starts_with("demo_");
        if asked || ignored {
            args.extend(["--run-ignored", "all"].map(Into::into));
        }
        args.extend(["-E".into(), replay_filter(&sidecar.case).into()]);
        args
    }
}

/// The nextest filter expression that selects exactly the case called `name`.
pub fn replay_filter(name: &str) -> String {
    format!("test(={name})")
}

/// Those of nextest's `args` that decide what is built.
pub(super) fn build_selection(args: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        // What follows is for the test binaries.
        if text == "--" {
            break;
        }
        let name = text.split('=').next().unwrap_or_default();
        // -pNAME and -FNAME, too.
        let short = ["-p", "-F"].iter().any(|short| text.starts_with(short));
        if WITH_VALUE.contains(&text.as_ref()) {
            kept.push(arg.clone());
            kept.extend(args.next().cloned());
        } else if PLAIN.contains(&text.as_ref()) || WITH_VALUE.contains(&name) || short {
            kept.push(arg.clone());
        }
    }
    kept
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
}
