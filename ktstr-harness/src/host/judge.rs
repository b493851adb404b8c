//! From what was seen of a machine to a verdict.

use std::time::Duration;

use ktstr_core::{Detail, Outcome, Sampled, Verdict};

use super::scx_exit::{self, ScxExit};
use crate::TestCase;
use crate::check::judge_sampled;
use crate::protocol::{Ending, Report, SchedulerProblem, since_body_start};
use crate::workload::signal_name;

/// The check that a scheduler's own failures are told as.
const SCHEDULER: &str = "scheduler";

/// How a machine's life ended, as far as the verdict depends on it.
#[derive(Debug, Clone, PartialEq)]
pub enum MachineEnd {
    /// The guest reported.
    Reported(Report),
    /// The guest went away without a report: powered off, reset, panicked.
    Gone,
    /// The guest was not ready in time.
    BootDeadline(Duration),
    /// The guest was ready and did not report in time.
    Deadline(Duration),
    /// The guest broke the protocol.
    Garbled(String),
    /// The program that carried the machine died.
    Crashed(String),
}

/// The verdict of a run, before the test's own expectations are applied to it.
///
/// `console` is what the guest's console showed; `was_ready` whether it ever said so.
pub fn verdict(end: &MachineEnd, console: &str, was_ready: bool) -> Verdict {
    match end {
        MachineEnd::Reported(report) => of_report(report),
        MachineEnd::Gone => of_silence(console, was_ready),
        MachineEnd::BootDeadline(limit) => match kernel_panic(console) {
            Some(panic) => panic,
            None => Verdict::fail(
                "boot",
                format!(
                    "the guest was not ready within {} s; the console below shows how far it came",
                    limit.as_secs()
                ),
            ),
        },
        MachineEnd::Deadline(limit) => match kernel_panic(console) {
            Some(panic) => panic,
            None => Verdict::fail(
                "deadline",
                format!(
                    "the guest did not report within {} s and was ended",
                    limit.as_secs()
                ),
            ),
        },
        MachineEnd::Garbled(why) => Verdict::fail("result channel", why),
        MachineEnd::Crashed(why) => Verdict::fail("machine", why),
    }
}

/// Applies what the test was declared to come to.
#[must_use]
pub fn expect(test: &TestCase, mut verdict: Verdict) -> Verdict {
    if let Some(text) = test.expect_scx_bpf_error_contains {
        verdict = expect_scx_error(text, verdict);
    }
    if test.expect_err {
        verdict = verdict.expecting_error();
    }
    if test.allow_inconclusive {
        verdict = verdict.allowing_inconclusive();
    }
    verdict
}

/// The scheduler must have been ejected with an error that contains `text`.
fn expect_scx_error(text: &str, mut verdict: Verdict) -> Verdict {
    let is_expected = |detail: &Detail| {
        let Detail { check, message, .. } = detail;
        check == SCHEDULER && message.contains("SCX_EXIT_ERROR") && message.contains(text)
    };
    if verdict.details().iter().any(is_expected) {
        return verdict.expecting_error();
    }
    if verdict.outcome() != Outcome::Skip {
        let message = format!("the scheduler was not ejected with an error that contains `{text}`");
        verdict.record(Outcome::Fail, "expect_scx_bpf_error_contains", message);
    }
    verdict
}

/// The verdict of a test whose guest reported: the scheduler first, as it explains the rest.
fn of_report(report: &Report) -> Verdict {
    let body = of_ending(&report.ending, &report.kernel_log);
    match of_scheduler(report) {
        None => body,
        Some(verdict) if report.ending == Ending::SchedulerGone => verdict,
        Some(mut verdict) => {
            verdict.merge(body);
            verdict
        }
    }
}

/// What the scheduler did wrong; `None` where nothing is known.
fn of_scheduler(report: &Report) -> Option<Verdict> {
    let scheduler = report.scheduler.as_ref()?;
    if let Some(problem) = &scheduler.problem {
        return Some(of_problem(problem, &report.kernel_log));
    }
    if report.ending != Ending::TimedOut {
        return None;
    }
    let (task, waited) = scx_exit::longest_waiting(&scheduler.dump)?;
    let seconds = waited.as_secs_f64();
    let message = format!("it left {task} waiting for {seconds:.1} s, and it still waits");
    Some(Verdict::fail(SCHEDULER, message))
}

