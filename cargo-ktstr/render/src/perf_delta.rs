//! What got worse between two commits: for a terminal, and as Markdown.

use std::fmt::Write;

use ktstr_core::text::line;
use ktstr_driver::perf_delta::{
    Caveat, Comparison, Correction, Finding, Mode, NoiseEvent, PerfCase, PerfDelta, Separation,
    SideInfo, SideName,
};

use crate::Style;
use crate::table::{Column, Table};
use crate::text::{counted, wrap};

/// How many lines of a kind are shown that are no findings.
const MOST: usize = 10;

/// The report for a terminal: the findings in tables, what is missing, what limits the conclusion, and the conclusion.
pub fn text(report: &PerfDelta, style: &Style) -> String {
    let mut text = String::new();
    let title = format!("{}: {}", style.program, sides(report));
    let title = wrap(&title, style.width.saturating_sub(2), "\n  ");
    let _ = writeln!(text, "{title}");
    for (title, finding) in [
        ("worse", Finding::Regression),
        ("better", Finding::Improvement),
        (
            "unconfirmed: among so many metrics this may be chance, more runs would tell",
            Finding::Unconfirmed,
        ),
    ] {
        let found = report.comparisons.iter();
        let found: Vec<&Comparison> = found.filter(|it| it.verdict == finding).collect();
        if !found.is_empty() {
            let _ = writeln!(text, "\n{title}");
            push_tables(&mut text, report, &found, style);
        }
    }
    push_lines(&mut text, "not on both sides", &missing(report), style);
    push_lines(&mut text, "not compared", &incomparable(report), style);
    push_lines(&mut text, "runs that failed", &failures(report), style);
    push_lines(&mut text, "skipped", &skipped(report), style);
    push_lines(&mut text, "mind", &caveats(report), style);
    let _ = writeln!(text, "\n{}", wrap(&conclusion(report), style.width, "\n"));
    text
}

/// What happened in a comparison by runs, in one line; `None` for what needs no line, and for events of a session, which
/// [`Reporter`](crate::progress::Reporter) shows.
pub fn happened(event: &NoiseEvent<'_>) -> Option<String> {
    let name = |side: &SideName| match side {
        SideName::Base => "base",
        SideName::Head => "head",
    };
    Some(match event {
        NoiseEvent::NothingAffected => {
            "the changes since the baseline affect no test: nothing is compared".to_owned()
        }
        NoiseEvent::Resumed { done, runs } => format!("going on after {done} of {runs} runs"),
        NoiseEvent::Preparing { side, commit } => {
            format!("building the tests of the {}, {commit}", name(side))
        }
        NoiseEvent::Selected { side, cases } => {
            format!("{cases} cases of performance tests at the {}", name(side))
        }
        NoiseEvent::RunStarted { side, number, runs } => {
            format!("run {number} of {runs}: {}", name(side))
        }
        NoiseEvent::NothingMeasured => {
            "no performance test ran in a machine: there are no more runs".to_owned()
        }
        _ => return None,
    })
}

/// The report as Markdown: for a CI system's summary of a job.
pub fn markdown(report: &PerfDelta) -> String {
    let mut text = format!("### perf-delta: {}\n\n", cell(&sides(report)));
    let findings = report.findings();
    if !findings.is_empty() {
        text.push_str("| | test | metric | base | head | change | p |\n");
        text.push_str("|---|---|---|---:|---:|---:|---:|\n");
    }
    for it in findings {
        let kind = match it.verdict {
            Finding::Regression => "worse",
            Finding::Improvement => "better",
            Finding::Unconfirmed | Finding::Unchanged => "unconfirmed",
        };
        let _ = writeln!(
            text,
            "| {kind} | {} | {} | {} | {} | {} | {} |",
            cell(&name(report, &it.case)),
            cell(&it.metric),
            figure(it.base.mean, &it.unit),
            figure(it.head.mean, &it.unit),
            change(it),
            probability(it)
        );
    }
    if !report.comparisons.is_empty() {
        text.push('\n');
    }
    let lines = [
        missing(report),
        incomparable(report),
        failures(report),
        caveats(report),
    ];
    let lines: Vec<String> = lines.concat();
    for line in lines.iter().take(MOST) {
        let _ = writeln!(text, "- {}", cell(line));
    }
    if lines.len() > MOST {
        let _ = writeln!(text, "- and {} more", lines.len() - MOST);
    }
    let _ = writeln!(text, "\n**{}**\n", cell(&conclusion(report)));
    text
}

