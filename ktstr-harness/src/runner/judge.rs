//! Makes a verdict of how a machine and its guest ended.

use ktstr_core::record::{Reading, Sampled, Traced};
use ktstr_core::{Outcome, Verdict, text};
use ktstr_vmm::InitExit;

use super::diagnosis::{Diagnosis, last_line};
use super::outcome::{MachineEnd, RunTimes};
use crate::TestCase;
use crate::check::{judge, judge_sampled, judge_traced};
use crate::protocol::{BodyReport, Ending, SchedulerProblem, SchedulerReport};
use crate::scx_exit::ScxExit;
use crate::workload::signal_in_words;

/// Name of the check for failures of the scheduler.
const SCHEDULER: &str = "scheduler";

/// The verdict of a run of `test`, before the test's own expectations are applied to it.
///
/// `console` is what the guest's console showed; `was_ready` whether it ever said so.
pub fn verdict(
    test: &TestCase,
    end: &MachineEnd,
    diagnosis: &Diagnosis,
    console: &str,
    was_ready: bool,
) -> Verdict {
    match end {
        MachineEnd::Reported(report) => of_report(test, report, diagnosis),
        end => of_machine(end, console, was_ready),
    }
}

/// The verdict of a machine that ended without a report of a test.
pub(super) fn of_machine(end: &MachineEnd, console: &str, was_ready: bool) -> Verdict {
    match end {
        MachineEnd::Reported(_) | MachineEnd::Verified(_) => {
            Verdict::fail("result channel", "the guest reported of something else")
        }
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

/// Applies the expectations that the test declares.
///
/// `ejection` is why the kernel ejected the scheduler. `kernel` is what the kernel said against itself: no part of the
/// error that a scheduler is expected to be ejected with, and a failure like others where any failure is expected.
#[must_use]
pub fn expect(
    test: &TestCase,
    mut verdict: Verdict,
    ejection: Option<&ScxExit>,
    kernel: Verdict,
) -> Verdict {
    if let Some(text) = test.expect_scx_bpf_error_contains {
        verdict = expect_ejection(text, verdict, ejection);
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
fn expect_ejection(text: &str, mut verdict: Verdict, ejection: Option<&ScxExit>) -> Verdict {
    if ejection.is_some_and(|exit| exit.to_string().contains(text)) {
        return verdict.expecting_error();
    }
    if verdict.outcome() != Outcome::Skip {
        let message = format!("the scheduler was not ejected with an error that contains `{text}`");
        verdict.record(Outcome::Fail, "expect_scx_bpf_error_contains", message);
    }
    verdict
}

/// The verdict of a test whose guest reported: the scheduler first, as it explains the rest.
fn of_report(test: &TestCase, report: &BodyReport, diagnosis: &Diagnosis) -> Verdict {
    let body = of_ending(test, &report.ending, diagnosis);
    match of_scheduler(report, diagnosis) {
        None => body,
        Some(verdict) if report.ending == Ending::SchedulerGone => verdict,
        Some(mut verdict) => {
            verdict.merge(body);
            verdict
        }
    }
}

/// What the scheduler did wrong; `None` where nothing is known.
fn of_scheduler(report: &BodyReport, diagnosis: &Diagnosis) -> Option<Verdict> {
    let scheduler = report.scheduler.as_ref()?;
    if let Some(problem) = &scheduler.problem {
        return Some(of_problem(problem, scheduler, diagnosis));
    }
    if report.ending != Ending::TimedOut {
        return None;
    }
    let (task, waited) = diagnosis.waiting.as_ref()?;
    let seconds = waited.as_secs_f64();
    let message = format!("it left {task} waiting for {seconds:.1} s, and it still waits");
    Some(Verdict::fail(SCHEDULER, message))
}

/// The kernel's reason first, then what became of the program, then its own last words.
fn of_problem(
    problem: &SchedulerProblem,
    scheduler: &SchedulerReport,
    diagnosis: &Diagnosis,
) -> Verdict {
    let exit = diagnosis.scx_exit.as_ref();
    let hotplug = scheduler.hotplug.as_deref().map(text::line);
    let by_kernel = exit.map(|exit| {
        let told = format!("{}: {exit}", exit.kind.deed());
        match hotplug {
            Some(hotplug) if !exit.kind.is_error() => format!("{told}: {hotplug}"),
            _ => told,
        }
    });
    let last_words = last_words(&scheduler.log);
    let with_last_words = |message: String| match &last_words {
        Some(words) => format!("{message}; it said last: {words}"),
        None => message,
    };
    let is_ejected = diagnosis.ejection().is_some();
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
        (SchedulerProblem::Gone(how), Some(told)) if !is_ejected => {
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

/// The last words of a program: its last line, and before it the last line that begins with `error:`.
pub(super) fn last_words(log: &str) -> Option<String> {
    /// Characters that are quoted of a line.
    const LONGEST: usize = 200;
    let log = text::plain(log);
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    // Lines that init adds are not the program's.
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
pub fn add_under_scheduler(verdict: &mut Verdict, test: &TestCase, report: &BodyReport) {
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

/// Adds the programs that the test declares and its body never started: passing, it would seem to be about them.
pub fn add_unstarted(verdict: &mut Verdict, test: &TestCase, ending: &Ending) {
    let Ending::Returned(result) = ending else {
        return;
    };
    if matches!(result.verdict.outcome(), Outcome::Skip | Outcome::Fail) {
        return;
    }
    let payload = test.payload.map(|program| ("payload", program));
    let workloads = test.workloads.iter().map(|program| ("workloads", *program));
    for (key, program) in payload.into_iter().chain(workloads) {
        if result.programs.iter().all(|run| run.name != program.name) {
            let message = format!(
                "the test never started {}; execute_payload and Op::start do",
                program.name
            );
            verdict.record(Outcome::Inconclusive, key, message);
        }
    }
}

/// Adds whether the machine was gone soon enough after its guest had reported.
pub fn add_cleanup(verdict: &mut Verdict, test: &TestCase, times: RunTimes) {
    let (Some(budget), Some(reported)) = (test.cleanup_budget_ms, times.reported) else {
        return;
    };
    let ms = times.whole.saturating_sub(reported).as_secs_f64() * 1e3;
    let place = "milliseconds from the report of the guest to the end of the machine";
    verdict.at_most("cleanup_budget_ms", ms, f64::from(budget), place);
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

/// Likewise, what a trace of the run says.
pub fn add_traced(
    verdict: &mut Verdict,
    test: &TestCase,
    ending: &Ending,
    traced: Option<&Reading<Traced>>,
) {
    if let Ending::Returned(result) = ending
        && result.verdict.outcome() != Outcome::Skip
    {
        verdict.merge(judge_traced(&test.checks, traced));
    }
}

/// The verdict of the body of `test`, which ended somehow.
pub fn of_ending(test: &TestCase, ending: &Ending, diagnosis: &Diagnosis) -> Verdict {
    match ending {
        Ending::Returned(result) => result.verdict.clone(),
        Ending::Error(error) => Verdict::fail("error", error),
        Ending::Panicked(message) => Verdict::fail("panic", message),
        Ending::Killed { signal } => {
            let mut cause = format!("the test body was killed by {}", signal_in_words(*signal));
            if let Some(victim) = &diagnosis.oom_victim {
                cause = format!("{cause}: out of memory: {victim}");
            } else if let Some(fault) = &diagnosis.fault {
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
        Ending::MapWrite(why) => Verdict::fail("bpf_map_write", why),
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

#[cfg(test)]
mod tests;
