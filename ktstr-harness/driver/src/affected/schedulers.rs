//! Which schedulers the test binaries of a project declare and test: each binary is asked.

use std::path::PathBuf;

use ktstr_core::{CaseName, env};
use ktstr_harness::dispatch::SchedulerUse;
use ktstr_kernel::Remedy;
use ktstr_vmm::CancelToken;

use crate::nextest::Binary;
use crate::process::{self, Captured, Scope};
use crate::{Session, SessionError, SessionObserver};

/// A test binary of a project, and the schedulers that it knows; none, if its tests are not ktstr's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestBinary {
    /// Nextest's name for it, such as `mine::tests`: it starts with the package's.
    pub id: String,
    /// The schedulers that it declares or tests.
    pub schedulers: Vec<SchedulerUse>,
}

impl TestBinary {
    /// Name of its package.
    pub fn package(&self) -> &str {
        let parts = self.id.split_once("::");
        parts.map_or(self.id.as_str(), |(package, _)| package)
    }
}

/// The schedulers of a project cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AffectedError {
    /// The session cannot list the tests.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A test binary could not be asked.
    #[error("{}: {why}; run it with `--schedulers` to see more", binary.display())]
    Binary {
        /// The test binary.
        binary: PathBuf,
        /// How it ended, or what the system said of it.
        why: String,
    },
    /// A test binary answered something else.
    #[error(
        "{}: its schedulers cannot be read ({source}); the project uses another version of ktstr-harness than this: use the same", binary.display()
    )]
    Answer {
        /// The test binary.
        binary: PathBuf,
        /// What is wrong with its answer.
        source: serde_json::Error,
    },
}

impl AffectedError {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Session(error) => error.remedy(),
            _ => None,
        }
    }
}

/// Whether a binary has tests of ktstr's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    /// It has no test, and may declare schedulers all the same.
    Empty,
    Other,
}

impl Kind {
    fn of(binary: &Binary) -> Self {
        if binary.cases.is_empty() {
            return Self::Empty;
        }
        // Those of libtest are paths of functions.
        let is_ours = |case: &String| case.parse::<CaseName>().is_ok();
        if binary.cases.iter().any(is_ours) {
            Self::Ours
        } else {
            Self::Other
        }
    }
}

impl Session {
    /// The test binaries of the project and the schedulers that each declares or tests. Builds the tests where need be.
    pub fn test_binaries(
        &self,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<TestBinary>, AffectedError> {
        let listing = self.list(observer, cancel)?;
        let mut binaries = Vec::new();
        for (id, binary) in listing.binaries {
            let schedulers = match Kind::of(&binary) {
                Kind::Other => Vec::new(),
                kind => self.ask(&binary, kind, observer, cancel)?,
            };
            binaries.push(TestBinary { id, schedulers });
        }
        Ok(binaries)
    }

    fn ask(
        &self,
        binary: &Binary,
        kind: Kind,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<SchedulerUse>, AffectedError> {
        let mut ask = process::command(&self.build_host(), &binary.path);
        // What does not know the first word knows the second: no program is asked to run anything.
        ask.args(["--schedulers", "--list"])
            .env_remove(env::KERNEL_LIST)
            .env_remove(env::SESSION);
        let failed = |why: String| AffectedError::Binary {
            binary: binary.path.clone(),
            why,
        };
        let answer = if kind == Kind::Empty {
            // What libtest says of the option is no concern of the reader's.
            process::capture(&mut ask, Scope::Process, cancel, Some(&mut |_| {}))
        } else {
            self.capture(&mut ask, observer, cancel)
        };
        if cancel.is_cancelled() {
            return Err(SessionError::Cancelled.into());
        }
        let answer = match answer {
            Ok(Captured { status, stdout }) if status.success() => stdout,
            // One of libtest's has no such option.
            Ok(_) | Err(_) if kind == Kind::Empty => return Ok(Vec::new()),
            Ok(Captured { status, .. }) => return Err(failed(status.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        };
        let uses = serde_json::Deserializer::from_slice(&answer).into_iter();
        match uses.collect() {
            Err(_) if kind == Kind::Empty => Ok(Vec::new()),
            uses => uses.map_err(|source| AffectedError::Answer {
                binary: binary.path.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_known_by_their_tests() {
        let binary = |cases: &[&str]| Binary {
            path: "/t".into(),
            cases: cases.iter().map(|case| (*case).to_owned()).collect(),
            ..Binary::default()
        };
        assert_eq!(Kind::of(&binary(&["ktstr/a"])), Kind::Ours);
        assert_eq!(Kind::of(&binary(&["tests::a"])), Kind::Other);
        assert_eq!(Kind::of(&binary(&[])), Kind::Empty);
    }

    #[test]
    fn an_identifier_starts_with_the_package() {
        for (id, package) in [("mine", "mine"), ("mine::tests", "mine"), ("a::bin/b", "a")] {
            let binary = TestBinary {
                id: id.to_owned(),
                schedulers: Vec::new(),
            };
            assert_eq!(binary.package(), package);
        }
    }
}
