//! Reports as people see them.

use ktstr_core::Better;
use ktstr_driver::perf_delta::{Direction, Gates, Missing, SkippedCase, Summary};

use super::*;

fn case(test: &str) -> PerfCase {
    PerfCase {
        package: Some("p".to_owned()),
        target: Some("t".to_owned()),
        test: test.to_owned(),
        variant: "base".to_owned(),
        kernel: Some("kernel_6_12".to_owned()),
    }
}

fn summary(mean: f64) -> Summary {
    Summary {
        runs: 5,
        mean,
        deviation: Some(1.0),
        min: mean,
        max: mean,
    }
}

fn comparison(
    test: &str,
    metric: &str,
    unit: &str,
    values: [f64; 2],
    verdict: Finding,
) -> Comparison {
    Comparison {
        case: case(test),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        better: Better::Lower,
        base: summary(values[0]),
        head: summary(values[1]),
        change: values[1] - values[0],
        change_pct: Some(100.0 * (values[1] - values[0]) / values[0]),
        direction: Direction::Worse,
        gates: Gates {
            absolute: 1.0,
            relative_pct: 10.0,
        },
        material: true,
        separation: Separation::Welch,
        p: Some(0.000_01),
        adjusted_p: Some(0.000_03),
        verdict,
    }
}

fn report() -> PerfDelta {
    let side = |label: &str, origin: Option<&str>| SideInfo {
        commit: format!("{label}0000000"),
        label: label.to_owned(),
        origin: origin.map(str::to_owned),
        cases: 1,
        runs: 5,
    };
    PerfDelta {
        schema: PerfDelta::SCHEMA,
        mode: Mode::NoiseAdjusted,
        base: side("abc1234", Some("merge base of HEAD and main")),
        head: side("def5678", None),
        alpha: 0.05,
        correction: Correction::default(),
        comparisons: vec![
            comparison(
                "steady",
                "max_gap_ms",
                "ms",
                [4.0, 800.0],
                Finding::Regression,
            ),
            comparison(
                "steady",
                "iterations_per_second",
                "/s",
                [1234.5, 600.0],
                Finding::Regression,
            ),
            comparison(
                "steady",
                "migrations",
                "",
                [10.0, 20.0],
                Finding::Unconfirmed,
            ),
            comparison("steady", "cpu_time_s", "s", [1.0, 1.0], Finding::Unchanged),
        ],
        missing: Vec::new(),
        incomparable: Vec::new(),
        failures: Vec::new(),
        skipped: Vec::new(),
        caveats: Vec::new(),
        regressions: 2,
        improvements: 0,
        unconfirmed: 1,
        fail_threshold: 5,
        must_fail: Vec::new(),
        must_fail_regressed: Vec::new(),
        failed: false,
        unreadable: Vec::new(),
        unused_policy: Vec::new(),
    }
}

#[test]
fn findings_are_tables_and_the_end_is_the_conclusion() {
    let expected = "\
x: def5678 (5 runs) compared with abc1234 (5 runs; merge base of HEAD and main)

worse
  steady
    metric                           base          head      change        p
    max_gap_ms                   4.000 ms      800.0 ms  +19900.0 %  <0.0001
    iterations_per_second          1234/s       600.0/s     -51.4 %  <0.0001

unconfirmed: ";
    let style = Style::new("x", Some(80), None);
    let text = text(&report(), &style);
    // The terminal is one column wider than this line has.
    let text = text.replace("HEAD and\n  main)", "HEAD and main)");
    assert!(text.starts_with(expected), "{text}");
    let end = "\n\n2 regressions (fails at 5), 1 unconfirmed, 4 metrics compared\n";
    assert!(text.ends_with(end), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn what_limits_a_conclusion_is_told() {
    let mut report = report();
    report.caveats = vec![
        Caveat::SharedCpus,
        Caveat::Emulated,
        Caveat::Untested { metrics: 3 },
        Caveat::SameCommit,
    ];
    report.missing = vec![Missing {
        case: case("gone"),
        metric: None,
        side: SideName::Head,
        why: Some("skipped: no\nroom".to_owned()),
    }];
    report.failed = true;
    report.must_fail_regressed = vec!["max_gap_ms".to_owned()];
    let text = text(&report, &Style::default());
    for words in [
        "gone: not at the head (skipped: no room)",
        "NOT IN PERFORMANCE MODE",
        "3 metrics with a single run",
        "same commit",
        "FAILED: 2 regressions",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn nothing_to_compare_names_what_to_do() {
    let mut report = report();
    report.comparisons.clear();
    assert!(conclusion(&report).starts_with("no conclusion"));
    (report.base.cases, report.head.cases) = (0, 0);
    report.mode = Mode::Cached;
    assert!(conclusion(&report).contains("or use --noise-adjust"));
    report.skipped = vec![SkippedCase {
        case: case("a"),
        side: SideName::Head,
        why: "no KVM".to_owned(),
    }];
    assert!(conclusion(&report).ends_with("without performance mode skips"));
}

#[test]
fn markdown_is_a_table_that_names_cannot_break() {
    let mut report = report();
    report.comparisons[0].case.test = "a|b`c".to_owned();
    let text = markdown(&report);
    assert!(
        text.contains(
            "| worse | a\\|b\\`c | max_gap_ms | 4.000 ms | 800.0 ms | +19900.0 % | <0.0001 |"
        ),
        "{text}"
    );
    assert!(
        text.contains("|---|---|---|---:|---:|---:|---:|\n"),
        "{text}"
    );
    assert!(text.contains("**2 regressions (fails at 5)"), "{text}");
}

#[test]
fn figures_have_four_digits() {
    for (value, unit, expected) in [
        (0.0, "ms", "0 ms"),
        (1234.56, "/s", "1235/s"),
        (12.3456, "", "12.35"),
        (0.001_234_56, "s", "0.001235 s"),
        (1.5e12, "ns", "1.500e12 ns"),
        (-3.0, "", "-3.000"),
        (1e-9, "", "1.000e-9"),
    ] {
        assert_eq!(figure(value, unit), expected);
    }
}
