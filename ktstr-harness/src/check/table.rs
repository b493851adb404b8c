//! The checks, from the one table of them in `ktstr-harness-macros`.

use std::collections::BTreeMap;
use std::fmt;

use ktstr_core::record::Limit;
use ktstr_core::{Better, Metric};
use serde::{Deserialize, Serialize};

/// A check: a row of the table of checks.
///
/// ```
/// use ktstr_harness::check::{Check, CheckValue, Checks};
///
/// let checks = Checks { max_gap_ms: Some(500), ..Checks::NONE };
/// let gap = Check::ALL.iter().find(|check| check.name == "max_gap_ms").unwrap();
/// assert_eq!(gap.asked_by(&checks), Some(CheckValue::Count(500)));
/// assert_eq!(gap.unit, "ms");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// A key of `#[ktstr_test]` and a field of [`Checks`]; the details of a verdict name the check by it.
    pub name: &'static str,
    /// What it asks for, in a sentence or two.
    pub doc: &'static str,
    /// Unit of its limit; empty where it has none.
    pub unit: &'static str,
    /// The metric that holds what it judges, where the records of a run have one.
    pub metric: Option<Metric<'static>>,
    value: fn(&Checks) -> Option<CheckValue>,
}

impl Check {
    /// The check called `name`; another name does not compile.
    pub(super) const fn named(name: &str) -> Self {
        let mut at = 0;
        while at < Self::ALL.len() {
            if same(Self::ALL[at].name, name) {
                return Self::ALL[at];
            }
            at += 1;
        }
        panic!("the table of checks has no such row")
    }

    /// What `checks` ask of it; `None` where they do not ask for it.
    pub fn asked_by(&self, checks: &Checks) -> Option<CheckValue> {
        (self.value)(checks)
    }
}

/// `a == b`, which is not const yet.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// What a check asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CheckValue {
    /// That it is on or off.
    Switch(bool),
    /// A limit that is a whole number.
    Count(u64),
    /// Any other limit.
    Number(f64),
}

impl CheckValue {
    /// The limit as a number; that of a switch is 0 or 1.
    pub fn limit(self) -> f64 {
        match self {
            Self::Switch(on) => f64::from(on),
            Self::Count(count) => count as f64,
            Self::Number(number) => number,
        }
    }
}

impl From<CheckValue> for Limit {
    fn from(value: CheckValue) -> Self {
        match value {
            CheckValue::Switch(on) => Self::Switch(on),
            CheckValue::Count(count) => Self::Number(count as f64),
            CheckValue::Number(number) => Self::Number(number),
        }
    }
}

impl From<bool> for CheckValue {
    fn from(value: bool) -> Self {
        Self::Switch(value)
    }
}

impl From<u64> for CheckValue {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<f64> for CheckValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl fmt::Display for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(true) => f.write_str("on"),
            Self::Switch(false) => f.write_str("off"),
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// The metric of a row.
macro_rules! metric {
    ($unit:literal) => {
        None
    };
    ($unit:literal $name:ident $better:ident $absolute_gate:literal $relative_gate_pct:literal) => {
        Some(Metric {
            name: stringify!($name),
            unit: $unit,
            better: Better::$better,
            absolute_gate: $absolute_gate,
            relative_gate_pct: $relative_gate_pct,
        })
    };
}

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $name:ident {
        takes: $type:ty,
        unit: $unit:literal,
        sampled: $sampled:literal,
        $(metric: $metric:ident {
            better: $better:ident,
            absolute_gate: $absolute:literal,
            relative_gate_pct: $relative:literal $(,)?
        },)?
    })*) => {
        /// The checks of a test; what is `None` is not asked for.
        ///
        /// Layers are merged with [`Checks::or`]: library defaults, the scheduler's, the test's own; the
        /// last that is set wins.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
        pub struct Checks {
            $($(#[doc = $doc])+ pub $name: Option<$type>,)*
        }

        impl Checks {
            /// Nothing is asked for.
            pub const NONE: Self = Self { $($name: None,)* };

            /// These checks, and those of `base` where these ask for nothing.
            #[must_use]
            pub const fn or(self, base: Self) -> Self {
                // `Option::or` is not const yet.
                Self {
                    $($name: match self.$name {
                        Some(_) => self.$name,
                        None => base.$name,
                    },)*
                }
            }
        }

        impl Check {
            /// Every check, in the order of the fields of [`Checks`].
            pub const ALL: &'static [Self] = &[$(Self {
                name: stringify!($name),
                doc: concat!($($doc),+).trim_ascii(),
                unit: $unit,
                metric: metric!($unit $($metric $better $absolute $relative)?),
                value: |checks| checks.$name.map(CheckValue::from),
            },)*];
        }
    };
}

