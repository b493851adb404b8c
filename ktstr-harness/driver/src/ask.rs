//! Questions to test binaries, which know more of their cases than nextest lists.

use std::path::PathBuf;
use std::process::Command;

use ktstr_core::env;
use ktstr_harness::dispatch::{CaseMachine, CaseThresholds};
use ktstr_vmm::CancelToken;
use serde::de::DeserializeOwned;

use crate::nextest::Binary;
use crate::{Session, SessionObserver, process};

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// A program could not be run, or failed.
    #[error("{program}: {why}; run `cargo nextest list` to see more")]
    Failed {
        /// Which program.
        program: String,
        /// How it ended, or what the system said of it.
        why: String,
    },
    /// A test binary answered something else.
    #[error(
        "{}: its answer cannot be read ({source}); the project uses another version of ktstr-harness than this: use the same", binary.display()
    )]
    Answer {
        /// The test binary.
        binary: PathBuf,
        /// What is wrong with its answer.
        source: serde_json::Error,
    },
}

/// What a test binary tells of each case for one of its options.
pub(crate) trait Answer: DeserializeOwned {
    /// The option that asks for it.
    const QUESTION: &'static str;
}

impl Answer for CaseThresholds {
    const QUESTION: &'static str = "--thresholds";
}

impl Answer for CaseMachine {
    const QUESTION: &'static str = "--machines";
}

impl Session {
    /// What a test binary tells of the cases that `filters` select, words of libtest's command line. Without a session's
    /// kernels: names have no label.
    pub(crate) fn cases_of<A: Answer>(
        &self,
        binary: &Binary,
        filters: &[&str],
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<A>, AskError> {
        let mut command = process::command(&self.build_host(), &binary.path);
        command
            .current_dir(&binary.dir)
            .arg(A::QUESTION)
            .args(filters)
            .env_remove(env::KERNEL_LIST)
            .env_remove(env::SESSION);
        let answer = self.answer(&mut command, observer, cancel)?;
        let cases = serde_json::Deserializer::from_slice(&answer).into_iter();
        cases
            .collect::<Result<_, _>>()
            .map_err(|source| AskError::Answer {
                binary: binary.path.clone(),
                source,
            })
    }

    /// The standard output of `command`, where it ends well.
    pub(crate) fn answer(
        &self,
        command: &mut Command,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, AskError> {
        let failed = |command: &Command, why: String| AskError::Failed {
            program: process::name(command),
            why,
        };
        let captured = self
            .capture(command, observer, cancel)
            .map_err(|error| failed(command, error.to_string()))?;
        if !captured.status.success() {
            return Err(failed(command, captured.status.to_string()));
        }
        Ok(captured.stdout)
    }
}
