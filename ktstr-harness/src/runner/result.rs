//! What is left of a run.

use std::path::{Path, PathBuf};

use ktstr_core::Verdict;
use ktstr_core::host::files::{BoundedReadError, read_bounded};
use ktstr_core::record::{Record, Sidecar};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Serialize};

use super::repro::AutoRepro;
use crate::protocol::SchedulerReport;
use crate::scx_exit::ScxExit;

/// A case that ended.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The record.
    pub sidecar: Sidecar,
    /// Logs, for a case that did not pass.
    pub artifacts: FailureArtifacts,
    /// Whether it was cancelled: its verdict then says nothing of what it is about.
    pub cancelled: bool,
}

/// The logs beside a record. [`RunDir`](ktstr_core::record::RunDir) keeps them for cases that did not pass, as the
/// file that ends in [`Sidecar::FAILURE_DUMP_SUFFIX`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureArtifacts {
    /// Version of this layout, [`FailureArtifacts::SCHEMA`]; files of earlier versions do not name it.
    pub schema: u32,
    /// The guest's kernel log: its own, or what the console showed of it.
    pub kernel_log: String,
    /// The whole console, as far as it was kept.
    pub console: String,
    /// What the scheduler's program said.
    pub scheduler_log: String,
    /// The kernel's dump of an ejected scheduler.
    pub sched_ext_dump: String,
    /// Why the kernel ejected it.
    pub scx_exit: Option<ScxExit>,
    /// The second run of a test whose scheduler died.
    pub auto_repro: Option<AutoRepro>,
}

impl Default for FailureArtifacts {
    fn default() -> Self {
        Self {
            schema: Self::SCHEMA,
            kernel_log: String::new(),
            console: String::new(),
            scheduler_log: String::new(),
            sched_ext_dump: String::new(),
            scx_exit: None,
            auto_repro: None,
        }
    }
}

/// The part of the file that every layout has.
#[derive(Deserialize)]
struct Layout {
    #[serde(default = "first")]
    schema: u64,
}

/// The layout of files that do not name it.
const fn first() -> u64 {
    1
}

/// Artifacts that could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactsError {
    /// The file could not be read, is no regular file, or is larger than any artifacts.
    #[error("failure artifacts {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: BoundedReadError,
    },
    /// Another version of ktstr wrote it.
    #[error(
        "failure artifacts {}: written in layout {found}, this ktstr reads {}; run the test again",
        path.display(),
        FailureArtifacts::SCHEMA
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version of its layout.
        found: u64,
    },
    /// The file holds something else.
    #[error(
        "failure artifacts {}: not what this ktstr writes ({source}); run the test again",
        path.display()
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
}

impl FailureArtifacts {
    /// The artifacts of the failure that `record` tells of; `None` where it has none.
    ///
    /// ```no_run
    /// use ktstr_core::record::RunDir;
    /// use ktstr_harness::runner::FailureArtifacts;
    ///
    /// for record in RunDir::new("target/ktstr/6.12.9-abc1234", "").records()? {
    ///     if let Some(artifacts) = FailureArtifacts::of(&record?)? {
    ///         println!("{}", artifacts.kernel_log);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(record: &Record) -> Result<Option<Self>, ArtifactsError> {
        record.failure_dump.as_deref().map(Self::read).transpose()
    }

    /// The layout that this version writes and reads.
    pub const SCHEMA: u32 = 1;

    /// No file of artifacts has more bytes: each log in it is kept up to a limit.
    pub const SIZE_LIMIT: u64 = 128 << 20;

    /// Reads the artifacts beside a record: `{stem}.failure-dump.json` of a run directory. Symbolic links are not followed,
    /// and nothing is waited for.
    pub fn read(path: &Path) -> Result<Self, ArtifactsError> {
        let json = read_bounded(path, Self::SIZE_LIMIT).map_err(|source| ArtifactsError::Read {
            path: path.to_owned(),
            source,
        })?;
        parse(path, &json)
    }

    /// Takes a machine's console; it stands for the kernel's log until the guest's own is there.
    pub(super) fn take_console(&mut self, console: &str) {
        console.clone_into(&mut self.kernel_log);
        console.clone_into(&mut self.console);
    }

    /// Takes what a guest reported.
    pub(super) fn take_report(
        &mut self,
        kernel_log: String,
        scheduler: Option<SchedulerReport>,
        scx_exit: Option<ScxExit>,
    ) {
        if !kernel_log.is_empty() {
            self.kernel_log = kernel_log;
        }
        if let Some(scheduler) = scheduler {
            self.scheduler_log = scheduler.log;
            self.sched_ext_dump = scheduler.dump;
        }
        self.scx_exit = scx_exit;
    }
}

