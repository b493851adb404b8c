//! The tests of a project, as nextest lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nextest_metadata::{RustTestSuiteSummary, TestListSummary};

/// The test binaries of a project, by nextest's identifier for them, such as `mine::tests`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// By binary identifier.
    pub binaries: BTreeMap<String, Binary>,
}

/// A test binary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binary {
    /// The executable.
    pub path: PathBuf,
    /// The directory that nextest runs it in.
    pub dir: PathBuf,
    /// Names of all its cases.
    pub cases: BTreeSet<String>,
    /// Names of the cases that the arguments of `cargo nextest list` select.
    pub selected: BTreeSet<String>,
}

/// What nextest printed is not a list of tests that can be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "`cargo nextest list`: its list cannot be read ({0}); install a nextest that this ktstr knows: cargo install --locked cargo-nextest@0.9.143"
)]
pub struct ListingError(#[from] serde_json::Error);

impl Listing {
    /// Reads what `cargo nextest list --message-format json` printed.
    pub fn parse(json: &[u8]) -> Result<Self, ListingError> {
        let list: TestListSummary = serde_json::from_slice(json)?;
        let suites = list.rust_suites.into_iter();
        Ok(Self {
            binaries: suites
                .map(|(id, suite)| (id.to_string(), Binary::from(suite)))
                .collect(),
        })
    }
}

impl From<RustTestSuiteSummary> for Binary {
    fn from(suite: RustTestSuiteSummary) -> Self {
        let tests = || suite.test_cases.iter();
        let selected = tests().filter(|(_, test)| test.filter_match.is_match());
        Self {
            selected: selected.map(|(name, _)| name.to_string()).collect(),
            cases: tests().map(|(name, _)| name.to_string()).collect(),
            path: suite.binary.binary_path.into(),
            dir: suite.cwd.into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What nextest prints of `binaries`, each with its test cases as JSON.
    pub(crate) fn list(binaries: &[(&str, &str)]) -> String {
        let suite = |(id, cases): &(&str, &str)| {
            format!(
                r#""{id}": {{"package-name": "p", "binary-id": "{id}", "binary-name": "b", "package-id": "p 0.1.0",
                "kind": "test", "binary-path": "/t/{id}", "build-platform": "target", "cwd": "/p", "status": "listed",
                "testcases": {cases}}}"#
            )
        };
        let suites: Vec<String> = binaries.iter().map(suite).collect();
        format!(
            r#"{{"rust-build-meta": {{"target-directory": "/t", "base-output-directories": [], "non-test-binaries": {{}},
            "linked-paths": []}}, "test-count": 0, "rust-suites": {{{}}}}}"#,
            suites.join(", ")
        )
    }

    #[test]
    fn binaries_are_found_in_nextests_list() {
        let listed = list(&[
            (
                "a::x",
                r#"{"ktstr/steady": {"kind": "test", "ignored": false, "filter-match": {"status": "matches"}},
                "ktstr/other": {"kind": null, "ignored": true,
                    "filter-match": {"status": "mismatch", "reason": "expression"}}}"#,
            ),
            ("a::y", "{}"),
        ]);
        let listing = Listing::parse(listed.as_bytes()).unwrap();
        let x = &listing.binaries["a::x"];
        assert_eq!(x.path, PathBuf::from("/t/a::x"));
        assert_eq!(x.dir, PathBuf::from("/p"));
        assert_eq!(
            x.cases.iter().collect::<Vec<_>>(),
            ["ktstr/other", "ktstr/steady"]
        );
        assert_eq!(x.selected.iter().collect::<Vec<_>>(), ["ktstr/steady"]);
        assert!(listing.binaries["a::y"].cases.is_empty());
    }

    #[test]
    fn what_is_no_list_is_not_an_empty_one() {
        for odd in [
            "",
            "not json",
            "{}",
            r#"{"rust-suites": {}}"#,
            &list(&[("a", "[]")]),
        ] {
            let error = Listing::parse(odd.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("cannot be read") && error.contains("cargo install"),
                "{error}"
            );
        }
    }
}
