//! Prints the end of a session: where results are, how many cases ended how, how to run failures again.

use std::ffi::OsString;

use ktstr_driver::{RunSummary, SessionReport, Tally, replay_args};
use ktstr_kernel::BaseConfig;
use rustix::process::Signal;

use crate::cli::Test;
use crate::failure::one_line;
use crate::terminal::{quote, say, tilde};

/// How many commands, or reasons, are printed.
const MOST: usize = 10;

/// Prints where results are, how many cases (each called a `word`) ended how, and how to run failures again.
pub(crate) fn print(report: &SessionReport, arguments: &Test, program: &str, word: &str) {
    if let Some(signal) = report.signal {
        ended_by(signal);
    }
    if report.overruled {
        let why = "nextest counts some iterations of a stress run as passed that failed";
        say(format_args!(
            "error: there are failures among the records below; {why}"
        ));
    }
    if report.runs.is_empty() {
        return;
    }
    say(format_args!("\n{program}: test outputs"));
    for run in &report.runs {
        say(format_args!("  {}", tilde(&run.path)));
        let (records, sidecars) = match run.records.len() {
            1 => ("record", "stats sidecar"),
            _ => ("records", "stats sidecars"),
        };
        let count = run.records.len();
        say(format_args!(
            "    {count} {records} ({sidecars}) written this run"
        ));
        for line in &run.unreadable {
            say(format_args!("    warning: {line}"));
        }
    }
    count(&report.tally(), program, word);
    let replays: Vec<String> = report
        .runs
        .iter()
        .flat_map(RunSummary::failures)
        .map(|record| replay_args(&record.sidecar, &arguments.nextest_args))
        .map(|nextest_args| command_line(arguments, program, nextest_args))
        .collect();
    if replays.is_empty() {
        return;
    }
    say(format_args!("\n{program}: to rerun the failures"));
    for command in replays.iter().take(MOST) {
        say(format_args!("  {command}"));
    }
    if replays.len() > MOST {
        say(format_args!("  and {} more", replays.len() - MOST));
    }
}

/// Prints how many passed, failed and so on, and why some were skipped, the most frequent reason first.
fn count(tally: &Tally, program: &str, word: &str) {
    let cases = tally.cases();
    let plural = if cases == 1 { "" } else { "s" };
    say(format_args!("\n{program}: {cases} {word}{plural}: {tally}"));
    let mut reasons: Vec<(&String, &usize)> = tally.skipped.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (why, count) in reasons.iter().take(MOST) {
        say(format_args!("  {count} skipped: {}", one_line(why)));
    }
    if reasons.len() > MOST {
        let others = reasons.len() - MOST;
        say(format_args!(
            "  and {others} more reasons; each is in its record"
        ));
    }
}

/// Prints that a signal ended nextest, unless it is one by which a person ends it.
fn ended_by(signal: i32) {
    let by_hand = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP];
    if by_hand.iter().any(|one| one.as_raw() == signal) {
        return;
    }
    let (what, hint) = if signal == Signal::KILL.as_raw() {
        let hint = "the kernel does that when memory runs out, see `dmesg`; ";
        ("killed by SIGKILL".to_owned(), hint)
    } else {
        (format!("ended by signal {signal}"), "")
    };
    say(format_args!(
        "error: cargo nextest: {what}; {hint}tests that were running count as failed"
    ));
}

/// The command that was given, with other arguments for nextest.
fn command_line(arguments: &Test, program: &str, nextest_args: Vec<OsString>) -> String {
    let mut words: Vec<String> = Vec::new();
    for kernel in &arguments.kernel {
        words.extend(["--kernel".to_owned(), kernel.clone()]);
    }
    if let Some(base) = arguments.base_config {
        words.extend([
            "--base-config".to_owned(),
            BaseConfig::from(base).to_string(),
        ]);
    }
    if let Some(backend) = arguments.backend {
        words.extend(["--backend".to_owned(), backend.to_string()]);
    }
    let profiles = [
        ("--profile", &arguments.profile),
        ("--nextest-profile", &arguments.nextest_profile),
    ];
    for (flag, profile) in profiles {
        if let Some(profile) = profile {
            words.extend([flag.to_owned(), profile.clone()]);
        }
    }
    if let Some(cap) = arguments.cpu_cap {
        words.extend(["--cpu-cap".to_owned(), cap.to_string()]);
    }
    let switches = [
        (arguments.include_eol, "--include-eol"),
        (arguments.release, "--release"),
        (arguments.no_skip_mode, "--no-skip-mode"),
        (arguments.no_perf_mode, "--no-perf-mode"),
        (true, "--"),
    ];
    let on = switches.iter().filter(|(on, _)| *on);
    words.extend(on.map(|(_, switch)| (*switch).to_owned()));
    let nextest_args = nextest_args.into_iter();
    words.extend(nextest_args.map(|arg| arg.to_string_lossy().into_owned()));
    let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
    format!("{program} test {}", words.join(" "))
}
