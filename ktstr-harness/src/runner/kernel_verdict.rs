//! The kernel's reports of its own faults, as a verdict.

use ktstr_core::record::Sidecar;
use ktstr_core::{Outcome, Taint, Verdict, text};

use crate::protocol::KernelSeen;
use crate::{Scheduler, TestCase};

/// Name of the check for reports of the kernel.
const WARNING: &str = "kernel warning";

/// Name of the check for new taint that no report explains.
const TAINT: &str = "kernel taint";

/// Name of the check that is inconclusive where a part of the log was missed.
const LOG: &str = "kernel log";

/// Reports that are told; the others are in the record.
const NAMED: usize = 3;

/// The host bounds a guest's reports as well, as it does not trust the guest.
const KEPT: usize = 100;

/// Texts of kernel warnings that `test` and its scheduler expect.
pub(super) fn allowed(test: &TestCase) -> Vec<String> {
    let mut texts = allowed_by(test.scheduler);
    let own = test.allow_kernel_warnings.iter();
    texts.extend(own.map(|text| (*text).to_owned()));
    texts
}

/// Those that `scheduler` expects.
pub(super) fn allowed_by(scheduler: &Scheduler) -> Vec<String> {
    let texts = scheduler.allow_kernel_warnings.iter();
    texts.map(|text| (*text).to_owned()).collect()
}

/// What `seen` says against a run whose expected warnings contain one of `allow`.
pub(super) fn verdict(seen: &KernelSeen, allow: &[String]) -> Verdict {
    let mut verdict = Verdict::pass();
    let reported: Vec<&str> = seen
        .warnings
        .iter()
        .filter(|warning| !warning.allowed)
        .map(|warning| warning.line.as_str())
        .collect();
    for (at, line) in reported.iter().take(NAMED).enumerate() {
        let hint = match at {
            0 => " (`allow_kernel_warnings` lets an expected one pass)",
            _ => "",
        };
        verdict.record(
            Outcome::Fail,
            WARNING,
            format!("{}{hint}", text::line(line)),
        );
    }
    let more = (reported.len().saturating_sub(NAMED) as u64).saturating_add(seen.more);
    if more > 0 {
        let message = format!("and {more} more, see the kernel log");
        verdict.record(Outcome::Fail, WARNING, message);
    }
    match (seen.taint_before, seen.taint_after) {
        (Some(before), Some(after)) => {
            let explained = seen.taint_allowed | seen.taint_reported;
            for meaning in Taint::meanings(after & !before & !explained) {
                let line = format!("taint {meaning}");
                if !allow.iter().any(|text| line.contains(text.as_str())) {
                    let message = format!("the kernel was tainted during the test: {meaning}");
                    verdict.record(Outcome::Fail, TAINT, message);
                }
            }
        }
        _ => verdict.record(
            Outcome::Inconclusive,
            TAINT,
            "/proc/sys/kernel/tainted could not be read",
        ),
    }
    if let Some(why) = &seen.unread {
        let message = format!("{}; a warning may have gone unseen", text::line(why));
        verdict.record(Outcome::Inconclusive, LOG, message);
    } else if seen.lost > 0 {
        let message = format!(
            "{} messages were overwritten before they could be read; a warning may be among them",
            seen.lost
        );
        verdict.record(Outcome::Inconclusive, LOG, message);
    }
    verdict
}

/// A line for a person where the kernel had faults before the test began.
pub(super) fn note(seen: &KernelSeen) -> Option<String> {
    let first = seen.warnings.iter().find(|warning| warning.at_boot)?;
    let others = seen
        .warnings
        .iter()
        .filter(|warning| warning.at_boot)
        .count()
        - 1;
    let more = match others {
        0 => String::new(),
        others => format!(", and {others} more"),
    };
    Some(format!(
        "the kernel warned while it booted: {}{more}",
        text::line(&first.line)
    ))
}

/// Writes it down.
pub(super) fn keep(seen: KernelSeen, sidecar: &mut Sidecar) {
    sidecar.kernel_warnings = seen.warnings;
    sidecar.kernel_warnings.truncate(KEPT);
    sidecar.taint = seen
        .taint_before
        .zip(seen.taint_after)
        .map(|(before, after)| Taint::between(before, after));
    sidecar.kernel_messages_lost = seen.lost;
}

