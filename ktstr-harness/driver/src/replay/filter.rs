//! Nextest's filter expressions for exactly these cases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The nextest filter expression that selects exactly the case called `name`.
///
/// ```
/// assert_eq!(ktstr_driver::replay_filter("ktstr/a"), "test(=ktstr/a)");
/// ```
pub fn replay_filter(name: &str) -> String {
    format!("test(={})", literal(name))
}

/// The expression for the case called `name` of a test binary.
pub(super) fn of_case(binary: Option<&str>, name: &str) -> String {
    expression([(binary, name)]).unwrap_or_default()
}

/// The expression for all of `cases`, each a test binary's identifier and the case's name; `None` where there are none.
///
/// A binary without an identifier is any that has a case of that name.
pub(super) fn expression<'c>(
    cases: impl IntoIterator<Item = (Option<&'c str>, &'c str)>,
) -> Option<String> {
    let mut by_binary: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
    for (binary, name) in cases {
        by_binary.entry(binary).or_default().insert(name);
    }
    let groups: Vec<String> = by_binary
        .iter()
        .map(|(binary, names)| group(*binary, names))
        .collect();
    match groups.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("({})", several.join(") | ("))),
    }
}

fn group(binary: Option<&str>, names: &BTreeSet<&str>) -> String {
    let tests: Vec<String> = names.iter().map(|name| replay_filter(name)).collect();
    let tests = tests.join(" | ");
    match binary {
        None => tests,
        Some(binary) if names.len() == 1 => format!("binary_id(={}) & {tests}", literal(binary)),
        Some(binary) => format!("binary_id(={}) & ({tests})", literal(binary)),
    }
}

/// `name` as nextest reads it, and so that a shell reads it the same between quotes of either kind.
fn literal(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '\\' | ')' | ',' => text.extend(['\\', c]),
            c if c.is_alphanumeric() || "_-./:=+@%(".contains(c) => text.push(c),
            c => {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_of_a_binary_share_its_name() {
        let of = |cases: &[(&'static str, &'static str)]| {
            let cases = cases.iter();
            expression(
                cases.map(|(binary, name)| (Some(*binary).filter(|it| !it.is_empty()), *name)),
            )
        };
        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[("p::t", "ktstr/a")]).unwrap(),
            "binary_id(=p::t) & test(=ktstr/a)"
        );
        assert_eq!(
            of(&[("p::t", "b"), ("p::t", "a"), ("p::t", "b")]).unwrap(),
            "binary_id(=p::t) & (test(=a) | test(=b))"
        );
        assert_eq!(
            of(&[("p::t", "a"), ("", "a"), ("q", "c")]).unwrap(),
            "(test(=a)) | (binary_id(=p::t) & test(=a)) | (binary_id(=q) & test(=c))"
        );
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(
            replay_filter("a,(b)\\ c'\u{e4}\n$"),
            "test(=a\\,(b\\)\\\\\\u{20}c\\u{27}\u{e4}\\u{a}\\u{24})"
        );
    }
}
