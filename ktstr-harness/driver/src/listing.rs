//! The tests of a project, as nextest lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

/// Test binaries by nextest's name for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The binaries.
    pub binaries: BTreeMap<String, Binary>,
}

/// A test binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The file.
    pub path: PathBuf,
    /// Names of its cases.
    pub cases: BTreeSet<String>,
    /// Those of them that the arguments of the list select.
    pub selected: BTreeSet<String>,
}

/// The part of `cargo nextest list --message-format json` that is read here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Json {
    rust_suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Suite {
    binary_path: PathBuf,
    #[serde(default)]
    testcases: BTreeMap<String, TestCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TestCase {
    #[serde(default)]
    filter_match: Option<FilterMatch>,
}

#[derive(Deserialize)]
struct FilterMatch {
    status: String,
}

impl TestCase {
    fn is_selected(&self) -> bool {
        self.filter_match
            .as_ref()
            .is_none_or(|it| it.status == "matches")
    }
}

/// What nextest printed is no list of tests.
#[derive(Debug, thiserror::Error)]
#[error(
    "`cargo nextest list`: its list cannot be read ({0}); install the nextest that this ktstr was made with or a later one: cargo install --locked cargo-nextest"
)]
pub struct ListingError(#[from] serde_json::Error);

impl Listing {
    /// Reads nextest's list.
    pub(super) fn parse(json: &[u8]) -> Result<Self, ListingError> {
        let Json { rust_suites } = serde_json::from_slice(json)?;
        let binary = |suite: Suite| {
            let tests = suite.testcases.iter();
            let selected = tests.filter(|(_, test)| test.is_selected());
            Binary {
                path: suite.binary_path,
                selected: selected.map(|(name, _)| name.clone()).collect(),
                cases: suite.testcases.into_keys().collect(),
            }
        };
        let suites = rust_suites.into_iter();
        Ok(Self {
            binaries: suites.map(|(id, suite)| (id, binary(suite))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_found_in_nextests_list() {
        let listed = br#"{"test-count": 3, "rust-suites": {
            "a::x": {"binary-path": "/t/x", "testcases": {
                "ktstr/steady": {"ignored": false, "filter-match": {"status": "matches"}},
                "ktstr/other": {"filter-match": {"status": "mismatch", "reason": "expression"}}}},
            "a::y": {"binary-path": "/t/y", "status": "skipped"}
        }}"#;
        let listing = Listing::parse(listed).unwrap();
        let x = &listing.binaries["a::x"];
        assert_eq!(x.path, PathBuf::from("/t/x"));
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
            r#"{"rust-suites": []}"#,
            r#"{"rust-suites": {"a": {}}}"#,
        ] {
            let error = Listing::parse(odd.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("cannot be read") && error.contains("cargo install"),
                "{error}"
            );
        }
    }
}
