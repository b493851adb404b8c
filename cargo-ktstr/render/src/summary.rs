//! The end of a session: where results are, how many cases ended how, how to run failures again.

use std::cmp::Reverse;
use std::fmt::Write;

use ktstr_core::signal;
use ktstr_core::text::line;
use ktstr_driver::{RunSummary, SessionOptions, SessionReport, Tally, replay_args};

use crate::Style;
use crate::text::{command, counted};

/// How many commands, or reasons, are shown.
const MOST: usize = 10;

/// The commands of `program` that run the failures of `report` again, each as its session was run: with `options`.
pub fn replays(report: &SessionReport, options: &SessionOptions, program: &str) -> Vec<String> {
    let failures = report.runs.iter().flat_map(RunSummary::failures);
    failures
        .map(|record| {
            let nextest_args = replay_args(&record.sidecar, &options.nextest_args);
            let again = SessionOptions {
                nextest_args,
                ..options.clone()
            };
            test_command(&again, program)
        })
        .collect()
}

/// The command of `program` that runs a session with `options`.
///
/// ```
/// use ktstr_driver::{KernelRequest, SessionOptions};
/// use ktstr_render::summary::test_command;
///
/// let options = SessionOptions {
///     kernels: KernelRequest {
///         identifiers: vec!["6.12".to_owned()],
///         ..KernelRequest::default()
///     },
///     release: true,
///     nextest_args: vec!["-E".into(), "test(=ktstr/a)".into()],
///     ..SessionOptions::default()
/// };
/// assert_eq!(
///     test_command(&options, "cargo ktstr"),
///     "cargo ktstr test --kernel 6.12 --release -- -E 'test(=ktstr/a)'"
/// );
/// ```
pub fn test_command(options: &SessionOptions, program: &str) -> String {
    let kernels = &options.kernels;
    let mut words: Vec<String> = Vec::new();
    for kernel in &kernels.identifiers {
        words.extend(["--kernel".to_owned(), kernel.clone()]);
    }
    let values = [
        (
            "--base-config",
            kernels.base_config.map(|it| it.to_string()),
        ),
        ("--backend", options.backend.map(|it| it.to_string())),
        ("--profile", options.scheduler_profile.clone()),
        ("--nextest-profile", options.nextest_profile.clone()),
        ("--cpu-cap", options.cpu_cap.map(|cap| cap.to_string())),
    ];
    for (option, value) in values {
        if let Some(value) = value {
            words.extend([option.to_owned(), value]);
        }
    }
    let switches = [
        (kernels.include_eol, "--include-eol"),
        (options.release, "--release"),
        (options.no_skip_mode, "--no-skip-mode"),
        (options.no_perf_mode, "--no-perf-mode"),
        (true, "--"),
    ];
    let on = switches.iter().filter(|(on, _)| *on);
    words.extend(on.map(|(_, switch)| (*switch).to_owned()));
    let nextest_args = options.nextest_args.iter();
    words.extend(nextest_args.map(|arg| arg.to_string_lossy().into_owned()));
    format!("{program} test {}", command(words))
}

/// Where the results of `report` are, how many cases ended how, and `replays`: commands that run the failures again, see
/// [`replays`]. `noun` is what a case is called: `test`, or `cell` of a verifier sweep.
///
/// ```no_run
/// use ktstr_driver::{SessionOptions, SessionReport};
/// use ktstr_render::{Style, summary};
///
/// # fn report() -> SessionReport { unimplemented!() }
/// let (report, style) = (report(), Style::default());
/// let replays = summary::replays(&report, &SessionOptions::default(), &style.program);
/// eprint!("{}", summary::text(&report, "test", &replays, &style));
/// ```
pub fn text(report: &SessionReport, noun: &str, replays: &[String], style: &Style) -> String {
    let mut text = String::new();
    if let Some(signal) = report.signal {
        push_signal(&mut text, signal);
    }
    if report.overruled {
        let why = "nextest counts some iterations of a stress run as passed that failed";
        let _ = writeln!(
            text,
            "error: there are failures among the records below; {why}"
        );
    }
    if report.runs.is_empty() {
        return text;
    }
    let program = &style.program;
    let _ = writeln!(text, "\n{program}: test outputs");
    for run in &report.runs {
        push_run(&mut text, run, style);
    }
    push_tally(&mut text, &report.tally(), noun, program);
    if !replays.is_empty() {
        let _ = writeln!(text, "\n{program}: to rerun the failures");
    }
    for command in replays.iter().take(MOST) {
        let _ = writeln!(text, "  {command}");
    }
    if replays.len() > MOST {
        let _ = writeln!(text, "  and {} more", replays.len() - MOST);
    }
    text
}

