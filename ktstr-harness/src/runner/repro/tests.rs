use ktstr_core::Outcome;
use proptest::prelude::*;

use super::*;
use crate::protocol::{Ending, KernelSeen, SchedulerReport};
use crate::test::Location;
use crate::{AssertResult, TestCase};

const ENQUEUE: usize = 2;

/// The log of an ejection from `ops.enqueue`, or of a stall of `spin[57]`.
const ERROR: &str = "\
[    2.4] sched_ext: BPF scheduler \"x\" disabled (scx_bpf_error)
[    2.4] sched_ext: x: asked to fail
[    2.4]    scx_bpf_error_bstr+0x66/0x80
[    2.4]    bpf_prog_784715a8ce3085ca_x_enqueue+0xbb/0xe7
[    2.4]    bpf__sched_ext_ops_enqueue+0x4f/0xb3
[    2.4]    do_enqueue_task+0xa3/0x170
[    2.4]    check_rq_for_timeouts+0x1/0x2
";
const STALL: &str = "\
[    9.3] sched_ext: BPF scheduler \"x\" disabled (runnable task stall)
[    9.3] sched_ext: x: spin[57] failed to run for 5.004s
[    9.3]    scx_watchdog_workfn+0x5d/0x90
";

fn gone(how: Departure, kernel_log: &str) -> BodyReport {
    BodyReport {
        ending: Ending::SchedulerGone,
        kernel_log: kernel_log.to_owned(),
        scheduler: Some(SchedulerReport {
            problem: Some(SchedulerProblem::Gone(how)),
            log: String::new(),
            dump: String::new(),
            partial: false,
            rejected: 0,
            restarts: 0,
            hotplug: None,
        }),
        sampled: None,
        traced: None,
        probes: None,
        kernel: KernelSeen::default(),
        body_under_sched_ext: None,
    }
}

const EXITED: Departure = Departure::Exited(1);
const KILLED: Departure = Departure::Killed { signal: 11 };

fn exit_of(report: &BodyReport) -> Option<SchedulerExit> {
    SchedulerExit::of(report, &Diagnosis::of_body(report))
}

fn death(how: Departure, log: &str) -> SchedulerExit {
    exit_of(&gone(how, log)).expect("an exit")
}

fn line(at: &str, event: &str, fields: &str) -> String {
    format!("      spin-9       [001] d.s51     {at}: {event}: (f+0x4/0xb0) {fields}\n")
}

fn task(pid: i32, cpu: u32, slice: u64) -> String {
    format!("pid={pid} cpu={cpu} slice={slice} vtime=7 flags=0x309 name=\"spin\"")
}

/// Two calls of `do_enqueue_task`; the second ends in the error, and returns after it.
fn recording() -> String {
    let [enter, leave] = [format!("e{ENQUEUE}"), format!("r{ENQUEUE}")];
    [
        line("4.100000", &enter, &task(57, 0, 5)),
        line("4.100010", &leave, &task(57, 0, 5)),
        line(
            "4.200000",
            &enter,
            &format!("enq_flags=0x9 {}", task(57, 1, 5)),
        ),
        line("4.200100", "exit", "kind=1025 code=0"),
        line("4.200200", &leave, &task(57, 1, 20_000_000)),
        line("4.200300", "stop0", ""),
    ]
    .concat()
}

fn watched(how: Departure, log: &str, plan: &ProbePlan, trace: String) -> BodyReport {
    let armed = plan.functions.iter().map(|function| {
        let name = function.names.last().cloned();
        name.filter(|name| name != "check_rq_for_timeouts")
    });
    let probes = ProbeReport {
        armed: armed.collect(),
        callbacks: vec!["enqueue".to_owned()],
        scheduler_pid: Some(33),
        trace,
        ..ProbeReport::default()
    };
    BodyReport {
        probes: Some(Box::new(probes)),
        ..gone(how, log)
    }
}

