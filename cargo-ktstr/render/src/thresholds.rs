//! What tests are judged by.

use std::fmt::Write;

use ktstr_core::record::Limit;
use ktstr_driver::{CaseThresholds, Threshold};

use crate::table::{Column, Table};

/// The thresholds of each of `cases`, and what else decides how it ends.
pub fn text(cases: &[CaseThresholds]) -> String {
    cases.iter().map(case).collect()
}

fn case(case: &CaseThresholds) -> String {
    let mut text = format!("{} [sched={}]", case.case, case.scheduler);
    if let Some(topology) = &case.topology {
        let _ = write!(text, " [topo={topology}]");
    }
    text.push('\n');
    let rows = &case.thresholds;
    let names = Column::left("", rows.iter().map(|row| &row.name));
    let limits = [Column::left("", rows.iter().map(limit))];
    text.push_str(&Table::new(&names, &limits).untitled().text(usize::MAX));
    if let Some(expected) = &case.expected_bpf_error {
        let _ = writeln!(text, "  the scheduler must be ejected with `{expected}`");
    }
    for (given, line) in [
        (case.expect_err, "the test must fail"),
        (case.allow_inconclusive, "an inconclusive end passes"),
        (!case.auto_repro, "no second run when the scheduler dies"),
    ] {
        if given {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// `500 ms`, `on`, `35 % (by not_stuck)`; `-` where nothing is asked for.
fn limit(row: &Threshold) -> String {
    let limit = match row.limit {
        None => return "-".to_owned(),
        Some(Limit::Switch(true)) => "on".to_owned(),
        Some(Limit::Switch(false)) => "off".to_owned(),
        Some(Limit::Number(number)) if row.unit.is_empty() => number.to_string(),
        Some(Limit::Number(number)) => format!("{number} {}", row.unit),
    };
    match &row.implied_by {
        Some(check) => format!("{limit} (by {check})"),
        None => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_with_their_units_and_where_they_come_from() {
        let row = |limit, unit: &str, implied_by: Option<&str>| Threshold {
            name: "x".to_owned(),
            limit,
            unit: unit.to_owned(),
            implied_by: implied_by.map(str::to_owned),
        };
        for (limit, unit, implied_by, expected) in [
            (None, "ms", None, "-"),
            (Some(Limit::Switch(true)), "", None, "on"),
            (Some(Limit::Number(500.0)), "ms", None, "500 ms"),
            (Some(Limit::Number(0.5)), "", None, "0.5"),
            (
                Some(Limit::Number(35.0)),
                "%",
                Some("not_stuck"),
                "35 % (by not_stuck)",
            ),
        ] {
            assert_eq!(super::limit(&row(limit, unit, implied_by)), expected);
        }
        let case = CaseThresholds {
            case: "ktstr/t".to_owned(),
            scheduler: "eevdf".to_owned(),
            topology: Some("1n1l2c1t".to_owned()),
            thresholds: vec![row(Some(Limit::Number(500.0)), "ms", None)],
            expected_bpf_error: None,
            expect_err: true,
            allow_inconclusive: false,
            auto_repro: true,
            performance_mode: false,
        };
        assert_eq!(
            text(&[case]),
            "ktstr/t [sched=eevdf] [topo=1n1l2c1t]\n  x  500 ms\n  the test must fail\n"
        );
    }
}
