//! From what was seen of a machine to a verdict.

use std::time::Duration;

use ktstr_core::{Detail, Outcome, Sampled, Verdict, text};
use ktstr_vmm::{GuestActivity, InitExit};

use super::scx_exit::{self, ScxExit};
use crate::TestCase;
use crate::check::{judge, judge_sampled};
use crate::protocol::{Ending, Report, SchedulerProblem, SchedulerReport, since_body_start};
use crate::workload::signal_in_words;

/// The check that a scheduler's own failures are told as.
const SCHEDULER: &str = "scheduler";

/// How a machine's life ended, as far as the verdict depends on it.
#[derive(Debug, Clone, PartialEq)]
pub enum MachineEnd {
    /// The guest reported.
    Reported(Box<Report>),
    /// The guest went away without a report: powered off or reset.
    Gone,
    /// The guest stopped all of its CPUs.
    Halted,
    /// The kernel panicked.
    KernelPanic {
        /// Its own words.
        message: String,
        /// How init ended, where that is why.
        init: Option<InitExit>,
    },
    /// The guest was not ready within that time.
    BootDeadline(Duration, GuestActivity),
    /// The guest was ready and did not report within that time.
    Deadline(Duration, GuestActivity),
    /// The guest broke the protocol.
    Garbled(String),
    /// The program that carried the machine died.
    Crashed(String),
}

/// The verdict of a run of `test`, before the test's own expectations are applied to it.
///
/// `console` is what the guest's console showed; `was_ready` whether it ever said so.
pub fn verdict(test: &TestCase, end: &MachineEnd, console: &str, was_ready: bool) -> Verdict {
    match end {
        MachineEnd::Reported(report) => of_report(test, report),
        MachineEnd::Gone => of_silence(console, was_ready),
        MachineEnd::Halted => Verdict::fail(
            "machine",
            format!("the guest halted {}, without a report", when(was_ready)),
        ),
        MachineEnd::KernelPanic {
            init: Some(exit), ..
        } => of_init(*exit, was_ready),
        MachineEnd::KernelPanic { message, .. } => Verdict::fail("kernel panic", message),
        MachineEnd::BootDeadline(limit, activity) => Verdict::fail(
            "boot",
            format!(
                "the guest was not ready within {} s; {activity}",
                limit.as_secs()
            ),
        ),
        MachineEnd::Deadline(limit, activity) => Verdict::fail(
            "deadline",
            format!(
                "the guest did not report within {} s and was ended; {activity}",
                limit.as_secs()
            ),
        ),
        MachineEnd::Garbled(why) => Verdict::fail("result channel", why),
        MachineEnd::Crashed(why) => Verdict::fail("machine", why),
    }
}