fn push_run(text: &mut String, run: &RunSummary, style: &Style) {
    let count = run.records.len();
    let (records, plural) = (counted(count, "record"), if count == 1 { "" } else { "s" });
    let _ = writeln!(text, "  {}", style.path(&run.path));
    let _ = writeln!(
        text,
        "    {records} (stats sidecar{plural}) written this run"
    );
    for unreadable in &run.unreadable {
        let _ = writeln!(text, "    warning: {}", line(unreadable));
    }
}

/// How many passed, failed and so on, and why some were skipped, the most frequent reason first.
fn push_tally(text: &mut String, tally: &Tally, noun: &str, program: &str) {
    let cases = counted(tally.cases(), noun);
    let _ = writeln!(text, "\n{program}: {cases}: {tally}");
    let mut reasons: Vec<(&String, &usize)> = tally.skipped.iter().collect();
    reasons.sort_by_key(|(_, count)| Reverse(**count));
    for (why, count) in reasons.iter().take(MOST) {
        let _ = writeln!(text, "  {count} skipped: {}", line(why));
    }
    if reasons.len() > MOST {
        let others = reasons.len() - MOST;
        let _ = writeln!(text, "  and {others} more reasons; each is in its record");
    }
}

/// That a signal ended nextest, unless it is one by which a person ends it.
fn push_signal(text: &mut String, signal: i32) {
    let (what, hint) = match signal::name(signal) {
        Some("SIGINT" | "SIGTERM" | "SIGQUIT" | "SIGHUP") => return,
        Some("SIGKILL") => {
            let hint = "the kernel does that when memory runs out, see `dmesg`; ";
            ("killed by SIGKILL".to_owned(), hint)
        }
        _ => (format!("ended by signal {signal}"), ""),
    };
    let _ = writeln!(
        text,
        "error: cargo nextest: {what}; {hint}tests that were running count as failed"
    );
}

#[cfg(test)]
mod tests {
    use ktstr_core::Verdict;
    use ktstr_core::record::{Record, RecordKind, Sidecar};

    use super::*;

    fn report(verdicts: Vec<Verdict>) -> SessionReport {
        let record = |verdict| Record {
            path: "/r/a.ktstr.json".into(),
            sidecar: Sidecar::new("a", "ktstr/a", verdict),
            failure_dump: None,
            kind: RecordKind::Latest,
        };
        SessionReport {
            exit_code: 100,
            overruled: false,
            signal: None,
            cancelled: false,
            runs: vec![RunSummary {
                path: "/home/me/r".into(),
                records: verdicts.into_iter().map(record).collect(),
                unreadable: vec!["/r/b: not JSON".to_owned()],
            }],
        }
    }

    #[test]
    fn a_summary_ends_with_what_to_do() {
        let style = Style::new("x", None, Some("/home/me".into()));
        let failed = report(vec![Verdict::fail("x", "y")]);
        let expected = "
x: test outputs
  ~/r
    1 record (stats sidecar) written this run
    warning: /r/b: not JSON

x: 1 cell: 1 failed

x: to rerun the failures
  x test a
";
        let replays = ["x test a".to_owned()];
        assert_eq!(text(&failed, "cell", &replays, &style), expected);
        let many = vec!["x test a".to_owned(); 12];
        let text = text(&failed, "cell", &many, &style);
        assert!(text.ends_with("  x test a\n  and 2 more\n"), "{text}");
        assert_eq!(text.matches("x test a").count(), 10);
    }

    #[test]
    fn frequent_reasons_come_first() {
        let mut verdicts: Vec<_> = (0..12).map(|n| Verdict::skip(format!("why {n}"))).collect();
        verdicts.push(Verdict::skip("why 7"));
        let text = text(&report(verdicts), "test", &[], &Style::default());
        let (_, tally) = text.split_once(": 13 tests: 13 skipped\n").unwrap();
        assert!(
            tally.starts_with("  2 skipped: why 7\n  1 skipped: why 0\n"),
            "{tally}"
        );
        assert!(
            tally.ends_with("  and 2 more reasons; each is in its record\n"),
            "{tally}"
        );
    }

    #[test]
    fn signals_that_nobody_sent_by_hand_are_told() {
        let ended = |signal| {
            let mut report = report(Vec::new());
            report.runs.clear();
            report.signal = Some(signal);
            text(&report, "test", &[], &Style::default())
        };
        assert_eq!(ended(2), "");
        assert!(ended(9).starts_with("error: cargo nextest: killed by SIGKILL; the kernel does"));
        let crashed =
            "error: cargo nextest: ended by signal 11; tests that were running count as failed\n";
        assert_eq!(ended(11), crashed);
    }
}
