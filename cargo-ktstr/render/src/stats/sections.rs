//! The sections of an analysis.

use std::fmt::Write;

use ktstr_core::text::line;
use ktstr_core::{Outcome, Short};
use ktstr_driver::stats::{
    CaseVerdict, Exit, KernelFault, LEAST_VARIANTS, LIMIT, Outlier, Restarted, Retried, SkipReason,
    TestTime, TestVerdicts, VerifierGrowth,
};

use super::graph::{bar, sparkline};
use super::{heading, push_rest, push_wrapped};
use crate::Style;
use crate::paint::Ink;
use crate::table::{Column, Table};
use crate::text::{counted, fit};

/// Entries of a list that are shown.
const MOST: usize = 10;

/// Rows of the table of verdicts that are shown.
const MOST_TESTS: usize = 40;

/// Room that a picture of a test's machines or times needs to be of use.
const LEAST_PICTURE: usize = 8;

/// Columns of the bars of times.
const BAR: usize = 24;

/// A name in a table: no longer than half of a line.
fn name(text: &str, style: &Style) -> String {
    fit(&line(text), (style.width / 2).max(10))
}

/// A section with the first of `entries`, each shown by `push`; nothing if there are none. `noun` is what they are.
fn section<T>(
    text: &mut String,
    title: &str,
    entries: &[T],
    noun: &str,
    style: &Style,
    mut push: impl FnMut(&mut String, &T),
) {
    if entries.is_empty() {
        return;
    }
    heading(text, title, style);
    for entry in entries.iter().take(MOST) {
        push(text, entry);
    }
    push_rest(text, entries.len(), MOST, noun);
}

/// How many cases of each test ended how, and a character for each machine.
pub(super) fn verdicts(text: &mut String, tests: &[TestVerdicts], style: &Style) {
    if tests.is_empty() {
        return;
    }
    heading(text, "Verdicts", style);
    let shown = &tests[..tests.len().min(MOST_TESTS)];
    let names: Vec<String> = shown.iter().map(|test| name(&test.test, style)).collect();
    let count = |title, outcome, of: fn(&TestVerdicts) -> usize| {
        let cell = |test| match of(test) {
            0 => "-".to_owned(),
            count => style.paint(Ink::of(outcome), count),
        };
        Column::right(title, shown.iter().map(cell))
    };
    let mut columns = vec![
        count("pass", Outcome::Pass, |test| test.counts.pass),
        count("fail", Outcome::Fail, |test| test.counts.fail),
        count("incl", Outcome::Inconclusive, |test| {
            test.counts.inconclusive
        }),
        count("skip", Outcome::Skip, |test| test.counts.skip),
    ];
    let names = Column::left("test", names);
    let used = 2
        + names.width()
        + columns
            .iter()
            .map(|column| 2 + column.width())
            .sum::<usize>();
    let room = style.width.saturating_sub(used + 2);
    let has_several = shown.iter().any(|test| test.cases.len() > 1);
    let has_strips = room >= LEAST_PICTURE && has_several;
    if has_strips {
        let strips = shown.iter().map(|test| strip(&test.cases, room, style));
        columns.push(Column::left(fit("by size of machine", room), strips));
    }
    text.push_str(&Table::new(&names, &columns).text(style.width));
    push_rest(text, tests.len(), MOST_TESTS, "tests");
    if has_strips {
        push_wrapped(
            text,
            2,
            ". pass, F fail, ? inconclusive, s skip; `incl`: inconclusive",
            style,
        );
    }
}

/// `..F.?` for the machines of a test, from the smallest to the largest.
fn strip(cases: &[CaseVerdict], room: usize, style: &Style) -> String {
    let (shown, rest) = match cases.len() {
        count if count > room => (room.saturating_sub(3), "..."),
        count => (count, ""),
    };
    let mut strip = String::new();
    // One colour for neighbours that ended alike.
    for same in cases[..shown].chunk_by(|a, b| a.outcome == b.outcome) {
        let c = match same[0].outcome {
            Outcome::Pass => ".",
            Outcome::Fail => "F",
            Outcome::Inconclusive => "?",
            Outcome::Skip => "s",
        };
        strip.push_str(&style.paint(Ink::of(same[0].outcome), c.repeat(same.len())));
    }
    strip + rest
}