/// Applies what the test was declared to come to.
///
/// `kernel` is what the kernel said against itself: no part of the error that a scheduler is expected to be ejected
/// with, and a failure like others where any failure is expected.
#[must_use]
pub fn expect(test: &TestCase, mut verdict: Verdict, kernel: Verdict) -> Verdict {
    if let Some(text) = test.expect_scx_bpf_error_contains {
        verdict = expect_scx_error(text, verdict);
    }
    // It must not make a pass of a skip.
    if !kernel.details().is_empty() {
        verdict.merge(kernel);
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
fn of_report(test: &TestCase, report: &Report) -> Verdict {
    let body = of_ending(test, &report.ending, &report.kernel_log);
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
        return Some(of_problem(problem, scheduler, &report.kernel_log));
    }
    if report.ending != Ending::TimedOut {
        return None;
    }
    let (task, waited) = scx_exit::longest_waiting(&scheduler.dump)?;
    let seconds = waited.as_secs_f64();
    let message = format!("it left {task} waiting for {seconds:.1} s, and it still waits");
    Some(Verdict::fail(SCHEDULER, message))
}

/// The kernel's reason first, then what became of the program, then its own last words.
fn of_problem(
    problem: &SchedulerProblem,
    scheduler: &SchedulerReport,
    kernel_log: &str,
) -> Verdict {
    let exit = ScxExit::to_blame(since_body_start(kernel_log));
    let hotplug = scheduler.hotplug.as_deref().map(text::line);
    let by_kernel = exit.map(|exit| {
        let told = format!("{}: {exit}", exit.deed());
        match hotplug {
            Some(hotplug) if !exit.is_error() => format!("{told}: {hotplug}"),
            _ => told,
        }
    });
    let last_words = last_words(&scheduler.log);
    let with_last_words = |message: String| match &last_words {
        Some(words) => format!("{message}; it said last: {words}"),
        None => message,
    };
    let message = match (problem, by_kernel) {
        (SchedulerProblem::NotStarted(why), _) => {
            with_last_words(format!("it could not be started: {why}"))
        }
        (SchedulerProblem::Restarted(_), told) => {
            let told = told.unwrap_or_else(|| "it was ended".to_owned());
            format!(
                "{told}; its program started it again, and the test does not say `allow_restarts`"
            )
        }
        (SchedulerProblem::Gone(how), Some(told)) if !told.contains("SCX_EXIT_ERROR") => {
            with_last_words(format!("{told}; {how}"))
        }
        (_, Some(told)) => told,
        (SchedulerProblem::NotEnabled(why), None) => {
            with_last_words(format!("it was not enabled: {why}"))
        }
        (SchedulerProblem::Gone(how), None) => {
            with_last_words(format!("it was gone before the test ended: {how}"))
        }
        (SchedulerProblem::NotDisabled(why), None) => {
            format!("it was still attached after being stopped: {why}")
        }
    };
    Verdict::fail(SCHEDULER, message)
}

/// What a program said last: its error, where it says that it is one, and its last line.
pub(super) fn last_words(log: &str) -> Option<String> {
    /// Characters that are quoted of a line.
    const LONGEST: usize = 200;
    let log = text::plain(log);
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    // What init notes below it is no word of the program's.
    let said = |line: &&&str| !line.starts_with("ktstr: ");
    let last = lines.iter().rfind(said)?;
    let is_error = |line: &&&str| {
        let start = line.get(..6).unwrap_or_default();
        start.eq_ignore_ascii_case("error:")
    };
    let quoted = |line: &str| text::cut(&text::line(line), LONGEST);
    Some(match lines.iter().rfind(is_error) {
        Some(error) if error != last => format!("{} ... {}", quoted(error), quoted(last)),
        _ => quoted(last),
    })
}

/// Whether anything of the test ran under the scheduler that it is about: of workers, where there were some, otherwise
/// of the body.
pub fn add_under_scheduler(verdict: &mut Verdict, test: &TestCase, report: &Report) {
    let (Ending::Returned(result), Some(scheduler)) = (&report.ending, &report.scheduler) else {
        return;
    };
    if result.verdict.outcome() == Outcome::Skip {
        return;
    }
    let name = test.scheduler.name;
    let refused = match scheduler.rejected {
        0 => String::new(),
        tasks => format!("; the kernel counts {tasks} tasks that it refused"),
    };
    let workers: usize = result.cgroups.iter().map(|cgroup| cgroup.workers).sum();
    let under: Option<usize> = result
        .cgroups
        .iter()
        .map(|cgroup| cgroup.under_sched_ext)
        .sum();
    let message = match (workers, under) {
        (0, _) if !scheduler.partial => return,
        (0, _) => match report.body_under_sched_ext {
            Some(true) => return,
            Some(false) => format!(
                "the test did not run under {name}, which takes only tasks under SCHED_EXT{refused}"
            ),
            None => format!("the kernel does not tell whether the test ran under {name}"),
        },
        (_, Some(0)) => format!("no worker ran under {name}{refused}"),
        (_, None) => format!("the kernel does not tell whether a worker ran under {name}"),
        (workers, Some(under)) if under < workers => {
            let note = format!("{under} of {workers} workers ran under {name}{refused}");
            return verdict.record(Outcome::Pass, SCHEDULER, note);
        }
        _ => return,
    };
    verdict.record(Outcome::Inconclusive, SCHEDULER, message);
}

/// Adds the checks that a body which ran no worker left without anything to judge: passing, it would seem to show that
/// they hold.
pub fn add_unjudged(verdict: &mut Verdict, test: &TestCase, ending: &Ending) {
    if let Ending::Returned(result) = ending
        && result.verdict.outcome() != Outcome::Skip
        && result.cgroups.is_empty()
    {
        verdict.merge(judge(&test.checks, &[]));
    }
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

/// The verdict of the body of `test`, which ended somehow.
pub fn of_ending(test: &TestCase, ending: &Ending, kernel_log: &str) -> Verdict {
    match ending {
        Ending::Returned(result) => result.verdict.clone(),
        Ending::Error(error) => Verdict::fail("error", error),
        Ending::Panicked(message) => Verdict::fail("panic", message),
        Ending::Killed { signal } => {
            let mut cause = format!("the test body was killed by {}", signal_in_words(*signal));
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
            format!(
                "the test body did not return within {} s (2 x duration_s + 15 s) and was killed",
                test.body_limit().as_secs()
            ),
        ),
        Ending::NotStarted(why) => Verdict::fail("start", why),
        // Told by the scheduler's own report, which a body without a scheduler does not have.
        Ending::SchedulerGone => Verdict::fail(SCHEDULER, "it was gone before the test ended"),
    }
}

/// The test binary is init: the kernel panics when it ends.
fn of_init(exit: InitExit, was_ready: bool) -> Verdict {
    let how = match exit {
        InitExit::Signal(signal) => format!("was killed by {}", signal_in_words(signal)),
        InitExit::Status(status) => format!("exited with status {status}"),
    };
    let when = when(was_ready);
    Verdict::fail(
        "guest init",
        format!("the test binary, which is the guest's init, {how} ({when})"),
    )
}

fn of_silence(console: &str, was_ready: bool) -> Verdict {
    if let Some(line) = last_line(console, &["ktstr: guest init:"]) {
        return Verdict::fail("guest init", line);
    }
    Verdict::fail(
        "machine",
        format!(
            "the guest powered off or reset {}, without a report",
            when(was_ready)
        ),
    )
}

fn when(was_ready: bool) -> &'static str {
    if was_ready {
        "during the test"
    } else {
        "before the guest was ready"
    }
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
    use crate::protocol::KernelSeen;
    use crate::{AssertResult, Checks};
    use ktstr_core::CgroupStats;

    const TEST: TestCase = TestCase::new(
        "t",
        crate::test::Location {
            file: "t.rs",
            line: 1,
        },
        |_| Ok(AssertResult::pass()),
    );

    fn verdict(end: &MachineEnd, console: &str, was_ready: bool) -> Verdict {
        super::verdict(&TEST, end, console, was_ready)
    }

    /// Where the kernel has nothing to say against itself.
    fn expect(test: &TestCase, verdict: Verdict) -> Verdict {
        super::expect(test, verdict, Verdict::pass())
    }

    fn only_line(verdict: &Verdict) -> String {
        assert_eq!(verdict.outcome(), Outcome::Fail);
        assert_eq!(verdict.details().len(), 1);
        verdict.details()[0].to_string()
    }

    fn ended(ending: Ending, kernel_log: &str) -> MachineEnd {
        MachineEnd::Reported(Box::new(Report {
            ending,
            kernel_log: kernel_log.to_owned(),
            scheduler: None,
            sampled: None,
            probes: None,
            kernel: KernelSeen::default(),
            body_under_sched_ext: None,
        }))
    }

    fn gone(problem: SchedulerProblem, kernel_log: &str) -> MachineEnd {
        MachineEnd::Reported(Box::new(Report {
            ending: Ending::SchedulerGone,
            kernel_log: kernel_log.to_owned(),
            scheduler: Some(scheduler(Some(problem), "")),
            sampled: None,
            probes: None,
            kernel: KernelSeen::default(),
            body_under_sched_ext: None,
        }))
    }

    fn scheduler(problem: Option<SchedulerProblem>, log: &str) -> SchedulerReport {
        SchedulerReport {
            problem,
            log: log.to_owned(),
            dump: String::new(),
            partial: false,
            rejected: 0,
            restarts: 0,
            hotplug: None,
        }
    }

    #[test]
    fn hotplug_comes_before_how_the_program_took_it() {
        let log =
            "[1.0] sched_ext: BPF scheduler \"x\" disabled (unregistered from the main kernel)\n";
        let told = |problem| {
            let report = SchedulerReport {
                hotplug: Some("CPU 1 went offline".to_owned()),
                ..scheduler(None, "up\nx: exit kind 66\n")
            };
            only_line(&of_problem(&problem, &report, log))
        };
        let gone = SchedulerProblem::Gone("its program exited with status 1".to_owned());
        assert_eq!(
            told(gone),
            "scheduler: the kernel ended it: SCX_EXIT_UNREG_KERN (unregistered from the main kernel): CPU 1 went \
             offline; its program exited with status 1; it said last: x: exit kind 66"
        );
        assert_eq!(
            told(SchedulerProblem::Restarted(1)),
            "scheduler: the kernel ended it: SCX_EXIT_UNREG_KERN (unregistered from the main kernel): CPU 1 went \
             offline; its program started it again, and the test does not say `allow_restarts`"
        );
    }

    #[test]
    fn last_words_are_the_error_and_the_last_line() {
        assert_eq!(last_words(" \n\n"), None);
        let log = "\u{1b}[31mstarting\u{1b}[0m\nError: Failed to load\n\nCaused by:\n    No such file (os error 2)\n";
        let told = last_words(log).unwrap();
        assert_eq!(told, "Error: Failed to load ... No such file (os error 2)");
        assert_eq!(
            last_words("one\ntwo\nktstr: the program ignored").unwrap(),
            "two"
        );
        assert_eq!(last_words(&"x".repeat(900)).unwrap().len(), 203);
        let why = SchedulerProblem::NotEnabled("its program exited with status 1".to_owned());
        let told = only_line(&of_problem(&why, &scheduler(None, "no seccomp"), ""));
        assert!(
            told.ends_with(
                "it was not enabled: its program exited with status 1; it said last: no seccomp"
            ),
            "{told}"
        );
    }

    #[test]
    fn a_run_without_a_task_under_the_scheduler_shows_nothing() {
        let run = |groups: &[(usize, Option<usize>)], partial, body| {
            let mut result = AssertResult::pass();
            let stats = |(workers, under_sched_ext): &(usize, Option<usize>)| CgroupStats {
                workers: *workers,
                under_sched_ext: *under_sched_ext,
                ..CgroupStats::default()
            };
            result.cgroups = groups.iter().map(stats).collect();
            let MachineEnd::Reported(mut report) = ended(Ending::Returned(result), "") else {
                unreachable!()
            };
            report.scheduler = Some(SchedulerReport {
                partial,
                rejected: 4,
                ..scheduler(None, "")
            });
            report.body_under_sched_ext = body;
            let mut verdict = Verdict::pass();
            add_under_scheduler(&mut verdict, &TEST, &report);
            (
                verdict.outcome(),
                verdict.details().first().map(ToString::to_string),
            )
        };
        let (outcome, told) = run(&[(2, Some(0)), (2, Some(0))], true, Some(false));
        assert_eq!(outcome, Outcome::Inconclusive);
        assert!(
            told.unwrap()
                .starts_with("scheduler: no worker ran under eevdf; the kernel counts 4 tasks")
        );
        assert_eq!(run(&[(2, Some(2))], false, None), (Outcome::Pass, None));
        let (outcome, told) = run(&[(2, Some(2)), (2, Some(0))], true, None);
        assert_eq!(outcome, Outcome::Pass);
        assert!(told.unwrap().contains("2 of 4 workers ran under"));
        assert_eq!(
            run(&[(2, Some(2)), (1, None)], true, None).0,
            Outcome::Inconclusive
        );
        // A body without workers: what it starts is under a scheduler that takes all tasks, whatever it is itself.
        assert_eq!(run(&[], false, Some(false)).0, Outcome::Pass);
        assert_eq!(run(&[], true, Some(true)).0, Outcome::Pass);
        assert_eq!(run(&[], true, Some(false)).0, Outcome::Inconclusive);
        assert_eq!(run(&[], true, None).0, Outcome::Inconclusive);
    }

    #[test]
    fn a_check_that_no_worker_ran_for_is_no_pass() {
        let test = TestCase {
            checks: Checks {
                max_gap_ms: Some(1000),
                ..Checks::NONE
            },
            ..TEST
        };
        let judged = |test: &TestCase, result: AssertResult| {
            let mut verdict = result.verdict.clone();
            add_unjudged(&mut verdict, test, &Ending::Returned(result));
            verdict
        };
        let idle = judged(&test, AssertResult::pass());
        assert_eq!(idle.outcome(), Outcome::Inconclusive);
        assert_eq!(
            idle.details()[0].to_string(),
            "max_gap_ms: no worker reported"
        );
        assert_eq!(judged(&TEST, AssertResult::pass()), Verdict::pass());
        let skip = AssertResult::skip("no such device");
        assert_eq!(judged(&test, skip).outcome(), Outcome::Skip);
        let mut judged_already = AssertResult::pass();
        judged_already.cgroups.push(CgroupStats::default());
        assert_eq!(judged(&test, judged_already), Verdict::pass());
    }

    #[test]
    fn kernel_warnings_are_failures_that_no_expected_scheduler_error_covers() {
        let end = gone(
            SchedulerProblem::Gone("x".to_owned()),
            "[1.0] sched_ext: BPF scheduler \"x\" disabled (scx_bpf_error)\n[1.0] sched_ext: x: as asked\n",
        );
        let expecting = TestCase {
            expect_scx_bpf_error_contains: Some("as asked"),
            ..TEST
        };
        let warned = || Verdict::fail("kernel warning", "WARNING: CPU: 0");
        let ejected = verdict(&end, "", true);
        assert_eq!(super::expect(&expecting, ejected, warned()).exit_code(), 1);
        let failing = TestCase {
            expect_err: true,
            ..TEST
        };
        assert_eq!(
            super::expect(&failing, Verdict::pass(), warned()).exit_code(),
            0
        );
        assert_eq!(
            super::expect(&TEST, Verdict::skip("x"), Verdict::pass()).outcome(),
            Outcome::Skip
        );
    }

    #[test]
    fn an_illegal_instruction_is_told_with_its_usual_cause() {
        let end = ended(Ending::Killed { signal: 4 }, "");
        let told = only_line(&verdict(&end, "", true));
        assert!(
            told.contains("signal 4 (SIGILL): illegal instruction")
                && told.contains("target-cpu=native"),
            "{told}"
        );
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
        let panicked = |init| MachineEnd::KernelPanic {
            message: "sysrq triggered crash".to_owned(),
            init,
        };
        assert_eq!(
            only_line(&verdict(&panicked(None), "", true)),
            "kernel panic: sysrq triggered crash"
        );
        let ill = only_line(&verdict(&panicked(Some(InitExit::Signal(4))), "", false));
        assert!(
            ill.starts_with("guest init: the test binary, which is the guest's init, was killed by signal 4 (SIGILL): illegal")
                && ill.ends_with("(before the guest was ready)"),
            "{ill}"
        );
        let exited = only_line(&verdict(&panicked(Some(InitExit::Status(3))), "", true));
        assert!(
            exited.contains("init, exited with status 3 (during"),
            "{exited}"
        );
        // What a program writes there is no panic.
        let console = "[    2.0] Kernel panic - not syncing: so says a program\n";
        let limit = Duration::from_secs(5);
        let end = MachineEnd::Deadline(limit, GuestActivity::default());
        assert!(
            only_line(&verdict(&end, console, true))
                .starts_with("deadline: the guest did not report within 5 s")
        );
        assert!(
            only_line(&verdict(&MachineEnd::Halted, "", true)).contains("halted during the test")
        );
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
