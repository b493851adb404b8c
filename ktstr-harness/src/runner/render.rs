//! What a person reads when a test did not pass.

use std::fmt::Write as _;

use ktstr_core::record::{CgroupStats, Reading, Sidecar};
use ktstr_core::{Outcome, Short, text};

use super::result::FailureArtifacts;
use super::timeline;
use super::traced;
use super::verifier_log::{self, ProgramLog};
use crate::protocol::since_body_start;

/// Lines of a log that are shown; the whole is in the failure dump.
const LOG_LINES: usize = 120;

/// The failure text of a run: a header, a line for each violated check, then sections. `raw_verifier_log` shows the
/// verifier's log as it is, with every iteration of its loops.
pub fn failure(sidecar: &Sidecar, artifacts: &FailureArtifacts, raw_verifier_log: bool) -> String {
    let mut text = String::new();
    if let Some(exit) = &artifacts.scx_exit {
        let reason = text::line(&exit.reason);
        let _ = writeln!(text, "BUG SUMMARY: {} ({reason})", exit.kind);
    }
    text.push_str(&header(sidecar));
    for detail in sidecar.verdict.decisive() {
        push_detail(&mut text, &detail.to_string());
    }
    for detail in sidecar
        .verdict
        .details()
        .iter()
        .filter(|d| d.outcome != sidecar.verdict.outcome())
    {
        push_detail(&mut text, &format!("({}) {detail}", detail.outcome));
    }
    section(&mut text, "stats", &stats(&sidecar.cgroups));
    if let Some(sampled) = &sidecar.sampled {
        section(&mut text, "timeline", &timeline::render(sampled));
    }
    if let Some(Reading::Read(traced)) = &sidecar.traced {
        section(&mut text, "trace", &traced::render(traced));
    }
    // In a cell of the sweep the verifier's log is what it is about, and has no end that says it all.
    let scheduler_log = if sidecar.verifier.is_some() {
        let (logs, others) = verifier_log::split(&artifacts.scheduler_log);
        section(
            &mut text,
            "verifier log",
            &verifier_logs(&logs, raw_verifier_log),
        );
        others
    } else {
        artifacts.scheduler_log.clone()
    };
    let logs = [
        ("scheduler log", &scheduler_log),
        ("sched_ext dump", &artifacts.sched_ext_dump),
    ];
    for (name, log) in logs {
        section(&mut text, name, &last_lines(log, LOG_LINES));
    }
    section(
        &mut text,
        "kernel log",
        &last_lines(since_body_start(&artifacts.kernel_log), LOG_LINES),
    );
    if let Some(repro) = &artifacts.auto_repro {
        section(&mut text, "auto-repro", &repro.text);
    }
    text
}