fn of_problem(problem: &SchedulerProblem, kernel_log: &str) -> Verdict {
    let exit = ScxExit::find(since_body_start(kernel_log)).filter(ScxExit::is_error);
    let message = match (problem, exit) {
        (SchedulerProblem::NotStarted(why), _) => format!("it could not be started: {why}"),
        (_, Some(exit)) => format!("the kernel ejected it: {exit}"),
        (SchedulerProblem::NotEnabled(why), None) => format!("it did not come into force: {why}"),
        (SchedulerProblem::Gone(how), None) => {
            format!("it was gone before the test ended: {how}")
        }
        (SchedulerProblem::NotDisabled(why), None) => {
            format!("it did not go when it was told to: {why}")
        }
    };
    Verdict::fail(SCHEDULER, message)
}

/// Adds what the samples of a run say about the test's checks, where its body came to an end of its own.
pub fn add_sampled(
    verdict: &mut Verdict,
    test: &TestCase,
    ending: &Ending,
    sampled: Option<&Sampled>,
) {
    if let Ending::Returned(result) = ending
        && result.verdict.outcome() != Outcome::Skip
    {
        verdict.merge(judge_sampled(&test.checks, sampled));
    }
}

/// The verdict of a body that ended somehow.
pub fn of_ending(ending: &Ending, kernel_log: &str) -> Verdict {
    match ending {
        Ending::Returned(result) => result.verdict.clone(),
        Ending::Error(error) => Verdict::fail("error", error),
        Ending::Panicked(message) => Verdict::fail("panic", message),
        Ending::Killed { signal } => {
            let mut cause = format!("the test body was killed by {}", signal_name(*signal));
            let log = since_body_start(kernel_log);
            if let Some(victim) = last_line(log, &["Killed process"]) {
                cause = format!("{cause}: out of memory: {victim}");
            } else if let Some(fault) =
                last_line(log, &["segfault at", "traps:", "general protection"])
            {
                cause = format!("{cause}: {fault}");
            }
            Verdict::fail("killed", cause)
        }
        Ending::Exited(code) => Verdict::fail(
            "exit",
            format!("the test body exited with code {code} before it returned"),
        ),
        Ending::TimedOut => Verdict::fail(
            "timeout",
            "the test body did not return within its limit (twice duration_s and 15 s) and was killed",
        ),
        Ending::NotStarted(why) => Verdict::fail("start", why),
        // Told by the scheduler's own report, which a body without a scheduler does not have.
        Ending::SchedulerGone => Verdict::fail(SCHEDULER, "it was gone before the test ended"),
    }
}

fn of_silence(console: &str, was_ready: bool) -> Verdict {
    if let Some(panic) = kernel_panic(console) {
        return panic;
    }
    if let Some(line) = last_line(console, &["ktstr: guest init:"]) {
        return Verdict::fail("guest init", line);
    }
    let when = if was_ready {
        "during the test"
    } else {
        "before the guest was ready"
    };
    Verdict::fail(
        "machine",
        format!("the guest powered off or reset {when}, without a report"),
    )
}

/// The kernel's own words on why it stopped (`kernel/panic.c`).
fn kernel_panic(console: &str) -> Option<Verdict> {
    let line = console
        .lines()
        .find(|line| line.contains("Kernel panic - not syncing"))?;
    let message = line
        .split_once("Kernel panic - not syncing")
        .map_or(line, |(_, rest)| rest);
    Some(Verdict::fail(
        "kernel panic",
        message.trim_start_matches(':').trim(),
    ))
}

