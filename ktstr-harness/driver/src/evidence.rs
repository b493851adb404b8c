//! What a failed case left as evidence, read back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::record::Record;
use serde::{Deserialize, Serialize};

/// The evidence of a failure, as the file beside its record has it. What a case had none of is empty.
///
/// ```no_run
/// use ktstr_core::record::RunDir;
/// use ktstr_driver::FailureEvidence;
///
/// for record in RunDir::new("target/ktstr/6.12.9-abc1234", "").records()? {
///     if let Some(evidence) = FailureEvidence::of(&record?)? {
///         println!("{}", evidence.kernel_log);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureEvidence {
    /// The guest's kernel log: its own, or what the console showed of it.
    pub kernel_log: String,
    /// The whole console, as far as it was kept.
    pub console: String,
    /// What the scheduler's program said.
    pub scheduler_log: String,
    /// The kernel's dump of an ejected scheduler.
    pub sched_ext_dump: String,
    /// Why the kernel ejected it.
    pub scx_exit: Option<SchedulerExit>,
    /// The second run of a test whose scheduler died.
    pub auto_repro: Option<SecondRun>,
}

/// The end of a scheduler, in the kernel's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerExit {
    /// Name of the exit kind, such as `SCX_EXIT_ERROR_STALL`.
    pub kind: String,
    /// The reason that the kernel prints for that kind.
    pub reason: String,
    /// What exactly was wrong; empty where the kernel does not say.
    pub message: String,
    /// Functions on the stack where it was noticed, innermost first.
    pub backtrace: Vec<String>,
}

/// The second run of a test whose scheduler died, which traces what the scheduler was doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondRun {
    /// `reproduced`, `not reproduced: …` or `could not run: …`.
    pub outcome: String,
    /// The calls that matter, for a person to read.
    pub text: String,
    /// The same with all calls about the task.
    pub whole: String,
    /// The console of a second run that gave no report.
    pub console: String,
}

/// Evidence that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The file could not be read.
    #[error("{path}: {source}; run the test again")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path}: not the evidence of a failure ({source}); run the test again")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where the text stops making sense.
        source: serde_json::Error,
    },
}

impl FailureEvidence {
    /// The evidence of the failure that `record` tells of; `None` where it has none.
    pub fn of(record: &Record) -> Result<Option<Self>, EvidenceError> {
        record.failure_dump.as_deref().map(Self::read).transpose()
    }

    /// Reads the file at `path`: `{stem}.failure-dump.json` of a run directory.
    pub fn read(path: &Path) -> Result<Self, EvidenceError> {
        let path = || path.to_owned();
        let json = fs::read(path()).map_err(|source| EvidenceError::Read {
            path: path(),
            source,
        })?;
        serde_json::from_slice(&json).map_err(|source| EvidenceError::Parse {
            path: path(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;
    use ktstr_core::record::{RunDir, Sidecar};
    use ktstr_harness::host::{AutoRepro, Evidence, scx_exit::ScxExit};

    use super::*;

    #[test]
    fn what_a_test_left_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path(), "1");
        let left = Evidence {
            kernel_log: "a\nb".to_owned(),
            sched_ext_dump: "dump".to_owned(),
            scx_exit: Some(ScxExit {
                kind: "SCX_EXIT_ERROR_STALL",
                reason: "runnable task stall".to_owned(),
                message: "x[1]".to_owned(),
                backtrace: vec!["f".to_owned()],
            }),
            auto_repro: Some(AutoRepro {
                outcome: "reproduced".to_owned(),
                text: "calls".to_owned(),
                whole: "all calls".to_owned(),
                console: String::new(),
            }),
            ..Evidence::default()
        };
        let failed = Sidecar::new("bad", "ktstr/bad", Verdict::fail("x", "y"));
        run.write(&failed, Some(&left)).unwrap();
        let passed = Sidecar::new("good", "ktstr/good", Verdict::pass());
        run.write(&passed, None::<&()>).unwrap();
        let records: Vec<Record> = run.records().unwrap().into_iter().flatten().collect();
        let read: Vec<_> = records
            .iter()
            .map(|record| FailureEvidence::of(record).unwrap())
            .collect();
        let [Some(evidence), None] = read.as_slice() else {
            panic!("{read:?}")
        };
        // Nothing of it is lost on the way.
        assert_eq!(
            serde_json::to_value(evidence).unwrap(),
            serde_json::to_value(&left).unwrap()
        );
        let exit = evidence.scx_exit.as_ref().unwrap();
        assert_eq!(exit.kind, "SCX_EXIT_ERROR_STALL");

        let dump = records[0].failure_dump.as_ref().unwrap();
        fs::write(dump, "[1]").unwrap();
        let error = FailureEvidence::of(&records[0]).unwrap_err().to_string();
        assert!(error.contains("not the evidence of a failure"), "{error}");
    }
}
