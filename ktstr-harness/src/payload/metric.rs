//! What is read from a program's output, and its bounds.

use ktstr_core::Better;

use super::pattern;

/// A number in a program's output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PayloadMetric {
    /// What it is called: `name` of the program `hackbench` is `hackbench.name` in records.
    pub name: &'static str,
    /// Its unit; empty where it has none.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// Where it is.
    pub source: MetricSource,
    /// Changes smaller than this many units do not count when runs are compared.
    pub absolute_gate: f64,
    /// Changes smaller than this share of the baseline, in percent, do not count.
    pub relative_gate_pct: f64,
}

/// Where a number is in a program's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricSource {
    /// Standard output is a JSON value: this path in it, as RFC 6901 writes paths.
    Json(&'static str),
    /// On the last line that begins with this key, behind white space, `:` or `=`.
    KeyValue(&'static str),
    /// On the last line that fits this pattern.
    Pattern(&'static str),
}

impl PayloadMetric {
    /// A number at a path of the JSON value that standard output is, such as `/jobs/0/read/iops`.
    pub const fn json(
        name: &'static str,
        unit: &'static str,
        better: Better,
        path: &'static str,
    ) -> Self {
        Self::new(name, unit, better, MetricSource::Json(path))
    }

    /// A number on a line of its own, behind a key: `operations 120`, `operations: 120` or `operations=120`. What follows
    /// the number is its unit. Of several lines the last one counts; standard output is looked at before standard error.
    pub const fn key_value(
        name: &'static str,
        unit: &'static str,
        better: Better,
        key: &'static str,
    ) -> Self {
        Self::new(name, unit, better, MetricSource::KeyValue(key))
    }

    /// A number on a line that contains a pattern: text, with `{}` where the number is. `{_}` stands for another number,
    /// `*` for any text, and white space for any white space. Of several lines the last one counts; standard output is looked
    /// at before standard error.
    ///
    /// ```
    /// use ktstr_core::Better;
    /// use ktstr_harness::payload::PayloadMetric;
    ///
    /// // stress-ng: metrc: [71] cpu  4242  3.00  5.99  0.01  1413.49
    /// const OPS: PayloadMetric =
    ///     PayloadMetric::pattern("ops", "ops/s", Better::Higher, "] cpu {_} {_} {_} {_} {}");
    /// ```
    pub const fn pattern(
        name: &'static str,
        unit: &'static str,
        better: Better,
        pattern: &'static str,
    ) -> Self {
        Self::new(name, unit, better, MetricSource::Pattern(pattern))
    }

    const fn new(
        name: &'static str,
        unit: &'static str,
        better: Better,
        source: MetricSource,
    ) -> Self {
        Self {
            name,
            unit,
            better,
            source,
            absolute_gate: 0.0,
            relative_gate_pct: 10.0,
        }
    }

    /// From which change on two runs differ: in units, and in percent of the baseline. Both must be reached; 0 and 10 %
    /// where nothing is said.
    #[must_use]
    pub const fn gates(mut self, absolute: f64, relative_pct: f64) -> Self {
        self.absolute_gate = absolute;
        self.relative_gate_pct = relative_pct;
        self
    }

    /// Panics where it makes no sense.
    pub(super) const fn check(&self) {
        let name = self.name.as_bytes();
        assert!(!name.is_empty(), "the name of a metric is empty");
        let mut at = 0;
        while at < name.len() {
            assert!(
                name[at].is_ascii_alphanumeric() || name[at] == b'_' || name[at] == b'-',
                "the name of a metric has other characters than letters, digits, `_` and `-`"
            );
            at += 1;
        }
        match self.source {
            MetricSource::Json(path) => assert!(
                path.is_empty() || path.as_bytes()[0] == b'/',
                "a path in JSON begins with `/`, such as `/jobs/0/read/iops`"
            ),
            MetricSource::KeyValue(key) => {
                assert!(!key.trim_ascii().is_empty(), "the key of a metric is empty");
            }
            MetricSource::Pattern(pattern) => assert!(
                pattern::numbers(pattern) == 1,
                "a pattern has `{{}}` once, where the number is, such as `Time: {{}}`"
            ),
        }
        let (absolute, relative) = (self.absolute_gate, self.relative_gate_pct);
        assert!(
            absolute >= 0.0 && absolute.is_finite() && relative >= 0.0 && relative.is_finite(),
            "a gate is negative or not finite"
        );
    }
}

/// A bound of a program's metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricCheck {
    /// Name of the metric.
    pub metric: &'static str,
    /// Whether the limit is the largest value that is fine, or the smallest.
    pub is_upper: bool,
    /// The limit.
    pub limit: f64,
}

impl MetricCheck {
    /// The value may be at most `max`.
    pub const fn at_most(metric: &'static str, max: f64) -> Self {
        Self {
            metric,
            is_upper: true,
            limit: max,
        }
    }

    /// The value must be at least `min`.
    pub const fn at_least(metric: &'static str, min: f64) -> Self {
        Self {
            metric,
            is_upper: false,
            limit: min,
        }
    }
}