fn verifier_logs(logs: &[ProgramLog<'_>], raw: bool) -> String {
    logs.iter().fold(String::new(), |mut all, log| {
        let ProgramLog { program, text } = log;
        let _ = writeln!(all, "program {program}, {} lines:", text.lines().count());
        if raw {
            all.push_str(text);
        } else {
            all.push_str(&verifier_log::collapse(text));
        }
        all
    })
}

fn header(sidecar: &Sidecar) -> String {
    let scheduler = &sidecar.scheduler;
    // A cell has no function of its own.
    let test = match sidecar.verifier {
        Some(_) => &sidecar.case,
        None => &sidecar.test,
    };
    let place = match sidecar.topology {
        Some(topology) => format!("[topo={topology}]"),
        None => "[host]".to_owned(),
    };
    let ending = match sidecar.verdict.outcome() {
        Outcome::Inconclusive => "was inconclusive",
        Outcome::Fail | Outcome::Pass | Outcome::Skip => "failed",
    };
    format!("ktstr_test '{test}' [sched={scheduler}] {place} {ending}:\n")
}

/// A line for a violated check; what it says in further lines is indented further.
fn push_detail(text: &mut String, detail: &str) {
    let detail = text::plain(detail);
    let mut lines = detail.lines().filter(|line| !line.trim().is_empty());
    let _ = writeln!(text, "  {}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}

/// Adds what a guest said under a heading. None of its lines can pass for a heading.
fn section(text: &mut String, name: &str, content: &str) {
    let content = text::plain(content);
    if content.trim().is_empty() {
        return;
    }
    let _ = writeln!(text, "--- {name} ---");
    for line in content.trim_end().lines() {
        let indent = if line.starts_with("--- ") { " " } else { "" };
        let _ = writeln!(text, "{indent}{line}");
    }
}

/// The end of `text`, with a note of what is left out.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(count);
    let shown = lines[hidden..].join("\n");
    if hidden == 0 {
        shown
    } else {
        format!("({hidden} lines more in the failure dump)\n{shown}")
    }
}

/// A table of what the cgroups came to, for 80 columns.
fn stats(cgroups: &[CgroupStats]) -> String {
    if cgroups.is_empty() {
        return String::new();
    }
    let width = cgroups
        .iter()
        .map(|c| c.name.len())
        .max()
        .unwrap_or(0)
        .clamp(6, 20);
    let mut text = format!(
        "{:width$} {:>7} {:>10} {:>8} {:>8} {:>8} {:>8} {:>9}  cpus\n",
        "cgroup", "workers", "iterations", "cpu s", "delay s", "gap ms", "spread%", "p99 us"
    );
    let dash = || "-".to_owned();
    for c in cgroups {
        let delay = c.run_delay_s.map_or_else(dash, |v| format!("{v:.2}"));
        let spread = c.spread_pct.map_or_else(dash, |v| format!("{v:.1}"));
        let p99 = c
            .p99_wake_latency_ns
            .map_or_else(dash, |ns| Short(ns as f64 / 1000.0).to_string());
        let _ = writeln!(
            text,
            "{:width$} {:>7} {:>10} {:>8.2} {delay:>8} {:>8.1} {spread:>8} {p99:>9}  {}",
            text::line(&c.name),
            c.workers,
            c.iterations,
            c.cpu_time_s,
            c.max_gap_ms,
            c.cpus_used
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use ktstr_core::{Topology, Verdict};

    use super::*;

    fn sidecar(verdict: Verdict) -> Sidecar {
        Sidecar {
            topology: Some(Topology::constant(1, 1, 2, 1)),
            scheduler: "y".to_owned(),
            ..Sidecar::new("x", "ktstr/x", verdict)
        }
    }

    #[test]
    fn nothing_that_a_guest_says_passes_for_a_heading_or_commands_the_terminal() {
        let forged = "one\n--- auto-repro ---\nreproduced: \u{1b}[2Jx\rktstr_test 'y'\n\nthree";
        let failed = sidecar(Verdict::fail("error", forged));
        let artifacts = FailureArtifacts {
            scheduler_log: forged.to_owned(),
            kernel_log: forged.to_owned(),
            ..FailureArtifacts::default()
        };
        let text = failure(&failed, &artifacts, false);
        let headings: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("---"))
            .collect();
        assert_eq!(headings, ["--- scheduler log ---", "--- kernel log ---"]);
        assert!(text.contains("  error: one\n    --- auto-repro ---\n    reproduced: x?ktstr_test 'y'\n    three\n"), "{text}");
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
        let starts = text.lines().filter(|line| line.starts_with("ktstr_test"));
        assert_eq!(starts.count(), 1, "{text}");
    }

    #[test]
    fn a_figure_that_the_kernel_does_not_tell_is_a_dash() {
        let mut failed = sidecar(Verdict::fail("c", "m"));
        failed.cgroups = vec![CgroupStats {
            name: "a".to_owned(),
            ..CgroupStats::default()
        }];
        let text = failure(&failed, &FailureArtifacts::default(), false);
        let row = text.lines().last().unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words[..5], ["a", "0", "0", "0.00", "-"]);
    }

    #[test]
    fn header_causes_and_only_sections_with_content() {
        let mut verdict = Verdict::pass();
        verdict.at_most("max_gap_ms", 2500.0, 2000.0, "cgroup a");
        let mut failed = sidecar(verdict);
        let text = failure(&failed, &FailureArtifacts::default(), false);
        assert_eq!(
            text,
            "ktstr_test 'x' [sched=y] [topo=1n1l2c1t] failed:\n  max_gap_ms: 2500 > 2000 in cgroup a\n"
        );
        failed.cgroups = vec![CgroupStats {
            name: "a".to_owned(),
            workers: 2,
            ..CgroupStats::default()
        }];
        let log = (0..200).fold(String::new(), |log, n| log + &format!("line {n}\n"));
        let text = failure(
            &failed,
            &FailureArtifacts {
                kernel_log: log,
                ..FailureArtifacts::default()
            },
            false,
        );
        assert!(text.contains("--- stats ---\ncgroup workers"), "{text}");
        assert!(
            text.contains("--- kernel log ---\n(80 lines more in the failure dump)\nline 80\n"),
            "{text}"
        );
        assert!(text.ends_with("line 199\n"));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
