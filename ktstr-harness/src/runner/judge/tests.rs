use std::time::Duration;

use ktstr_vmm::GuestActivity;

use super::*;
use crate::protocol::{Departure, KernelSeen};
use crate::{AssertResult, Checks};
use ktstr_core::record::CgroupStats;

const TEST: TestCase = TestCase::new(
    "t",
    crate::test::Location {
        file: "t.rs",
        line: 1,
    },
    |_| Ok(AssertResult::pass()),
);

fn verdict(end: &MachineEnd, console: &str, was_ready: bool) -> Verdict {
    super::verdict(&TEST, end, &diagnosis(end), console, was_ready)
}

fn diagnosis(end: &MachineEnd) -> Diagnosis {
    match end {
        MachineEnd::Reported(report) => Diagnosis::of_body(report),
        _ => Diagnosis::default(),
    }
}

/// Where the kernel has nothing to say against itself.
fn expect(test: &TestCase, verdict: Verdict) -> Verdict {
    super::expect(test, verdict, None, Verdict::pass())
}

/// After a run that ended so, with what the kernel has to say against itself.
fn expect_after(test: &TestCase, verdict: Verdict, end: &MachineEnd, kernel: Verdict) -> Verdict {
    super::expect(test, verdict, diagnosis(end).ejection(), kernel)
}

fn only_line(verdict: &Verdict) -> String {
    assert_eq!(verdict.outcome(), Outcome::Fail);
    assert_eq!(verdict.details().len(), 1);
    verdict.details()[0].to_string()
}

fn ended(ending: Ending, kernel_log: &str) -> MachineEnd {
    MachineEnd::Reported(Box::new(BodyReport {
        ending,
        kernel_log: kernel_log.to_owned(),
        scheduler: None,
        sampled: None,
        traced: None,
        probes: None,
        kernel: KernelSeen::default(),
        body_under_sched_ext: None,
    }))
}

fn gone(problem: SchedulerProblem, kernel_log: &str) -> MachineEnd {
    MachineEnd::Reported(Box::new(BodyReport {
        ending: Ending::SchedulerGone,
        kernel_log: kernel_log.to_owned(),
        scheduler: Some(scheduler(Some(problem), "")),
        sampled: None,
        traced: None,
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
    let log = "[1.0] sched_ext: BPF scheduler \"x\" disabled (unregistered from the main kernel)\n";
    let told = |problem: SchedulerProblem| {
        let report = SchedulerReport {
            hotplug: Some("CPU 1 went offline".to_owned()),
            ..scheduler(None, "up\nx: exit kind 66\n")
        };
        {
            let report = SchedulerReport {
                problem: Some(problem.clone()),
                ..report
            };
            let diagnosis = Diagnosis::of(log, Some(&report));
            only_line(&of_problem(&problem, &report, &diagnosis))
        }
    };
    let gone = SchedulerProblem::Gone(Departure::Exited(1));
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
    let told = only_line(&of_problem(
        &why,
        &scheduler(None, "no seccomp"),
        &Diagnosis::default(),
    ));
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
        SchedulerProblem::Gone(Departure::ProgramRuns),
        "[1.0] sched_ext: BPF scheduler \"x\" disabled (scx_bpf_error)\n[1.0] sched_ext: x: as asked\n",
    );
    let expecting = TestCase {
        expect_scx_bpf_error_contains: Some("as asked"),
        ..TEST
    };
    let warned = || Verdict::fail("kernel warning", "WARNING: CPU: 0");
    let ejected = verdict(&end, "", true);
    assert_eq!(
        expect_after(&expecting, ejected, &end, warned()).exit_code(),
        1
    );
    let failing = TestCase {
        expect_err: true,
        ..TEST
    };
    assert_eq!(
        super::expect(&failing, Verdict::pass(), None, warned()).exit_code(),
        0
    );
    assert_eq!(expect(&TEST, Verdict::skip("x")).outcome(), Outcome::Skip);
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
    let how = SchedulerProblem::Gone(Departure::Exited(1));
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
    let judged = |test: &TestCase, verdict| expect_after(test, verdict, &end, Verdict::pass());
    let ejected = verdict(&end, "", true);
    assert_eq!(
        judged(&expecting("asked to"), ejected.clone()).exit_code(),
        0
    );
    assert_eq!(judged(&expecting("other"), ejected).exit_code(), 1);
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
    assert!(only_line(&verdict(&MachineEnd::Halted, "", true)).contains("halted during the test"));
    assert!(
        only_line(&verdict(&MachineEnd::Gone, "", false)).contains("before the guest was ready")
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

#[test]
fn a_program_that_never_started_is_no_pass() {
    use crate::Payload;
    use ktstr_core::record::{ProgramEnd, ProgramRun};
    const BENCH: Payload = Payload {
        name: "bench",
        ..Payload::NONE
    };
    const LOAD: Payload = Payload {
        name: "load",
        ..BENCH
    };
    let test = TestCase {
        payload: Some(&BENCH),
        workloads: &[&LOAD],
        ..TEST
    };
    let judged = |result: AssertResult| {
        let mut verdict = result.verdict.clone();
        add_unstarted(&mut verdict, &test, &Ending::Returned(result));
        verdict
    };
    let ran = |name: &str| ProgramRun {
        name: name.to_owned(),
        end: ProgramEnd::Stopped,
        wall_s: 1.0,
        cpu_s: None,
        output_bytes: 0,
    };
    let one = judged(AssertResult {
        programs: vec![ran("bench")],
        ..AssertResult::pass()
    });
    assert_eq!(one.outcome(), Outcome::Inconclusive);
    assert_eq!(
        one.details()[0].to_string(),
        "workloads: the test never started load; execute_payload and Op::start do"
    );
    let both = judged(AssertResult {
        programs: vec![ran("load"), ran("bench")],
        ..AssertResult::pass()
    });
    assert_eq!(both, Verdict::pass());
    assert_eq!(judged(AssertResult::skip("x")).outcome(), Outcome::Skip);
    assert_eq!(judged(AssertResult::fail("x", "y")).details().len(), 1);
}

#[test]
fn a_machine_has_its_time_to_be_gone() {
    let test = TestCase {
        cleanup_budget_ms: Some(500),
        ..TEST
    };
    let second = Duration::from_secs(1);
    let judged = |test: &TestCase, reported, whole| {
        let times = RunTimes {
            waited: second,
            ready: Some(second),
            reported,
            whole,
        };
        let mut verdict = Verdict::pass();
        add_cleanup(&mut verdict, test, times);
        verdict
    };
    let late = judged(&test, Some(second), second * 2);
    assert_eq!(
        only_line(&late),
        "cleanup_budget_ms: 1000 > 500 in milliseconds from the report of the guest to the end of the machine"
    );
    let soon = judged(&test, Some(second), second + Duration::from_millis(500));
    assert_eq!(soon, Verdict::pass());
    assert_eq!(judged(&test, None, second * 9), Verdict::pass());
    assert_eq!(judged(&TEST, Some(second), second * 9), Verdict::pass());
}