/// Which cases failed or were inconclusive, and what decided that.
pub(super) fn failures(text: &mut String, tests: &[TestVerdicts], style: &Style) {
    let cases = tests.iter().flat_map(|test| &test.cases);
    let is_bad =
        |case: &&CaseVerdict| matches!(case.outcome, Outcome::Fail | Outcome::Inconclusive);
    let mut bad: Vec<&CaseVerdict> = cases.filter(is_bad).collect();
    bad.sort_by_key(|case| std::cmp::Reverse(case.outcome));
    let title = "Failed and inconclusive";
    section(text, title, &bad, "cases", style, |text, case| {
        let outcome = style.paint(Ink::of(case.outcome), case.outcome);
        let _ = writeln!(text, "  {outcome}  {}", line(&case.case));
        for why in &case.why {
            push_wrapped(text, 4, why, style);
        }
    });
}

/// Exits of schedulers.
pub(super) fn exits(text: &mut String, exits: &[Exit], style: &Style) {
    let title = "Exits of schedulers";
    section(text, title, exits, "kinds", style, |text, exit| {
        let expected = match exit.in_passed {
            0 => String::new(),
            count => format!(", {count} passed"),
        };
        let Exit {
            kind, scheduler, ..
        } = exit;
        let cases = counted(exit.cases, "case");
        let told = format!("{kind} of {scheduler}: {cases}{expected}");
        push_wrapped(text, 2, &told, style);
        let what = if exit.message.is_empty() {
            &exit.reason
        } else {
            &exit.message
        };
        push_wrapped(text, 4, &format!("{}: {what}", exit.example), style);
    });
}

/// Faults that kernels reported.
pub(super) fn kernel_faults(text: &mut String, faults: &[KernelFault], style: &Style) {
    let title = "Kernel warnings";
    section(text, title, faults, "lines", style, |text, fault| {
        push_wrapped(text, 2, &fault.line, style);
        let mut told = counted(fault.cases, "case");
        if fault.allowed > 0 {
            let _ = write!(told, ", allowed in {}", fault.allowed);
        }
        if fault.at_boot > 0 {
            let _ = write!(told, ", at boot in {}", fault.at_boot);
        }
        let _ = write!(told, ", such as {}", fault.example);
        push_wrapped(text, 4, &told, style);
    });
}

/// Cases that did not end alike each time.
pub(super) fn retries(text: &mut String, retries: &[Retried], style: &Style) {
    let title = "Flaky: not every attempt ended alike";
    section(text, title, retries, "cases", style, |text, retried| {
        let Retried {
            case,
            outcome,
            attempts,
            failed,
            ..
        } = retried;
        let told =
            format!("{case}: {failed} of {attempts} attempts did not pass, counts as {outcome}");
        push_wrapped(text, 2, &told, style);
        for why in &retried.why {
            push_wrapped(text, 4, why, style);
        }
    });
}

/// Schedulers that were started again.
pub(super) fn restarts(text: &mut String, restarts: &[Restarted], style: &Style) {
    let title = "Restarts of schedulers";
    section(text, title, restarts, "cases", style, |text, restarted| {
        let Restarted {
            case,
            scheduler,
            restarts,
        } = restarted;
        let told = format!("{case}: {scheduler}, {restarts} times");
        push_wrapped(text, 2, &told, style);
    });
}

/// Variants that measured something else than the others, by test and metric.
pub(super) fn outliers(text: &mut String, outliers: &[Outlier], style: &Style) {
    if outliers.is_empty() {
        return;
    }
    heading(
        text,
        "Outliers among the gauntlet variants of a test",
        style,
    );
    let mut groups: Vec<Vec<&Outlier>> = Vec::new();
    for outlier in outliers {
        let of_group = |group: &Vec<&Outlier>| {
            let key = |it: &Outlier| (it.test.clone(), it.metric.clone(), it.scheduler.clone());
            key(group[0]) == key(outlier) && group[0].kernel == outlier.kernel
        };
        match groups.iter().position(of_group) {
            Some(at) => groups[at].push(outlier),
            // The rest is only counted.
            None if groups.len() > MOST => {}
            None => groups.push(vec![outlier]),
        }
    }
    let shown = &groups[..groups.len().min(MOST)];
    for group in shown {
        push_outliers(text, group, style);
    }
    let told = shown.iter().map(Vec::len).sum();
    push_rest(text, outliers.len(), told, "values");
    let rule = format!(
        "Distance from the median above {LIMIT} times 1.4826 MAD (1.2533 times the mean deviation \
         where the MAD is 0) and the metric's gates; {LEAST_VARIANTS} variants or more."
    );
    push_wrapped(text, 2, &rule, style);
}

