//! What a test is judged by, for a person to read.

use std::fmt::Write;

use crate::Checks;
use crate::cases::Case;

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
fn lines(checks: &Checks) -> [(&'static str, String); 16] {
    let stuck = checks.not_stuck == Some(true);
    let switch = |on: Option<bool>| match on {
        Some(true) => "on".to_owned(),
        Some(false) => "off".to_owned(),
        None => "-".to_owned(),
    };
    // What `not_stuck` brings along.
    let with_default = |own: Option<String>, default: String| match own {
        Some(own) => own,
        None if stuck => format!("{default} (by not_stuck)"),
        None => "-".to_owned(),
    };
    let limit = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let number = |value: Option<f64>| limit(value.map(|value| value.to_string()));
    [
        ("not_stuck", switch(checks.not_stuck)),
        ("isolation", switch(checks.isolation)),
        (
            "max_gap_ms",
            with_default(
                checks.max_gap_ms.map(|ms| format!("{ms} ms")),
                format!("{} ms", Checks::NOT_STUCK_GAP_MS),
            ),
        ),
        (
            "max_spread_pct",
            with_default(
                checks.max_spread_pct.map(|pct| format!("{pct} %")),
                format!("{} %", Checks::NOT_STUCK_SPREAD_PCT),
            ),
        ),
        (
            "min_iteration_rate",
            limit(checks.min_iteration_rate.map(|rate| format!("{rate} /s"))),
        ),
        (
            "max_p99_wake_latency_ns",
            limit(checks.max_p99_wake_latency_ns.map(|ns| format!("{ns} ns"))),
        ),
        ("max_wake_latency_cv", number(checks.max_wake_latency_cv)),
        ("max_throughput_cv", number(checks.max_throughput_cv)),
        (
            "min_work_rate",
            limit(checks.min_work_rate.map(|rate| format!("{rate} units/s"))),
        ),
        (
            "max_migration_ratio",
            limit(
                checks
                    .max_migration_ratio
                    .map(|ratio| format!("{ratio} per iteration")),
            ),
        ),
        (
            "max_cross_node_migration_ratio",
            number(checks.max_cross_node_migration_ratio),
        ),
        ("min_page_locality", number(checks.min_page_locality)),
        ("max_imbalance_ratio", number(checks.max_imbalance_ratio)),
        (
            "max_local_dsq_depth",
            limit(
                checks
                    .max_local_dsq_depth
                    .map(|tasks| format!("{tasks} tasks")),
            ),
        ),
        (
            "max_fallback_rate",
            limit(checks.max_fallback_rate.map(|rate| format!("{rate} /s"))),
        ),
        (
            "max_keep_last_rate",
            limit(checks.max_keep_last_rate.map(|rate| format!("{rate} /s"))),
        ),
    ]
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
