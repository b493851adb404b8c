//! What a test of a project will be judged by.

use std::env::var_os;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    #[error("no test is called `{0}`; `cargo nextest list` shows the names")]
    Unknown(String),
}

/// The merged thresholds of every test function called `test` in the project around `dir`, as text.
///
/// Builds the tests first where need be, in release mode if `release` says so: default thresholds are stricter
/// there. `nextest_args` choose among packages, such as `-p mine`.
pub fn thresholds(
    dir: &Path,
    test: &str,
    release: bool,
    nextest_args: &[OsString],
) -> Result<String, ThresholdsError> {
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
    if release {
        list.arg("--release");
    }
    list.args(nextest_args).current_dir(dir);
    let listed = output(&mut list)?;
    let names = ["ktstr", "host"].map(|kind| format!("{kind}/{test}"));
    let mut text = String::new();
    for (binary, name) in holders(Listing::parse(listed.as_bytes())?, &names) {
        let mut ask = Command::new(&binary);
        ask.args(["--thresholds", "--include-ignored", "--exact", name]);
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

/// The test binaries that have a test of one of `names`, and which.
fn holders(listing: Listing, names: &[String]) -> Vec<(PathBuf, &str)> {
    let mut found = Vec::new();
    for binary in listing.binaries.into_values() {
        let here = names.iter().filter(|name| binary.cases.contains(*name));
        found.extend(here.map(|name| (binary.path.clone(), name.as_str())));
    }
    found
}