fn compared(first: &SchedulerExit, again: &BodyReport) -> AutoRepro {
    compared_with(
        first,
        &first.plan("steady"),
        again,
        &Verdict::fail("c", "m"),
    )
}

fn compared_with(
    first: &SchedulerExit,
    plan: &ProbePlan,
    again: &BodyReport,
    verdict: &Verdict,
) -> AutoRepro {
    compare(first, plan, again, &Diagnosis::of_body(again), verdict)
}

#[test]
fn the_failing_callback_is_shown_before_and_after() {
    let first = death(EXITED, ERROR);
    let plan = first.plan("steady");
    assert_eq!(plan.functions[ENQUEUE].names, ["do_enqueue_task"]);
    let repro = compared(&first, &watched(EXITED, ERROR, &plan, recording()));
    assert_eq!(repro.outcome, "reproduced");
    let expected = "\
reproduced: SCX_EXIT_ERROR_BPF (scx_bpf_error): asked to fail
ops.enqueue failed for spin[57], called by do_enqueue_task on CPU 1:
                             before                  after
  pid                            57                     57
  cpu                             1                      1
  slice ns                        5               20000000 *
  dsq_vtime                       7                      7
  flags                0x309 QUEUED           0x309 QUEUED
calls about spin[57] up to the end, * changed
ms to end cpu  function > callback                task's   slice ns      after
 -100.100   1  do_enqueue_task > enqueue               0          5          5
   -0.100   1 >do_enqueue_task > enqueue               1          5   20000000*
                  enq_flags=0x9
not recorded, as this kernel lets nobody probe them: check_rq_for_timeouts
";
    assert_eq!(repro.text, expected);
    assert_eq!(repro.whole, repro.text);
}

#[test]
fn a_stall_is_told_by_the_last_callback_of_its_task() {
    let first = death(EXITED, STALL);
    let plan = first.plan("steady");
    // Nothing of the calls before the error is under way when a watchdog raises it.
    let trace = recording().replace("kind=1025", "kind=64");
    let repro = compared(&first, &watched(EXITED, STALL, &plan, trace));
    for part in [
        "last callback for spin[57]: ops.enqueue, called by do_enqueue_task on CPU 1:\n",
        "only calls about tasks called init, program, spin, steady were recorded\n",
    ] {
        assert!(repro.text.contains(part), "no {part} in {}", repro.text);
    }
}

#[test]
fn long_trails_are_cut_for_people_and_repetitions_counted() {
    let first = death(EXITED, ERROR);
    let plan = first.plan("steady");
    let [enter, leave] = [format!("e{ENQUEUE}"), format!("r{ENQUEUE}")];
    let call = |n: u64| {
        let flags = if n.is_multiple_of(10) {
            format!("enq_flags={n:#x}1 ")
        } else {
            String::new()
        };
        let at = format!("3.{n:06}");
        line(&at, &enter, &format!("{flags}{}", task(57, 1, n)))
            + &line(&at, &leave, &task(57, 1, n + 1))
    };
    let trace = (0..5000).map(call).collect::<String>() + &recording();
    let repro = compared(&first, &watched(EXITED, ERROR, &plan, trace));
    assert!(repro.text.lines().count() < 55, "{}", repro.text);
    assert!(repro.text.contains("lines more in the failure dump)"));
    assert!(
        repro.text.contains("do_enqueue_task > enqueue x9 "),
        "{}",
        repro.text
    );
    assert!(
        repro.text.lines().skip(1).all(|line| line.len() <= 80),
        "{}",
        repro.text
    );
    let lines = repro.whole.lines().count();
    assert!((1000..4100).contains(&lines), "{lines}");
}