/// The last line that holds one of `needles`, without its time stamp.
fn last_line<'t>(text: &'t str, needles: &[&str]) -> Option<&'t str> {
    let line = text
        .lines()
        .rev()
        .find(|line| needles.iter().any(|needle| line.contains(needle)))?;
    Some(scx_exit::without_stamp(line).trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AssertResult;
    use crate::protocol::SchedulerReport;

    fn only_line(verdict: &Verdict) -> String {
        assert_eq!(verdict.outcome(), Outcome::Fail);
        assert_eq!(verdict.details().len(), 1);
        verdict.details()[0].to_string()
    }

    fn ended(ending: Ending, kernel_log: &str) -> MachineEnd {
        MachineEnd::Reported(Report {
            ending,
            kernel_log: kernel_log.to_owned(),
            scheduler: None,
            sampled: None,
            probes: None,
        })
    }

    fn gone(problem: SchedulerProblem, kernel_log: &str) -> MachineEnd {
        MachineEnd::Reported(Report {
            ending: Ending::SchedulerGone,
            kernel_log: kernel_log.to_owned(),
            scheduler: Some(SchedulerReport {
                problem: Some(problem),
                log: String::new(),
                dump: String::new(),
            }),
            sampled: None,
            probes: None,
        })
    }

    #[test]
    fn a_schedulers_end_is_told_in_the_kernels_words() {
        let log = "[1.0] sched_ext: BPF scheduler \"x\" disabled (scx_bpf_error)\n\
                   [1.0] sched_ext: x: asked to fail\n";
        let how = SchedulerProblem::Gone("its program exited with status 1".to_owned());
        let end = gone(how.clone(), log);
        let line =
            "scheduler: the kernel ejected it: SCX_EXIT_ERROR_BPF (scx_bpf_error): asked to fail";
        assert_eq!(only_line(&verdict(&end, "", true)), line);
        let silent = only_line(&verdict(&gone(how, ""), "", true));
        assert!(
            silent.contains("its program exited with status 1"),
            "{silent}"
        );

        let location = crate::test::Location {
            file: "t.rs",
            line: 1,
        };
        let test = TestCase::new("t", location, |_| Ok(AssertResult::pass()));
        let expecting = |text| TestCase {
            expect_scx_bpf_error_contains: Some(text),
            ..test
        };
        let ejected = verdict(&end, "", true);
        assert_eq!(
            expect(&expecting("asked to"), ejected.clone()).exit_code(),
            0
        );
        assert_eq!(expect(&expecting("other"), ejected).exit_code(), 1);
        assert_eq!(
            expect(&expecting("asked to"), Verdict::pass()).exit_code(),
            1
        );
        assert_eq!(
            expect(&expecting("x"), Verdict::skip("s")).outcome(),
            Outcome::Skip
        );
    }

    #[test]
    fn a_result_is_taken_as_it_is() {
        let result = AssertResult::skip("no LLC to spare");
        let end = ended(Ending::Returned(result.clone()), "");
        assert_eq!(verdict(&end, "", true), result.verdict);
    }

    #[test]
    fn causes_come_first() {
        let segfault = "[    1.2] t[57]: segfault at 0 ip 00005555 sp 0000 error 6\n";
        let end = ended(Ending::Killed { signal: 11 }, segfault);
        assert_eq!(
            only_line(&verdict(&end, "", true)),
            "killed: the test body was killed by signal 11 (SIGSEGV): \
             t[57]: segfault at 0 ip 00005555 sp 0000 error 6"
        );
        let oom = "[    3.0] Out of memory: Killed process 57 (t) total-vm:1kB\n";
        let end = ended(Ending::Killed { signal: 9 }, oom);
        assert!(only_line(&verdict(&end, "", true)).contains("out of memory: Out of memory"));
        let console = "boot\n[    2.0] Kernel panic - not syncing: sysrq triggered crash\n";
        for end in [
            MachineEnd::Gone,
            MachineEnd::Deadline(Duration::from_secs(5)),
        ] {
            assert_eq!(
                only_line(&verdict(&end, console, true)),
                "kernel panic: sysrq triggered crash"
            );
        }
        assert!(
            only_line(&verdict(&MachineEnd::Gone, "", false))
                .contains("before the guest was ready")
        );
        let init = "ktstr: guest init: mounting /dev: ENODEV; the kernel needs CONFIG_DEVTMPFS\n";
        assert!(only_line(&verdict(&MachineEnd::Gone, init, false)).contains("CONFIG_DEVTMPFS"));
    }

    #[test]
    fn expectations_apply_last() {
        let location = crate::test::Location {
            file: "t.rs",
            line: 1,
        };
        let test = TestCase::new("t", location, |_| Ok(AssertResult::pass()));
        let failing = TestCase {
            expect_err: true,
            ..test
        };
        assert_eq!(expect(&failing, Verdict::pass()).exit_code(), 1);
        assert_eq!(expect(&failing, Verdict::fail("c", "m")).exit_code(), 0);
        let lenient = TestCase {
            allow_inconclusive: true,
            ..test
        };
        assert_eq!(
            expect(&lenient, Verdict::inconclusive("c", "m")).exit_code(),
            0
        );
        assert_eq!(
            expect(&test, Verdict::inconclusive("c", "m")).exit_code(),
            2
        );
    }
}