ktstr_harness_macros::check_table!(checks);

impl Checks {
    /// The checks that are asked for, with the implied ones, by name: as records have them.
    pub(crate) fn limits(&self) -> BTreeMap<String, Limit> {
        let all = self.with_implied();
        let asked = Check::ALL.iter().filter_map(|check| {
            let value = check.asked_by(&all)?;
            Some((check.name.to_owned(), value.into()))
        });
        asked.collect()
    }

    /// Longest gap that `not_stuck` allows where `max_gap_ms` is not set: 2000 ms, in unoptimised
    /// builds 3000 ms.
    pub const NOT_STUCK_GAP_MS: u64 = if cfg!(debug_assertions) { 3000 } else { 2000 };

    /// Largest spread that `not_stuck` allows where `max_spread_pct` is not set: 15 percentage
    /// points, in unoptimised builds 35.
    pub const NOT_STUCK_SPREAD_PCT: f64 = if cfg!(debug_assertions) { 35.0 } else { 15.0 };

    /// These checks, and the limits that `not_stuck` brings along where they set none.
    #[must_use]
    pub const fn with_implied(self) -> Self {
        if let Some(true) = self.not_stuck {
            return self.or(Self {
                max_gap_ms: Some(Self::NOT_STUCK_GAP_MS),
                max_spread_pct: Some(Self::NOT_STUCK_SPREAD_PCT),
                ..Self::NONE
            });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;
    use serde_json::json;

    use super::*;
    use crate::check::run::tests::cgroup;
    use crate::check::{all_metrics, judge, judge_sampled, judge_traced};
    use crate::workload::WorkerReport;

    /// The check alone: switched on, or with a limit of 0.
    fn alone(check: &Check) -> Checks {
        let asking = |value| serde_json::from_value(json!({ check.name: value }));
        asking(json!(true)).or_else(|_| asking(json!(0))).unwrap()
    }

    #[test]
    fn every_check_is_judged() {
        // Of these two workers no time is known.
        let timeless = cgroup("a", [WorkerReport::default(), WorkerReport::default()]);
        for check in Check::ALL {
            let checks = alone(check);
            let verdicts = [
                judge(&checks, &[]),
                judge(&checks, std::slice::from_ref(&timeless)),
                judge_sampled(&checks, None),
                judge_traced(&checks, None),
            ];
            let mut found = verdicts.iter().flat_map(Verdict::decisive);
            let is_named = found.any(|detail| detail.check == check.name);
            assert!(is_named, "{}: {verdicts:?}", check.name);
        }
    }

    #[test]
    fn every_row_is_one_field() {
        for check in Check::ALL {
            let checks = alone(check);
            for other in Check::ALL {
                let asked = other.asked_by(&checks);
                assert_eq!(asked.is_some(), other.name == check.name, "{asked:?}");
            }
            assert!(check.doc.ends_with('.') && !check.doc.contains("  "));
        }
    }

    #[test]
    fn what_is_judged_as_a_metric_is_recorded() {
        for metric in Check::ALL.iter().filter_map(|check| check.metric) {
            assert!(all_metrics().any(|other| other == metric), "{metric:?}");
        }
    }

    #[test]
    fn not_stuck_brings_limits_along() {
        let own = Checks {
            not_stuck: Some(true),
            max_gap_ms: Some(7),
            ..Checks::NONE
        };
        let all = own.with_implied();
        assert_eq!(all.max_gap_ms, Some(7));
        assert_eq!(all.max_spread_pct, Some(Checks::NOT_STUCK_SPREAD_PCT));
        let off = Checks {
            not_stuck: Some(false),
            ..Checks::NONE
        };
        assert_eq!(off.with_implied(), off);
    }
}
