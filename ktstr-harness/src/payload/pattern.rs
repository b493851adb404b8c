//! Patterns for lines: text with `{}` where a number is.

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'p> {
    /// This text.
    Text(&'p str),
    /// White space, any amount but none.
    Space,
    /// A number; whether it is the one that is wanted.
    Number { wanted: bool },
    /// Any text, as little as possible.
    Anything,
}

/// How often `{}` is in a pattern.
pub(super) const fn numbers(pattern: &str) -> usize {
    let pattern = pattern.as_bytes();
    let (mut at, mut found) = (0, 0);
    while at + 1 < pattern.len() {
        if pattern[at] == b'{' && pattern[at + 1] == b'}' {
            found += 1;
        }
        at += 1;
    }
    found
}

/// The number that the pattern finds in a line; the first place that fits counts.
pub(super) fn find(pattern: &str, line: &str) -> Option<f64> {
    let parts = parts(pattern);
    let starts = line.char_indices().map(|(at, _)| at);
    // `Anything` multiplies the places that are tried: on lines of hostile programs as well there is an end to it.
    let mut steps = MAX_STEPS;
    for start in starts {
        if matches!(parts.first(), Some(Part::Number { .. })) && is_within_word(line, start) {
            continue;
        }
        if let Some(value) = fit(&parts, &line[start..], None, &mut steps) {
            return Some(value);
        }
    }
    None
}

/// Most steps that are taken on a line.
const MAX_STEPS: u32 = 1_000_000;

fn parts(pattern: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let (part, length) = if rest.starts_with("{}") {
            (Part::Number { wanted: true }, 2)
        } else if rest.starts_with("{_}") {
            (Part::Number { wanted: false }, 3)
        } else if rest.starts_with('*') {
            (Part::Anything, 1)
        } else if let Some(length) = space(rest) {
            (Part::Space, length)
        } else {
            let special = |(at, c): (usize, char)| {
                let begins = rest[at..].starts_with("{}") || rest[at..].starts_with("{_}");
                (c == '*' || c.is_whitespace() || begins).then_some(at)
            };
            let length = rest.char_indices().find_map(special);
            let length = length.unwrap_or(rest.len());
            (Part::Text(&rest[..length]), length)
        };
        parts.push(part);
        rest = &rest[length..];
    }
    parts
}

/// The number that is wanted, where the parts fit the beginning of `line`; `found` is one from before it.
fn fit(parts: &[Part<'_>], line: &str, found: Option<f64>, steps: &mut u32) -> Option<f64> {
    *steps = steps.checked_sub(1)?;
    let Some((first, rest)) = parts.split_first() else {
        return found;
    };
    match first {
        Part::Text(text) => fit(rest, line.strip_prefix(text)?, found, steps),
        Part::Space => fit(rest, &line[space(line)?..], found, steps),
        Part::Number { wanted } => {
            let (value, length) = number(line)?;
            let found = if *wanted { Some(value) } else { found };
            fit(rest, &line[length..], found, steps)
        }
        Part::Anything => {
            let is_number = matches!(rest.first(), Some(Part::Number { .. }));
            let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            let mut ends = ends.filter(|end| !is_number || !is_within_word(line, *end));
            ends.find_map(|end| fit(rest, &line[end..], found, steps))
        }
    }
}

/// Length of the white space at the beginning; none where there is none.
fn space(text: &str) -> Option<usize> {
    let length = text.len() - text.trim_start().len();
    (length > 0).then_some(length)
}

/// The number at the beginning of a text, and its length: as Rust reads `f64`, without `inf` and `nan`.
pub(super) fn number(text: &str) -> Option<(f64, usize)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(sign);
    let mut end = sign + whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if whole + fraction == 0 {
            return None;
        }
        if fraction > 0 {
            end += 1 + fraction;
        }
    } else if whole == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let value: f64 = text[..end].parse().ok()?;
    value.is_finite().then_some((value, end))
}

/// Whether what begins at `at` would be the rest of a word or of a longer number.
fn is_within_word(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    before.is_some_and(|c| c.is_alphanumeric() || "._".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_number_is_where_the_braces_are() {
        for (pattern, line, value) in [
            ("Time: {}", "Time: 0.052", Some(0.052)),
            ("Time: {}", "  Time:\t-1.5e3 s", Some(-1500.0)),
            ("Time: {}", "Time: soon", None),
            ("Time: {}", "Time:1", None),
            ("{} ops", "done: 120 ops in 3 s", Some(120.0)),
            ("in {} s", "done: 120 ops in 3 s", Some(3.0)),
            (
                "] cpu {_} {_} {}",
                "x: [71] cpu   12  3.00 5.99 0.01",
                Some(5.99),
            ),
            ("cpu * {} ops", "cpu is fast: 12 ops", Some(12.0)),
            ("a*{}", "a: 125", Some(125.0)),
            ("latency p99=*us", "", None),
            ("99.0th: {}", "\t* 99.0th: 17", Some(17.0)),
            ("x{}", "x.5 y", Some(0.5)),
            ("{}", "1e400 p95 v1.5", None),
            ("\u{b5}s {}", "12 \u{b5}s 7", Some(7.0)),
        ] {
            assert_eq!(find(pattern, line), value, "{pattern} in {line}");
        }
        assert_eq!(
            (numbers("{} {}"), numbers("{_}"), numbers("a {}")),
            (2, 0, 1)
        );
    }

    #[test]
    fn a_line_against_the_pattern_takes_bounded_time() {
        let line = "a".repeat(100_000);
        assert_eq!(find("a*a*a*a*a*b{}", &line), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_found(value in -1e12_f64..1e12, before in "[a-z:]{0,8}", after in "[ a-z]{0,8}") {
            let line = format!("{before} value {value}{after}");
            // A letter behind the number may make another one of it, `1e`.
            let found = find("value {}", &line).unwrap();
            prop_assert_eq!(found, value);
        }

        #[test]
        fn any_pattern_is_looked_for_in_any_line(pattern in ".{0,12}", line in ".{0,40}") {
            let _ = find(&pattern, &line);
        }
    }
}