#[cfg(test)]
mod tests {
    use ktstr_core::KernelWarning;

    use super::*;

    fn clean() -> KernelSeen {
        KernelSeen {
            taint_before: Some(0),
            taint_after: Some(0),
            ..KernelSeen::default()
        }
    }

    fn warning(line: &str, allowed: bool) -> KernelWarning {
        KernelWarning {
            line: line.to_owned(),
            allowed,
            at_boot: false,
        }
    }

    fn told(seen: &KernelSeen, allow: &[&str]) -> (Outcome, Vec<String>) {
        let allow: Vec<String> = allow.iter().map(|text| (*text).to_owned()).collect();
        let verdict = verdict(seen, &allow);
        let lines = verdict.details().iter().map(ToString::to_string).collect();
        (verdict.outcome(), lines)
    }

    #[test]
    fn a_report_fails_with_its_line() {
        assert_eq!(told(&clean(), &[]), (Outcome::Pass, vec![]));
        let mut seen = clean();
        seen.warnings = vec![warning("WARNING: CPU: 0 PID: 7 at a.c:1", false); 5];
        seen.more = 10;
        seen.taint_reported = 1 << 9;
        seen.taint_after = Some(1 << 9);
        let (outcome, lines) = told(&seen, &[]);
        assert_eq!(outcome, Outcome::Fail);
        assert!(lines[0].starts_with("kernel warning: WARNING: CPU: 0 PID: 7 at a.c:1 (`allow_"));
        assert_eq!(lines[3], "kernel warning: and 12 more, see the kernel log");
        // The taint is what the reports say already.
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn what_is_allowed_passes_with_its_taint() {
        let mut seen = clean();
        seen.warnings = vec![warning("WARNING: CPU: 0 PID: 7 at a.c:1", true)];
        seen.taint_allowed = 1 << 9;
        seen.taint_after = Some(1 << 9);
        assert_eq!(told(&seen, &["a.c"]).0, Outcome::Pass);
        // A taint of another kind is not explained by it.
        seen.taint_after = Some(1 << 9 | 1 << 7);
        let (outcome, lines) = told(&seen, &["a.c"]);
        assert_eq!(outcome, Outcome::Fail);
        let line = "kernel taint: the kernel was tainted during the test: D (the kernel died: an oops or a BUG)";
        assert_eq!(lines, [line]);
        assert_eq!(told(&seen, &["taint D"]).0, Outcome::Pass);
    }

    #[test]
    fn taint_of_the_boot_is_no_fault_of_the_test() {
        let mut seen = clean();
        (seen.taint_before, seen.taint_after) = (Some(512), Some(512));
        seen.warnings = vec![KernelWarning {
            at_boot: true,
            ..warning("WARNING: CPU: 0 PID: 1 at b.c:1", true)
        }];
        assert_eq!(told(&seen, &[]).0, Outcome::Pass);
        let note = note(&seen).unwrap();
        assert_eq!(
            note,
            "the kernel warned while it booted: WARNING: CPU: 0 PID: 1 at b.c:1"
        );
        let mut sidecar = Sidecar::new("t", "ktstr/t", Verdict::pass());
        keep(seen, &mut sidecar);
        assert_eq!(sidecar.taint.unwrap().before, "W");
        assert!(sidecar.kernel_warnings[0].at_boot);
    }

    #[test]
    fn what_was_not_seen_is_inconclusive() {
        let lost = KernelSeen { lost: 3, ..clean() };
        assert_eq!(told(&lost, &[]).0, Outcome::Inconclusive);
        let unread = KernelSeen {
            unread: Some("/dev/kmsg: no such file".to_owned()),
            ..clean()
        };
        assert_eq!(told(&unread, &[]).0, Outcome::Inconclusive);
        let untold = KernelSeen {
            taint_after: None,
            ..clean()
        };
        assert_eq!(told(&untold, &[]).0, Outcome::Inconclusive);
    }
}
