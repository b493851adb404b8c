//! Reads metrics from what a program printed.

use ktstr_core::text;

use super::error::MetricError;
use super::metric::{MetricSource, PayloadMetric};
use super::pattern;

/// What a program printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Bytes of both together.
    pub(super) bytes: u64,
    /// Whether there was more than is kept.
    pub(super) is_cut: bool,
}

/// Characters of a line that an error quotes.
const QUOTED: usize = 200;

impl Output {
    /// The value of a metric.
    pub(super) fn read(&self, metric: &PayloadMetric) -> Result<f64, MetricError> {
        match metric.source {
            MetricSource::Json(path) => self.json(path),
            MetricSource::KeyValue(key) => self.key_value(key),
            MetricSource::Pattern(pattern) => self
                .lines_from_the_end()
                .find_map(|line| pattern::find(pattern, line))
                .ok_or_else(|| MetricError::NoLine {
                    pattern: pattern.to_owned(),
                    begins: self.begins(),
                }),
        }
    }

    fn json(&self, path: &str) -> Result<f64, MetricError> {
        let value: serde_json::Value =
            serde_json::from_str(&self.stdout).map_err(|source| MetricError::NotJson {
                path: path.to_owned(),
                source,
                cut: if self.is_cut {
                    "; there is more than is kept"
                } else {
                    ""
                },
                begins: self.begins(),
            })?;
        let found = value.pointer(path).ok_or_else(|| MetricError::NoPath {
            path: path.to_owned(),
            there: nearest(&value, path),
        })?;
        let number = match found {
            serde_json::Value::Number(number) => number.as_f64(),
            // Some programs put their numbers in quotes.
            serde_json::Value::String(text) => whole_number(text),
            _ => None,
        };
        number.ok_or_else(|| MetricError::NotANumber {
            place: format!("`{path}` in JSON"),
            found: quoted(&found.to_string()),
        })
    }

    fn key_value(&self, key: &str) -> Result<f64, MetricError> {
        let value = self.lines_from_the_end().find_map(|line| {
            let rest = line.trim_start().strip_prefix(key)?;
            let value = rest.trim_start_matches(|c: char| c.is_whitespace() || ":=".contains(c));
            // Of `operations_all 3` the key is another one.
            (value.len() < rest.len()).then_some(value)
        });
        let Some(value) = value else {
            return Err(MetricError::NoKey {
                key: key.to_owned(),
                begins: self.begins(),
            });
        };
        let number = pattern::number(value).map(|(number, _)| number);
        number.ok_or_else(|| MetricError::NotANumber {
            place: format!("the value of `{key}`"),
            found: quoted(value),
        })
    }

    /// Lines of standard output, then of standard error, each the last ones first.
    fn lines_from_the_end(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines().rev().chain(self.stderr.lines().rev())
    }

    /// Its first line that says something, in words that end an error.
    fn begins(&self) -> String {
        let mut lines = self.stdout.lines().chain(self.stderr.lines());
        match lines.find(|line| !line.trim().is_empty()) {
            Some(line) => format!("its output begins with `{}`", quoted(line)),
            None => "it printed nothing".to_owned(),
        }
    }

    /// Its last line that says something, in words that end an error: what went wrong is mostly there.
    pub(super) fn ends(&self) -> String {
        let said = |text: &str| {
            let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
            Some(format!("it said last: {}", quoted(line)))
        };
        said(&self.stderr)
            .or_else(|| said(&self.stdout))
            .unwrap_or_else(|| "it printed nothing".to_owned())
    }
}

fn quoted(line: &str) -> String {
    text::cut(&text::line(&text::plain(line.trim())), QUOTED)
}

fn whole_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, length) = pattern::number(text)?;
    (length == text.len()).then_some(number)
}