fn push_outliers(text: &mut String, group: &[&Outlier], style: &Style) {
    let first = group[0];
    let unit = |value: f64| {
        format!("{} {}", Short(value), first.unit)
            .trim_end()
            .to_owned()
    };
    let kernel = first
        .kernel
        .as_deref()
        .map(|kernel| format!(" on {kernel}"));
    let title = format!(
        "{} {}{}, median {}",
        first.test,
        first.metric,
        kernel.unwrap_or_default(),
        unit(first.median)
    );
    push_wrapped(text, 2, &title, style);
    let room = style.width.saturating_sub(4);
    if first.values.len() <= room {
        let _ = writeln!(text, "    {}", sparkline(&first.values, style));
    }
    for outlier in group {
        let (how, ink) = match outlier.worse {
            Some(true) => (", worse", Some(Ink::Bad)),
            Some(false) => (", better", None),
            None => ("", None),
        };
        let score = outlier.score;
        let told = format!(
            "{}: {} ({score:.1}{how})",
            outlier.machine,
            unit(outlier.value)
        );
        let told = fit(&line(&told), room);
        let told = match ink {
            Some(ink) => style.paint(ink, told),
            None => told,
        };
        let _ = writeln!(text, "    {told}");
    }
}

/// Growth of what the verifier has to do.
pub(super) fn growth(text: &mut String, growth: &VerifierGrowth, style: &Style) {
    let title = format!("Verified instructions against {}", line(&growth.before));
    let schedulers = &growth.schedulers;
    section(
        text,
        &title,
        schedulers,
        "schedulers",
        style,
        |text, scheduler| {
            let programs = counted(scheduler.compared, "program");
            let median = scheduler.median_pct;
            let told = format!(
                "{}: median {median:+.1} % over {programs}",
                scheduler.scheduler
            );
            push_wrapped(text, 2, &told, style);
            for program in scheduler.changed.iter().take(MOST / 2) {
                let kernel = program.kernel.as_deref().unwrap_or("-");
                let pct = program.growth_pct;
                let told = format!(
                    "{} {pct:+.1} %: {} -> {} on {kernel}, {}",
                    program.program, program.before, program.now, program.machine
                );
                push_wrapped(text, 4, &told, style);
            }
            push_rest(
                text,
                scheduler.changed.len(),
                MOST / 2,
                "programs that changed",
            );
        },
    );
}

/// The slowest tests, and where their time went.
pub(super) fn times(text: &mut String, times: &[TestTime], style: &Style) {
    let Some(most) = times.first().map(|test| test.total_s) else {
        return;
    };
    heading(text, "Slowest tests, by all of their cases", style);
    let shown = &times[..times.len().min(MOST)];
    let seconds = |seconds: f64| format!("{seconds:.1} s");
    let names = Column::left("test", shown.iter().map(|test| name(&test.test, style)));
    let mut columns = vec![
        Column::right("cases", shown.iter().map(|test| test.cases.to_string())),
        Column::right("total", shown.iter().map(|test| seconds(test.total_s))),
        Column::right("longest", shown.iter().map(|test| seconds(test.slowest_s))),
    ];
    let used = 2
        + names.width()
        + columns
            .iter()
            .map(|column| 2 + column.width())
            .sum::<usize>();
    let room = style.width.saturating_sub(used + 2).min(BAR);
    let [wait, boot, scenario, teardown] = phases(style);
    if room >= LEAST_PICTURE {
        let bars = shown.iter().map(|test| {
            let it = &test.phases;
            let parts = [
                (it.wait_s, wait),
                (it.boot_s, boot),
                (it.scenario_s, scenario),
                (it.teardown_s, teardown),
            ];
            bar(parts, test.total_s, most, room)
        });
        columns.push(Column::left("where", bars));
    }
    text.push_str(&Table::new(&names, &columns).text(style.width));
    if room >= LEAST_PICTURE {
        let legend =
            format!("{wait} wait for CPUs, {boot} boot, {scenario} scenario, {teardown} teardown");
        push_wrapped(text, 2, &legend, style);
    }
    push_rest(text, times.len(), MOST, "tests");
}

/// The characters of wait, boot, scenario and teardown.
fn phases(style: &Style) -> [char; 4] {
    if style.unicode {
        ['░', '▒', '█', '▓']
    } else {
        ['w', 'b', 's', 't']
    }
}

/// Why cases were skipped.
pub(super) fn skips(text: &mut String, skips: &[SkipReason], style: &Style) {
    section(text, "Skipped", skips, "reasons", style, |text, reason| {
        let told = format!("{}: {}", counted(reason.cases, "case"), reason.why);
        push_wrapped(text, 2, &told, style);
    });
}