/// `abc1234 (5 runs) compared with def5678 (5 runs; merge base of HEAD and main)`.
fn sides(report: &PerfDelta) -> String {
    let side = |side: &SideInfo| {
        let mut facts = vec![counted(side.runs, "run")];
        facts.extend(side.origin.clone());
        format!("{} ({})", side.label, facts.join("; "))
    };
    format!(
        "{} compared with {}",
        side(&report.head),
        side(&report.base)
    )
}

fn push_tables(text: &mut String, report: &PerfDelta, found: &[&Comparison], style: &Style) {
    let mut rest = found;
    while let Some(first) = rest.first() {
        let own = rest.iter().take_while(|it| it.case == first.case).count();
        let (rows, further) = rest.split_at(own);
        let _ = writeln!(text, "  {}", line(&name(report, &first.case)));
        let names = Column::left("  metric", rows.iter().map(|it| format!("  {}", it.metric)));
        let names = names.at_least(25);
        let column = |title: &str, cell: &dyn Fn(&Comparison) -> String, width| {
            Column::right(title, rows.iter().map(|it| cell(it))).at_least(width)
        };
        let columns = [
            column("base", &|it| figure(it.base.mean, &it.unit), 12),
            column("head", &|it| figure(it.head.mean, &it.unit), 12),
            column("change", &change, 8),
            column("p", &probability, 7),
        ];
        text.push_str(&Table::new(&names, &columns).text(style.width));
        rest = further;
    }
}

fn push_lines(text: &mut String, title: &str, lines: &[String], style: &Style) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    for one in lines.iter().take(MOST) {
        let one = wrap(&line(one), style.width.saturating_sub(4), "\n    ");
        let _ = writeln!(text, "  {one}");
    }
    if lines.len() > MOST {
        let _ = writeln!(text, "  and {} more; --json has all", lines.len() - MOST);
    }
}

/// The case; with what tells it from others of the report.
fn name(report: &PerfDelta, case: &PerfCase) -> String {
    let mut name = case.name();
    let cases = || report.comparisons.iter().map(|it| &it.case);
    if cases().any(|other| other.kernel != case.kernel) {
        let _ = write!(name, " [{}]", case.kernel.as_deref().unwrap_or("no kernel"));
    }
    let differs = |other: &PerfCase| {
        other.name() == case.name()
            && (&other.package, &other.target) != (&case.package, &case.target)
    };
    if cases().any(differs) {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let _ = write!(name, " ({}::{})", part(&case.package), part(&case.target));
    }
    name
}

/// A value in four significant digits, with its unit.
fn figure(value: f64, unit: &str) -> String {
    let size = value.abs();
    let number = if value == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e9).contains(&size) {
        format!("{value:.3e}")
    } else {
        let digits = (3 - size.log10().floor() as i32).clamp(0, 7);
        format!("{value:.*}", digits.unsigned_abs() as usize)
    };
    match unit {
        "" => number,
        _ if unit.starts_with('/') => format!("{number}{unit}"),
        unit => format!("{number} {unit}"),
    }
}

fn change(it: &Comparison) -> String {
    match it.change_pct {
        Some(pct) if pct.abs() < 1e6 => format!("{pct:+.1} %"),
        _ if it.change < 0.0 => "less".to_owned(),
        _ => "more".to_owned(),
    }
}

/// The `p` that decides, or why there is none.
fn probability(it: &Comparison) -> String {
    let p = match (it.separation, it.adjusted_p) {
        (Separation::Untested, _) | (_, None) => return "-".to_owned(),
        (_, Some(p)) => p,
    };
    if p < 0.0001 {
        "<0.0001".to_owned()
    } else {
        format!("{p:.4}")
    }
}

fn side(name: SideName) -> &'static str {
    match name {
        SideName::Base => "base",
        SideName::Head => "head",
    }
}

fn missing(report: &PerfDelta) -> Vec<String> {
    let lines = report.missing.iter().map(|it| {
        let what = match &it.metric {
            Some(metric) => format!("{}: {metric}", name(report, &it.case)),
            None => name(report, &it.case),
        };
        let why = it.why.as_ref().map(|why| format!(" ({why})"));
        format!(
            "{what}: not at the {}{}",
            side(it.side),
            why.unwrap_or_default()
        )
    });
    lines.collect()
}

