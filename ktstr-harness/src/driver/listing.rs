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
    testcases: serde_json::Map<String, serde_json::Value>,
}

impl Listing {
    /// Reads nextest's list; what is none holds no test.
    pub(super) fn parse(json: &[u8]) -> Self {
        let suites = serde_json::from_slice::<Json>(json).map(|json| json.rust_suites);
        let binary = |suite: Suite| Binary {
            path: suite.binary_path,
            cases: suite.testcases.into_iter().map(|(name, _)| name).collect(),
        };
        let suites = suites.unwrap_or_default().into_iter();
        Self {
            binaries: suites.map(|(id, suite)| (id, binary(suite))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_found_in_nextests_list() {
        let listed = br#"{"test-count": 3, "rust-suites": {
            "a::x": {"binary-path": "/t/x", "testcases": {"ktstr/steady": {"ignored": false}, "ktstr/other": {}}},
            "a::y": {"binary-path": "/t/y", "status": "skipped"}
        }}"#;
        let listing = Listing::parse(listed);
        let x = &listing.binaries["a::x"];
        assert_eq!(x.path, PathBuf::from("/t/x"));
        assert_eq!(
            x.cases.iter().collect::<Vec<_>>(),
            ["ktstr/other", "ktstr/steady"]
        );
        assert!(listing.binaries["a::y"].cases.is_empty());
        assert_eq!(Listing::parse(b"not json"), Listing::default());
    }
}