fn parse(path: &Path, json: &[u8]) -> Result<FailureArtifacts, ArtifactsError> {
    let path = || path.to_owned();
    // Serde takes an array for a struct.
    if json.trim_ascii_start().first() == Some(&b'[') {
        let source = serde_json::Error::invalid_type(Unexpected::Seq, &"an object");
        return Err(ArtifactsError::Parse {
            path: path(),
            source,
        });
    }
    // Another layout may not fit the struct.
    match serde_json::from_slice(json) {
        Ok(Layout { schema }) if schema != u64::from(FailureArtifacts::SCHEMA) => {
            return Err(ArtifactsError::Schema {
                path: path(),
                found: schema,
            });
        }
        _ => {}
    }
    serde_json::from_slice(json).map_err(|source| ArtifactsError::Parse {
        path: path(),
        source,
    })
}

/// Why a machine did not run, or not to an end of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Something that it needs is missing or broken. The verdict is that of the case: a skip where this host cannot
    /// give what is asked for, a failure otherwise.
    #[error("{}", in_words(.0))]
    Refused(Verdict),
    /// It was cancelled, before its machine started or before its guest reported.
    #[error("the run was cancelled")]
    Cancelled,
}

impl From<Verdict> for RunError {
    fn from(verdict: Verdict) -> Self {
        Self::Refused(verdict)
    }
}

/// The verdict of a run that was cancelled. What a test is declared to come to is no matter of it.
pub(super) fn cancelled() -> Verdict {
    Verdict::inconclusive("cancelled", "the run was cancelled before it ended")
}

fn in_words(verdict: &Verdict) -> String {
    let details: Vec<String> = verdict.decisive().map(ToString::to_string).collect();
    details.join("; ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use ktstr_core::record::RunDir;

    use super::*;
    use crate::scx_exit::ScxExitKind;

    #[test]
    fn what_a_case_left_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path(), "1");
        let left = FailureArtifacts {
            kernel_log: "a\nb".to_owned(),
            sched_ext_dump: "dump".to_owned(),
            scx_exit: Some(ScxExit {
                kind: ScxExitKind::ErrorStall,
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
            ..FailureArtifacts::default()
        };
        let failed = Sidecar::new("bad", "ktstr/bad", Verdict::fail("x", "y"));
        run.write(&failed, Some(&left)).unwrap();
        let passed = Sidecar::new("good", "ktstr/good", Verdict::pass());
        run.write(&passed, None::<&()>).unwrap();
        let records: Vec<Record> = run.records().unwrap().into_iter().flatten().collect();
        let read: Vec<_> = records
            .iter()
            .map(|record| FailureArtifacts::of(record).unwrap())
            .collect();
        assert_eq!(read, [Some(left), None]);

        let dump = records[0].failure_dump.as_ref().unwrap();
        fs::write(dump, "[1]").unwrap();
        let error = FailureArtifacts::of(&records[0]).unwrap_err().to_string();
        assert!(error.contains("not what this ktstr writes"), "{error}");
    }
    #[test]
    fn evidence_of_other_versions_and_of_anybody_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.failure-dump.json");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            FailureArtifacts::read(&path)
        };
        // As earlier versions wrote it, and as later ones may.
        let old = read(r#"{ "kernel_log": "a" }"#).unwrap();
        assert_eq!((old.schema, old.kernel_log.as_str()), (1, "a"));
        assert_eq!(read(r#"{ "schema": 1, "later": [] }"#).unwrap().schema, 1);
        for later in [r#"{ "schema": 2 }"#, r#"{ "schema": 2, "kernel_log": [] }"#] {
            let error = read(later).unwrap_err();
            assert!(
                matches!(error, ArtifactsError::Schema { found: 2, .. }),
                "{error}"
            );
        }
        for other in ["", "{", r#"{ "schema": "x" }"#, r#"{ "kernel_log": 1 }"#] {
            let error = read(other).unwrap_err();
            assert!(matches!(error, ArtifactsError::Parse { .. }), "{error}");
        }
        let huge = fs::File::create(&path).unwrap();
        huge.set_len(FailureArtifacts::SIZE_LIMIT + 1).unwrap();
        let error = FailureArtifacts::read(&path).unwrap_err().to_string();
        assert!(error.contains("134217729 bytes"), "{error}");
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        for other in [link.as_path(), dir.path()] {
            let error = FailureArtifacts::read(other).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
        }
    }
}
