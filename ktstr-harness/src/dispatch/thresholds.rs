//! What a test is judged by, for a person to read.

use std::fmt::Write;

use crate::Checks;
use crate::cases::Case;
use crate::check::CheckValue;

/// The merged thresholds of `case`: library defaults, its scheduler's, its own.
pub(super) fn of(case: &Case) -> String {
    let test = case.test;
    let mut text = format!("{} [sched={}]", case.name, test.scheduler.name);
    if let Some(topology) = case.topology() {
        let _ = write!(text, " [topo={topology}]");
    }
    text.push('\n');
    for (name, value) in lines(&test.checks) {
        let _ = writeln!(text, "  {name:<30} {value}");
    }
    if let Some(expected) = test.expect_scx_bpf_error_contains {
        let _ = writeln!(text, "  the scheduler must be ejected with `{expected}`");
    }
    for (given, line) in [
        (test.expect_err, "the test must fail"),
        (test.allow_inconclusive, "an inconclusive ending passes"),
        (!test.auto_repro, "no second run when the scheduler dies"),
    ] {
        if given {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Every check with what it asks for; `-` where it is not asked for.
fn lines(checks: &Checks) -> impl Iterator<Item = (&'static str, String)> {
    let stuck = checks.not_stuck == Some(true);
    // What `not_stuck` brings along.
    let default = move |name: &str| match name {
        "max_gap_ms" if stuck => Some(CheckValue::Count(Checks::NOT_STUCK_GAP_MS)),
        "max_spread_pct" if stuck => Some(CheckValue::Number(Checks::NOT_STUCK_SPREAD_PCT)),
        _ => None,
    };
    checks.each().map(move |check| {
        let with_unit = |value: CheckValue| match check.unit {
            "" => value.to_string(),
            unit => format!("{value} {unit}"),
        };
        let text = match (check.value, default(check.name)) {
            (Some(value), _) => with_unit(value),
            (None, Some(value)) => format!("{} (by not_stuck)", with_unit(value)),
            (None, None) => "-".to_owned(),
        };
        (check.name, text)
    })
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
        let text = of(&Case::base(&TEST, None));
        let spread = format!("{} % (by not_stuck)", Checks::NOT_STUCK_SPREAD_PCT);
        for (name, value) in [
            ("not_stuck", "on"),
            ("isolation", "-"),
            ("max_gap_ms", "500 ms"),
            ("max_spread_pct", &spread),
        ] {
            let line = format!("  {name:<30} {value}\n");
            assert!(text.contains(&line), "no {line:?} in {text}");
        }
        assert!(
            text.starts_with("ktstr/t [sched=eevdf] [topo=1n1l2c1t]\n"),
            "{text}"
        );
        assert!(text.ends_with("  the test must fail\n"), "{text}");
    }
}
