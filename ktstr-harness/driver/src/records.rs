//! What a session left behind: the records of its cases, by run directory.

use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::Outcome;
use ktstr_core::record::{self, Record, RunDir, RunDirError, Sidecar, StoredSession, standing};

/// The records of one session in one run directory.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The directory.
    pub path: PathBuf,
    /// The record that counts of each case, see [`ktstr_core::record::standing`].
    pub records: Vec<Record>,
    /// Files that should be records and cannot be read: which and why, in one line each.
    pub unreadable: Vec<String>,
}

impl RunSummary {
    /// The run directories below `runs` (or `only`, where one is set) that the run called `epoch` wrote into. `runs` is
    /// [`Session::runs_dir`](crate::Session::runs_dir), `only` what `KTSTR_SIDECAR_DIR` names, and the epoch what
    /// `KTSTR_RUN_EPOCH` named for the session, or [`RunDir::last_epoch`].
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

    /// The records of a session that was found in a [`RunStore`](ktstr_core::record::RunStore), by run directory.
    pub fn of_session(session: &StoredSession) -> Vec<Self> {
        let dirs = session.dirs.iter();
        dirs.map(|dir| Self::read(dir.clone(), &session.epoch))
            .collect()
    }

    /// The records of the newest run in the run directory at `path`; `None` where no run has written there.
    pub fn latest(path: &Path) -> Option<Self> {
        let epoch = RunDir::last_epoch(path)?;
        Some(Self::read(path.to_owned(), &epoch))
    }

    fn read(path: PathBuf, epoch: &str) -> Self {
        let mut summary = Self {
            path,
            records: Vec::new(),
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
                summary.records = standing(records);
            }
            Err(error) => {
                let line = format!("run directory {}: {error}", summary.path.display());
                summary.unreadable.push(line);
            }
        }
        summary
    }

    /// The contents of the records.
    pub fn sidecars(&self) -> impl Iterator<Item = &Sidecar> {
        self.records.iter().map(|record| &record.sidecar)
    }

    /// Names of the cases that ended as `outcome`.
    pub fn cases(&self, outcome: Outcome) -> impl Iterator<Item = &str> {
        self.sidecars()
            .filter(move |sidecar| sidecar.verdict.outcome() == outcome)
            .map(|sidecar| sidecar.case.as_str())
    }

    /// The records of cases that failed or came to nothing: what one would run again. [`FailureArtifacts`] reads what a
    /// record has beside it.
    ///
    /// [`FailureArtifacts`]: ktstr_harness::runner::FailureArtifacts
    pub fn failures(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| {
            let outcome = record.sidecar.verdict.outcome();
            matches!(outcome, Outcome::Fail | Outcome::Inconclusive)
        })
    }
}

/// Whether files can be written to `dir`, which need not exist yet. Leaves nothing behind: cargo marks a target directory
/// only if it makes that itself.
pub(crate) fn check(dir: &Path) -> io::Result<()> {
    let existing = dir.ancestors().find(|dir| dir.exists());
    record::check(existing.unwrap_or(Path::new("."))).map_err(|error| match error {
        RunDirError::Write { source, .. } => source,
        other => io::Error::other(other),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ktstr_core::Verdict;

    use super::*;

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
        assert_eq!(run.records.len(), 3);
        assert_eq!(run.unreadable.len(), 1);
        assert!(run.unreadable[0].contains("broken"), "{:?}", run.unreadable);
        let replay: Vec<_> = run
            .failures()
            .map(|record| record.sidecar.test.as_str())
            .collect();
        assert_eq!(replay, ["bad", "odd"]);
        assert_eq!(RunSummary::latest(&run.path).as_ref(), Some(run));
        assert_eq!(RunSummary::latest(dir.path()), None);
        let only = dir.path().join("a");
        assert_eq!(RunSummary::of_epoch(dir.path(), Some(&only), "1").len(), 1);
    }

    #[test]
    fn a_directory_is_tried_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        check(&dir.path().join("target/ktstr")).unwrap();
        check(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("file"), "").unwrap();
        for bad in [dir.path().join("file/ktstr"), "/proc/ktstr".into()] {
            assert!(check(&bad).is_err(), "{}", bad.display());
        }
    }
}