/// What is at the last part of `path` that leads somewhere, in words.
fn nearest(value: &serde_json::Value, path: &str) -> String {
    /// Keys that are named.
    const NAMED: usize = 8;
    let mut known = path;
    while let Some((outer, _)) = known.rsplit_once('/') {
        known = outer;
        let Some(found) = value.pointer(outer) else {
            continue;
        };
        let place = match outer {
            "" => "at the top".to_owned(),
            outer => format!("at `{outer}`"),
        };
        return match found {
            serde_json::Value::Object(map) => {
                let more = if map.len() > NAMED { ", \u{2026}" } else { "" };
                let keys: Vec<String> = map.keys().take(NAMED).map(|key| quoted(key)).collect();
                format!("{place} there are {}{more}", keys.join(", "))
            }
            serde_json::Value::Array(array) => {
                format!("{place} there are {} elements", array.len())
            }
            other => format!("{place} there is {}", quoted(&other.to_string())),
        };
    }
    "the value has no parts".to_owned()
}

#[cfg(test)]
mod tests {
    use ktstr_core::Better;
    use proptest::prelude::*;

    use super::*;

    fn output(stdout: &str, stderr: &str) -> Output {
        Output {
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            ..Output::default()
        }
    }

    fn read(metric: PayloadMetric, stdout: &str, stderr: &str) -> Result<f64, String> {
        let read = output(stdout, stderr).read(&metric);
        read.map_err(|error| error.to_string())
    }

    const fn json(path: &'static str) -> PayloadMetric {
        PayloadMetric::json("x", "", Better::Higher, path)
    }

    const fn key(key: &'static str) -> PayloadMetric {
        PayloadMetric::key_value("x", "", Better::Higher, key)
    }

    const fn pattern(pattern: &'static str) -> PayloadMetric {
        PayloadMetric::pattern("x", "", Better::Higher, pattern)
    }

    #[test]
    fn numbers_are_where_they_are_said_to_be() {
        let document = r#"{"jobs": [{"read": {"iops": 12.5, "name": "7", "list": []}}]}"#;
        assert_eq!(read(json("/jobs/0/read/iops"), document, ""), Ok(12.5));
        assert_eq!(read(json("/jobs/0/read/name"), document, ""), Ok(7.0));
        assert_eq!(read(json(""), "3\n", ""), Ok(3.0));
        for line in ["ops 120", "  ops: 120 per second", "ops=120", "ops = 120"] {
            let text = format!("ops_all 5\nops 1\n{line}\nend");
            assert_eq!(read(key("ops"), &text, "ops 9"), Ok(120.0), "{line}");
        }
        assert_eq!(read(key("ops"), "", "ops 9"), Ok(9.0));
        let lines = "Time: 1\nTime: 2\n";
        assert_eq!(read(pattern("Time: {}"), lines, "Time: 3"), Ok(2.0));
        assert_eq!(read(pattern("Time: {}"), "x", "Time: 3"), Ok(3.0));
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let document = r#"{"jobs": [{"read": {"iops": true}}], "b": 1}"#;
        for (metric, text, told) in [
            (
                json("/jobs/0/write/iops"),
                document,
                "there is no `/jobs/0/write/iops` in its JSON; at `/jobs/0` there are read",
            ),
            (json("/jobs/1"), document, "at `/jobs` there are 1 elements"),
            (json("/x"), document, "at the top there are b, jobs"),
            (json("/b/c"), document, "at `/b` there is 1"),
            (
                json("/jobs/0/read/iops"),
                document,
                "`/jobs/0/read/iops` in JSON is `true`, not a number",
            ),
            (
                json("/x"),
                "\n<html>\x1b[1m\n",
                "its output begins with `<html>",
            ),
            (json("/x"), "", "it printed nothing"),
            (
                key("ops"),
                "opsx 1\nmore",
                "no line begins with `ops` and a value; its output begins with `opsx 1`",
            ),
            (
                key("ops"),
                "ops: many",
                "the value of `ops` is `many`, not a number",
            ),
            (
                pattern("Time: {}"),
                "garbage",
                "no line fits `Time: {}`; its output begins with `garbage`",
            ),
        ] {
            let error = read(metric, text, "").unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains(['\n', '\x1b']), "{error}");
        }
    }

    proptest! {
        #[test]
        fn anything_printed_is_read(stdout in ".{0,80}", stderr in ".{0,80}") {
            for metric in [json("/a/0/b"), key("a"), pattern("a * {}")] {
                if let Err(error) = read(metric, &stdout, &stderr) {
                    prop_assert!(error.lines().count() == 1, "{error}");
                }
            }
            prop_assert!(output(&stdout, &stderr).ends().lines().count() == 1);
        }
    }
}
