//! What a test of a project will be judged by.

use std::env::var_os;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    for (binary, name) in holders(&listed, &names) {
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

/// The test binaries of nextest's list that have a test of one of `names`, and which.
fn holders<'n>(listed: &str, names: &'n [String]) -> Vec<(PathBuf, &'n str)> {
    let listed: serde_json::Value = serde_json::from_str(listed).unwrap_or_default();
    let suites = listed
        .get("rust-suites")
        .and_then(serde_json::Value::as_object);
    let mut found = Vec::new();
    for suite in suites.into_iter().flat_map(serde_json::Map::values) {
        let path = suite.get("binary-path").and_then(serde_json::Value::as_str);
        let cases = suite
            .get("testcases")
            .and_then(serde_json::Value::as_object);
        if let (Some(path), Some(cases)) = (path, cases) {
            let here = names
                .iter()
                .filter(|name| cases.contains_key(name.as_str()));
            found.extend(here.map(|name| (PathBuf::from(path), name.as_str())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_found_in_nextests_list() {
        let listed = r#"{"rust-suites": {
            "a::x": {"binary-path": "/t/x", "testcases": {"ktstr/steady": {}, "ktstr/other": {}}},
            "a::y": {"binary-path": "/t/y", "testcases": {"unit": {}}}
        }}"#;
        let names = ["ktstr/steady".to_owned(), "host/steady".to_owned()];
        assert_eq!(
            holders(listed, &names),
            [(PathBuf::from("/t/x"), "ktstr/steady")]
        );
        assert_eq!(holders("not json", &names), []);
    }
}