fn incomparable(report: &PerfDelta) -> Vec<String> {
    let lines = report.incomparable.iter().map(|it| {
        let metric = it.metric.as_ref().map(|metric| format!(": {metric}"));
        let metric = metric.unwrap_or_default();
        format!("{}{metric}: {}", name(report, &it.case), it.why)
    });
    let unused = report.unused_policy.iter().map(|test| {
        format!("{test}: the policy names this test, and there is no record of it on either side")
    });
    lines
        .chain(unused)
        .chain(report.unreadable.clone())
        .collect()
}

fn failures(report: &PerfDelta) -> Vec<String> {
    let lines = report.failures.iter().map(|it| {
        let name = name(report, &it.case);
        let (side, failed, runs) = (side(it.side), it.failed, it.runs);
        format!("{name}: {failed} of {runs} at the {side}: {}", it.why)
    });
    lines.collect()
}

fn skipped(report: &PerfDelta) -> Vec<String> {
    let lines = report.skipped.iter().map(|it| {
        let name = name(report, &it.case);
        format!("{name}: at the {}: {}", side(it.side), it.why)
    });
    lines.collect()
}

/// What limits the conclusion, in sentences.
fn caveats(report: &PerfDelta) -> Vec<String> {
    let mut lines: Vec<String> = report.caveats.iter().map(caveat).collect();
    let tested = report.comparisons.iter().any(|it| it.adjusted_p.is_some());
    if tested && report.correction == Correction::None {
        lines.push(
            "No correction for the number of metrics: of those that did not change, one in twenty looks changed."
                .to_owned(),
        );
    }
    lines
}

fn caveat(caveat: &Caveat) -> String {
    match caveat {
        Caveat::SharedCpus => {
            "NOT IN PERFORMANCE MODE: machines shared the host's CPUs with other work. A large change of both sides' runs \
             in turn can be trusted; small ones, latencies and gaps tell of that work as well."
                .to_owned()
        }
        Caveat::Emulated => {
            "The machines were emulated in software, which distorts time: compare directions, not sizes.".to_owned()
        }
        Caveat::Untested { metrics } => format!(
            "{} with a single run on a side: only the size of the change was looked at, noise is not told from it. \
             --noise-adjust N runs both commits N times.",
            counted(*metrics, "metric")
        ),
        Caveat::HostsDiffer { base, head } => format!(
            "The hosts differ: {} at the base, {} at the head.",
            base.join(", "),
            head.join(", ")
        ),
        Caveat::UncommittedChanges => {
            "The work tree has changes that are not committed; the runs are of the commit without them.".to_owned()
        }
        Caveat::SameCommit => "Both sides are the same commit: every change is chance.".to_owned(),
    }
}

/// What there was to compare, and what follows.
pub fn conclusion(report: &PerfDelta) -> String {
    if report.has_nothing() {
        let mut said = match report.mode {
            Mode::Cached => format!(
                "nothing to compare: neither {} nor {} has a record of a test in performance mode. Run tests declared with \
                 `performance_mode` at both commits, or use --noise-adjust",
                report.base.label, report.head.label
            ),
            Mode::NoiseAdjusted => {
                "nothing to compare: no test declared with `performance_mode` ran in a machine"
                    .to_owned()
            }
        };
        if !report.skipped.is_empty() {
            said.push_str(
                "; --no-perf-mode compares tests that a host without performance mode skips",
            );
        }
        return said;
    }
    let compared = report.comparisons.len();
    if compared == 0 {
        return "no conclusion: the commits have no figure in common".to_owned();
    }
    let mut parts = Vec::new();
    if report.regressions > 0 {
        let fails = format!("fails at {}", report.fail_threshold);
        parts.push(format!(
            "{} ({fails})",
            counted(report.regressions, "regression")
        ));
    } else {
        parts.push("no regression".to_owned());
    }
    if report.improvements > 0 {
        parts.push(counted(report.improvements, "improvement"));
    }
    if report.unconfirmed > 0 {
        parts.push(format!("{} unconfirmed", report.unconfirmed));
    }
    parts.push(format!("{} compared", counted(compared, "metric")));
    let end = if report.must_fail_regressed.is_empty() {
        String::new()
    } else {
        format!(
            "; must not regress: {}",
            report.must_fail_regressed.join(", ")
        )
    };
    let word = if report.failed { "FAILED: " } else { "" };
    format!("{word}{}{end}", parts.join(", "))
}

/// `text` in a cell of a Markdown table or an item of a list.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in line(text).chars() {
        match c {
            '|' | '\\' | '`' | '*' | '<' | '>' | '[' | ']' => {
                cell.push('\\');
                cell.push(c);
            }
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests;
