//! The thresholds of tests as data: a test binary prints them as JSON for `--thresholds`.

use ktstr_core::record::Limit;
use serde::{Deserialize, Serialize};

use crate::Checks;
use crate::cases::Case;
use crate::check::Check;

/// The thresholds of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseThresholds {
    /// Name of the case, such as `ktstr/steady`.
    pub case: String,
    /// Name of its scheduler.
    pub scheduler: String,
    /// Its machine, such as `1n1l2c1t`; `None` for a test on the host.
    pub topology: Option<String>,
    /// Every check, in use or not.
    pub thresholds: Vec<Threshold>,
    /// The scheduler must be ejected with an error that has this in it.
    pub expected_bpf_error: Option<String>,
    /// The test must fail.
    pub expect_err: bool,
    /// An inconclusive end passes.
    pub allow_inconclusive: bool,
    /// There is a second run when the scheduler dies.
    pub auto_repro: bool,
    /// The test is declared with `performance_mode`; false in answers of earlier versions.
    #[serde(default)]
    pub performance_mode: bool,
}

/// A check and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Its name in `#[ktstr_test]`, such as `max_gap_ms`.
    pub name: String,
    /// Its value; `None` if the case does not use the check.
    pub limit: Option<Limit>,
    /// Unit of a number, such as `ms`; empty for a bare number or a switch.
    pub unit: String,
    /// The check that brings this limit along, where nobody gave one.
    pub implied_by: Option<String>,
}

/// The merged thresholds of `case`: library defaults, its scheduler's, its own.
pub(super) fn of(case: &Case) -> CaseThresholds {
    let test = case.test;
    CaseThresholds {
        case: case.name.to_string(),
        scheduler: test.scheduler.name.to_owned(),
        topology: case.topology().map(|topology| topology.to_string()),
        thresholds: table(&test.checks),
        expected_bpf_error: test.expect_scx_bpf_error_contains.map(str::to_owned),
        expect_err: test.expect_err,
        allow_inconclusive: test.allow_inconclusive,
        auto_repro: test.auto_repro,
        performance_mode: test.performance_mode,
    }
}

/// Every check with what it asks for.
fn table(checks: &Checks) -> Vec<Threshold> {
    let all = checks.with_implied();
    let row = |check: &Check| {
        let limit = check.asked_by(&all);
        let is_implied = limit.is_some() && check.asked_by(checks).is_none();
        Threshold {
            name: check.name.to_owned(),
            limit: limit.map(Limit::from),
            unit: check.unit.to_owned(),
            implied_by: is_implied.then(|| "not_stuck".to_owned()),
        }
    };
    Check::ALL.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::Location;
    use crate::{AssertResult, TestCase};

    static TEST: TestCase = TestCase {
        checks: Checks {
            not_stuck: Some(true),
            max_gap_ms: Some(500),
            ..Checks::NONE
        },
        expect_err: true,
        performance_mode: true,
        ..TestCase::new(
            "t",
            Location {
                file: "t.rs",
                line: 1,
            },
            |_| Ok(AssertResult::pass()),
        )
    };

    #[test]
    fn what_is_asked_for_is_told_and_what_it_brings_along() {
        let told = of(&Case::base(&TEST, None));
        let row = |name: &str| told.thresholds.iter().find(|row| row.name == name).unwrap();
        for (name, limit, unit, implied_by) in [
            ("not_stuck", Some(Limit::Switch(true)), "", None),
            ("isolation", None, "", None),
            ("max_gap_ms", Some(Limit::Number(500.0)), "ms", None),
            (
                "max_spread_pct",
                Some(Limit::Number(Checks::NOT_STUCK_SPREAD_PCT)),
                "%",
                Some("not_stuck"),
            ),
        ] {
            let row = row(name);
            assert_eq!((row.limit, row.unit.as_str()), (limit, unit), "{name}");
            assert_eq!(row.implied_by.as_deref(), implied_by, "{name}");
        }
        assert_eq!(
            (told.case.as_str(), told.scheduler.as_str()),
            ("ktstr/t", "eevdf")
        );
        assert_eq!(told.topology.as_deref(), Some("1n1l2c1t"));
        assert!(told.expect_err && !told.allow_inconclusive && told.performance_mode);
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<CaseThresholds>(&json).unwrap(), told);
    }
}
