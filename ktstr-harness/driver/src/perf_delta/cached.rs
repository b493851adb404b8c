//! Compares what earlier runs recorded.

use std::io::ErrorKind;
use std::path::Path;

use ktstr_core::record::Sidecar;

use super::compare::{Named, compare};
use super::error::PerfDeltaError;
use super::gates::Rules;
use super::report::{Mode, PerfDelta};
use super::samples::{Found, Machines, Side};
use super::{Commits, short};
use crate::Session;

impl Session {
    /// Compares what runs of the project recorded, by `rules`: the records in `dir`, an archived copy of `target/ktstr` or one
    /// run directory, or where the session's records are. See [`cached`].
    ///
    /// Records of machines that shared the host's CPUs are compared only where the session runs without performance mode.
    pub fn compare_records(
        &self,
        dir: Option<&Path>,
        commits: &Commits,
        narrow: Option<&str>,
        rules: &Rules,
    ) -> Result<PerfDelta, PerfDeltaError> {
        let dir = match dir {
            Some(dir) if !dir.is_dir() => {
                let dir = dir.to_owned();
                return Err(PerfDeltaError::NoDirectory { dir });
            }
            Some(dir) => dir.to_owned(),
            None => self.records_dir(),
        };
        cached(&dir, commits, Machines::of(self), narrow, rules)
    }
}

/// Compares the records that runs of both commits left below `dir`, which holds run directories or is one; by `rules`.
///
/// With changes in the work tree, the head is what was recorded with such changes, if there is anything. Only cases whose
/// names contain `narrow` are compared. A directory that is not there has no records.
///
/// Each side has one record of a case, but for stress runs (`--stress-count`), each iteration of which is a run: without
/// them only the size of a change decides, see [`Separation::Untested`](super::Separation::Untested).
pub fn cached(
    dir: &Path,
    commits: &Commits,
    machines: Machines,
    narrow: Option<&str>,
    rules: &Rules,
) -> Result<PerfDelta, PerfDeltaError> {
    let mut found = match Found::read(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => Found::default(),
        Err(source) => {
            return Err(PerfDeltaError::Records {
                dir: dir.to_owned(),
                source,
            });
        }
    };
    if let Some(narrow) = narrow {
        found.records.retain(|record| record.case.contains(narrow));
    }
    let side = |commit: &str, dirty: bool| {
        let records = found.records.iter();
        Side::of(records.filter(|it| is_of(it, commit, dirty)), machines)
    };
    let base = Named {
        commit: commits.base.clone(),
        label: short(&commits.base),
        origin: commits.origin.clone(),
        side: side(&commits.base, false),
    };
    let mut head = Named {
        commit: commits.head.clone(),
        label: short(&commits.head),
        origin: None,
        side: side(&commits.head, false),
    };
    if commits.dirty {
        let changed = side(&commits.head, true);
        if !changed.is_empty() {
            head.label.push_str("-dirty");
            head.side = changed;
        }
    }
    let mut report = compare(&base, &head, Mode::Cached, rules);
    report.unreadable = found.unreadable;
    Ok(report)
}

/// Whether `record` is of `commit`, with or without changes in the work tree.
fn is_of(record: &Sidecar, commit: &str, dirty: bool) -> bool {
    let Some(told) = record.project_commit.as_deref() else {
        return false;
    };
    let (hash, changed) = match told.strip_suffix("-dirty") {
        Some(hash) => (hash, true),
        None => (told, false),
    };
    changed == dirty && hash.len() >= 7 && commit.starts_with(hash)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ktstr_core::Verdict;
    use ktstr_core::record::RunDir;

    use super::super::{Caveat, Finding};
    use super::*;

    const BASE: &str = "aaaaaaa111111111111111111111111111111111";
    const HEAD: &str = "bbbbbbb222222222222222222222222222222222";

    fn commits(dirty: bool) -> Commits {
        Commits {
            base: BASE.to_owned(),
            head: HEAD.to_owned(),
            origin: None,
            dirty,
        }
    }

    /// Writes the record of a run with a gap of that many milliseconds.
    fn write(dir: &Path, commit: &str, gap: f64) {
        let record = Sidecar {
            performance_mode: Some(true),
            project_commit: Some(commit.to_owned()),
            metrics: BTreeMap::from([("max_gap_ms".to_owned(), gap)]),
            ..Sidecar::new("steady", "ktstr/steady", Verdict::pass())
        };
        let run = RunDir::new(dir.join(format!("6.12-{commit}")), "1");
        run.write(&record, None::<&()>).unwrap();
    }

    #[test]
    fn records_are_told_apart_by_their_commits() {
        let dir = tempfile::tempdir().unwrap();
        let compared = |dirty, narrow: Option<&str>| {
            let rules = Rules::default();
            cached(
                dir.path(),
                &commits(dirty),
                Machines::Exclusive,
                narrow,
                &rules,
            )
            .unwrap()
        };
        assert!(compared(false, None).has_nothing());
        write(dir.path(), "ccccccc", 1.0);
        write(dir.path(), "aaaaaaa-dirty", 1.0);
        assert!(compared(false, None).has_nothing());
        write(dir.path(), "aaaaaaa", 10.0);
        let report = compared(false, None);
        assert!(!report.has_nothing() && report.comparisons.is_empty());
        assert_eq!(report.missing.len(), 1);
        write(dir.path(), "bbbbbbb", 500.0);
        let report = compared(false, None);
        assert_eq!(report.comparisons[0].verdict, Finding::Regression);
        assert_eq!(report.caveats, [Caveat::Untested { metrics: 1 }]);
        assert_eq!(
            (report.base.label.as_str(), report.head.label.as_str()),
            ("aaaaaaa", "bbbbbbb")
        );
        // A work tree with changes has records of its own, or those of its commit.
        assert_eq!(compared(true, None).head.label, "bbbbbbb");
        write(dir.path(), "bbbbbbb-dirty", 10.0);
        let report = compared(true, None);
        assert_eq!(
            (report.head.label.as_str(), report.regressions),
            ("bbbbbbb-dirty", 0)
        );
        assert_eq!(compared(false, None).regressions, 1);
        assert!(compared(false, Some("other")).has_nothing());
        assert_eq!(compared(false, Some("stead")).regressions, 1);
    }

    #[test]
    fn a_directory_that_is_none_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let read = |dir: &Path| {
            cached(
                dir,
                &commits(false),
                Machines::Exclusive,
                None,
                &Rules::default(),
            )
        };
        assert!(read(&dir.path().join("none")).unwrap().has_nothing());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: ", file.display())),
            "{error}"
        );
    }
}
