//! What a test of a project will be judged by.

use std::env::var_os;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ktstr_core::{CaseName, env};

use super::listing::{Listing, ListingError};

/// A question that cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdsError {
    /// A program could not be run, or failed.
    #[error("{program}: {why}; run `cargo nextest list` to see more")]
    Failed {
        /// Which program.
        program: String,
        /// What it said, or what the system said of it.
        why: String,
    },
    /// Nextest lists tests in another way.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// No test binary of the project has it.
    #[error(
        "no test is called `{0}`; give a name that `cargo nextest list --run-ignored all` shows, or that of a test function"
    )]
    Unknown(String),
    /// A cell of the verifier sweep has none.
    #[error(
        "`{0}` is a cell of the verifier sweep, which has no thresholds: it passes when the scheduler is verified, attached and live"
    )]
    Cell(String),
}

/// The merged thresholds of every test called `test` in the project around `dir`, as text.
///
/// A test goes by its function, the path of that (`module::function`), or a case's name: `ktstr/…`, `host/…`,
/// `gauntlet/…`, also with the label of a kernel behind it.
///
/// Builds the tests first where need be, in release mode if `release` says so: default thresholds are stricter
/// there. `nextest_args` choose among packages, such as `-p mine`.
pub fn thresholds(
    dir: &Path,
    test: &str,
    release: bool,
    nextest_args: &[OsString],
) -> Result<String, ThresholdsError> {
    let wanted = Wanted::of(test);
    if test.split('/').next() == Some(CaseName::VERIFIER) {
        return Err(ThresholdsError::Cell(test.to_owned()));
    }
    let cargo = var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut list = Command::new(&cargo);
    list.args([
        "nextest",
        "list",
        "--message-format",
        "json",
        "--run-ignored",
        "all",
    ]);
    list.env_remove(env::KERNEL_LIST).env_remove(env::SESSION);
    if release {
        list.arg("--release");
    }
    list.args(nextest_args).current_dir(dir);
    let listed = output(&mut list)?;
    let mut text = String::new();
    for binary in wanted.holders(Listing::parse(listed.as_bytes())?) {
        let mut ask = Command::new(&binary);
        ask.args(["--thresholds", "--include-ignored", "--exact", &wanted.name]);
        // Without a session's kernels names have no label.
        ask.env_remove(env::KERNEL_LIST);
        text.push_str(&output(&mut ask)?);
    }
    if text.is_empty() {
        return Err(ThresholdsError::Unknown(test.to_owned()));
    }
    Ok(text)
}

fn output(command: &mut Command) -> Result<String, ThresholdsError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| ThresholdsError::Failed {
        program: program.clone(),
        why,
    };
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
    fn holders(&self, listing: Listing) -> Vec<PathBuf> {
        let binaries = listing.binaries.into_values();
        binaries
            .filter(|binary| self.cases.iter().any(|name| binary.cases.contains(name)))
            .map(|binary| binary.path)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Binary;

    #[test]
    fn tests_go_by_every_name_that_is_shown() {
        let binary = |path: &str, cases: &[&str]| Binary {
            selected: std::collections::BTreeSet::new(),
            path: path.into(),
            cases: cases.iter().map(|case| (*case).to_owned()).collect(),
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
            assert_eq!(wanted.holders(listing.clone()), expected, "{asked}");
        }
    }
}