#[test]
fn what_does_not_happen_again_is_told() {
    let first = death(EXITED, ERROR);
    let plan = first.plan("steady");
    let passed = BodyReport {
        ending: Ending::Returned(AssertResult::pass()),
        scheduler: None,
        ..gone(Departure::ProgramRuns, "")
    };
    let repro = compared_with(&first, &plan, &passed, &Verdict::pass());
    assert_eq!(repro.text, "not reproduced: the second run passed");
    let repro = compared_with(
        &first,
        &plan,
        &passed,
        &Verdict::fail("max_gap_ms", "9 > 5"),
    );
    assert_eq!(
        repro.outcome,
        "not reproduced: the second run ended otherwise (fail): max_gap_ms: 9 > 5"
    );
    for (first, again) in [
        (death(EXITED, ERROR), gone(EXITED, STALL)),
        (death(EXITED, ERROR), gone(KILLED, "")),
        (death(KILLED, ""), gone(Departure::Killed { signal: 6 }, "")),
    ] {
        let repro = compared(&first, &again);
        assert!(
            repro
                .outcome
                .starts_with("not reproduced: the second run ended by "),
            "{repro:?}"
        );
    }
}

#[test]
fn runs_without_a_recording_say_why() {
    let repro = could_not_run(&Verdict::skip("no place"), "");
    assert!(repro.text.starts_with("could not run: ") && repro.text.contains("no place"));
    let first = death(EXITED, ERROR);
    let mut again = watched(EXITED, ERROR, &first.plan("steady"), String::new());
    let repro = compared(&first, &again);
    assert_eq!(repro.outcome, "reproduced");
    assert!(repro.text.contains("no call about the task"), "{repro:?}");
    let probes = again.probes.as_mut().unwrap();
    probes.problem = Some("this kernel has no probe events".to_owned());
    let repro = compared(&first, &again);
    assert!(
        repro
            .text
            .ends_with("nothing was recorded: this kernel has no probe events")
    );
}

#[test]
fn only_deaths_are_looked_into() {
    let of = |problem| {
        let mut report = gone(Departure::ProgramRuns, "");
        report.scheduler.as_mut().unwrap().problem = problem;
        exit_of(&report)
    };
    let why = || "why".to_owned();
    assert_eq!(of(None), None);
    assert_eq!(of(Some(SchedulerProblem::NotStarted(why()))), None);
    assert_eq!(of(Some(SchedulerProblem::NotEnabled(why()))), None);
    assert_eq!(of(Some(SchedulerProblem::Gone(EXITED))), None);
    assert!(of(Some(SchedulerProblem::Gone(KILLED))).is_some());
    assert!(exit_of(&gone(EXITED, ERROR)).is_some());
}

#[test]
fn only_unexpected_failures_are_run_again() {
    let location = Location {
        file: "t.rs",
        line: 1,
    };
    let test = TestCase::new("t", location, |_| Ok(AssertResult::pass()));
    let failed = Verdict::fail("c", "m");
    assert!(is_wanted(&test, &failed));
    assert!(!is_wanted(&test, &Verdict::pass()));
    for quiet in [
        TestCase {
            auto_repro: false,
            ..test
        },
        TestCase {
            expect_err: true,
            ..test
        },
    ] {
        assert!(!is_wanted(&quiet, &failed));
    }
    assert_eq!(failed.outcome(), Outcome::Fail);
}

proptest! {
    #[test]
    fn any_recording_is_told_of(noise in ".{0,300}", cut in 0..400_usize, pid in any::<i32>(), slice in any::<u64>()) {
        let first = death(EXITED, ERROR);
        let plan = first.plan("steady");
        let whole = recording().replace("pid=57", &format!("pid={pid}")).replace("slice=5 ", &format!("slice={slice} "));
        let kept: String = whole.chars().take(cut).collect();
        for trace in [noise.clone(), kept.clone() + &noise, noise + &whole + &kept] {
            let mut again = watched(EXITED, ERROR, &plan, trace);
            prop_assert_eq!(compared(&first, &again).outcome, "reproduced");
            again.probes.as_mut().unwrap().armed.clear();
            let _ = compared(&first, &again);
        }
    }
}
