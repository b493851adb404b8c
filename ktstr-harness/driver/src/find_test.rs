//! Finding a test of a project by any of its names, and asking its binary about it.

use ktstr_core::{CaseName, env};
use ktstr_kernel::Remedy;
use ktstr_vmm::CancelToken;

use crate::ask::{Answer, AskError};
use crate::nextest::{Binary, Listing, ListingError};
use crate::{Session, SessionError, SessionEvent, SessionObserver};

/// A test that cannot be found, or not be asked about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindTestError {
    /// A program did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The session cannot run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Nextest printed a list that cannot be read.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// No test binary of the project has it.
    #[error(
        "no test is called `{0}`; give a name that `cargo nextest list --run-ignored all` shows, or that of a test function"
    )]
    Unknown(String),
    /// A cell of the verifier sweep is no test.
    #[error(
        "`{0}` is a cell of the verifier sweep, which has no thresholds and no test function: it passes when the scheduler is verified, attached and live; give the name of a test"
    )]
    Cell(String),
}

impl FindTestError {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Session(error) => error.remedy(),
            _ => None,
        }
    }
}

impl Session {
    /// What the test binaries that have `test` tell of its cases, each with its binary, in the order of nextest's names of
    /// binaries. Builds the tests first where need be.
    pub(crate) fn ask_about<A: Answer>(
        &self,
        test: &str,
        observer: &dyn SessionObserver,
        cancel: &CancelToken,
    ) -> Result<Vec<(Binary, A)>, FindTestError> {
        if test.split('/').next() == Some(CaseName::VERIFIER) {
            return Err(FindTestError::Cell(test.to_owned()));
        }
        let mut list = self.list_command(&self.epoch())?;
        // Without a session's kernels names have no label.
        list.env_remove(env::KERNEL_LIST)
            .args(["--run-ignored", "all"])
            .args(self.args());
        observer.event(SessionEvent::ListStarted);
        let listing = Listing::parse(&self.answer(&mut list, observer, cancel)?)?;
        let wanted = Wanted::of(test);
        let mut found = Vec::new();
        for binary in wanted.holders(listing) {
            let filters = ["--include-ignored", "--exact", &wanted.name];
            let cases: Vec<A> = self.cases_of(&binary, &filters, observer, cancel)?;
            found.extend(cases.into_iter().map(|case| (binary.clone(), case)));
        }
        if found.is_empty() {
            return Err(FindTestError::Unknown(test.to_owned()));
        }
        Ok(found)
    }
}

/// A test that was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// What its binary finds it by.
    name: String,
    /// The cases that it may be, as they are called without kernels.
    cases: Vec<String>,
}

impl Wanted {
    fn of(test: &str) -> Self {
        let name = match test.parse::<CaseName>() {
            // Without a session's kernels names have no label.
            Ok(case) => case.without_kernel().to_string(),
            Err(_) => test.to_owned(),
        };
        let cases = if name.contains('/') {
            vec![name.clone()]
        } else {
            let test = name.rsplit("::").next().unwrap_or(&name).to_owned();
            let base = CaseName::Base {
                test: test.clone(),
                kernel: None,
            };
            vec![base.to_string(), CaseName::Host { test }.to_string()]
        };
        Self { name, cases }
    }

    /// The test binaries that may have it: which module a function is in they know alone.
    fn holders(&self, listing: Listing) -> Vec<Binary> {
        let binaries = listing.binaries.into_values();
        binaries
            .filter(|binary| self.cases.iter().any(|name| binary.cases.contains(name)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn tests_go_by_every_name_that_is_shown() {
        let binary = |path: &str, cases: &[&str]| Binary {
            path: path.into(),
            cases: cases.iter().map(|case| (*case).to_owned()).collect(),
            ..Binary::default()
        };
        let a = binary("/t/a", &["ktstr/quick", "gauntlet/quick/4cpu-1llc-nosmt"]);
        let b = binary("/t/b", &["host/quick", "ktstr/other"]);
        let listing = Listing {
            binaries: [("p::a".to_owned(), a), ("p::b".to_owned(), b)].into(),
        };
        for (asked, name, expected) in [
            ("quick", "quick", vec!["/t/a", "/t/b"]),
            ("m::quick", "m::quick", vec!["/t/a", "/t/b"]),
            ("ktstr/quick", "ktstr/quick", vec!["/t/a"]),
            ("ktstr/quick/kernel_6_12_1", "ktstr/quick", vec!["/t/a"]),
            ("host/quick", "host/quick", vec!["/t/b"]),
            (
                "gauntlet/quick/4cpu-1llc-nosmt/kernel_6_12",
                "gauntlet/quick/4cpu-1llc-nosmt",
                vec!["/t/a"],
            ),
            ("gauntlet/quick/none", "gauntlet/quick/none", vec![]),
            ("ktstr/kernel_6_12", "ktstr/kernel_6_12", vec![]),
            ("uick", "uick", vec![]),
        ] {
            let wanted = Wanted::of(asked);
            assert_eq!(wanted.name, name);
            let expected: Vec<PathBuf> = expected.into_iter().map(PathBuf::from).collect();
            let holders = wanted.holders(listing.clone()).into_iter();
            let paths: Vec<PathBuf> = holders.map(|binary| binary.path).collect();
            assert_eq!(paths, expected, "{asked}");
        }
    }
}
