//! Steps without cgroups of a kernel: what a plan refuses, and what is judged.

use std::time::Duration;

use ktstr_core::{Outcome, Topology};

use super::plan::Plan;
use super::programs::Programs;
use super::run::Finished;
use super::{Hold, Op, Step, judged};
use crate::Checks;
use crate::cgroup::{CgroupDef, CpusetSpec};
use crate::check::CgroupRun;
use crate::payload::Payload;
use crate::workload::{Affinity, Policy, WorkType, WorkerEnd, WorkerReport, WorkerRun};

const MACHINE: Topology = Topology::constant(1, 2, 2, 1);
const SECOND: Duration = Duration::from_secs(1);

fn def(name: &str) -> CgroupDef {
    CgroupDef::named(name)
}

/// What is wrong with `steps`, beside a cgroup `a` of two workers; empty where nothing is.
fn fault(steps: &[Step]) -> String {
    match Plan::new(&[def("a")], steps, MACHINE.into(), 10 * SECOND, &["p", "q"]) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn one(op: Op) -> Vec<Step> {
    vec![Step::new("s").op(op)]
}

#[test]
fn steps_that_make_no_sense_name_the_step_the_operation_and_what_is_wrong() {
    let ms = Duration::from_millis;
    for (op, expected) in [
        (
            Op::set_nice("b", 0),
            "set_nice b 0: there is no cgroup `b` then; there are /, a",
        ),
        (Op::set_nice("a", 20), "the nice value is 20; use -20 to 19"),
        (Op::set_weight("a", 0), "the weight is 0; use 1 to 10000"),
        (
            Op::set_weight("/", 5),
            "the root cgroup has no such setting",
        ),
        (
            Op::set_cpuset("a", CpusetSpec::Range(2..=4)),
            "set_cpuset a Range(2..=4): cpuset",
        ),
        (Op::set_cpuset("a", CpusetSpec::Llc(2)), "no LLC 2"),
        (
            Op::set_affinity("a", Affinity::Cpu(4)),
            "CPUs 4 are not all on 1n2l2c1t",
        ),
        (
            Op::set_policy("a", Policy::Fifo(100)),
            "its priority is not from 1 to 99",
        ),
        (Op::set_uclamp("a", 50, 20), "the clamp is 50% to 20%"),
        (
            Op::set_quota("a", ms(0), ms(100)),
            "the quota is 0ns in 100ms",
        ),
        (Op::set_memory_node("a", 1), "the node is 1"),
        (Op::offline(4), "no CPU 4 on 1n2l2c1t; use 0 to 3"),
        (Op::stop("a", 3), "`a` has 2 workers then, not 3"),
        (Op::move_some("a", "/", 3), "`a` has 2 workers then, not 3"),
        (Op::move_all("a", "b"), "no cgroup `b`"),
        (Op::spawn("a", 0, WorkType::Spin), "0 workers"),
        (Op::spawn("a", 10_000, WorkType::Spin), "10000 workers"),
        (Op::spawn("a", 1, WorkType::FutexPingPong), "cannot pair up"),
        (
            Op::spawn("a", 6, WorkType::wake_chain()),
            "6 workers are no teams of 4; use a multiple of 4",
        ),
        (
            Op::spawn_in_root(1, WorkType::cgroup_attach_storm()),
            "it needs a cgroup of its own",
        ),
        (
            Op::spawn("a", 1, WorkType::PageFaults { pages: 0 }),
            "pages is 0; use 1 to 16384",
        ),
        (Op::add_cgroup(def("a")), "there is a cgroup `a` already"),
        (Op::add_cgroup(def("b/c")), "no cgroup `b`"),
        (Op::add_cgroup(def("a//c")), "is empty"),
        (Op::remove_cgroup("/"), "the root cgroup"),
    ] {
        let told = fault(&one(op));
        assert!(told.starts_with("step 1 (s), "), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn what_steps_leave_behind_is_what_the_next_ones_find() {
    let fine = [
        Step::new("grow")
            .setup(def("b").workers(4))
            .op(Op::add_cgroup(def("b/c")))
            .hold(Hold::For(SECOND)),
        Step::new("shift")
            .op(Op::move_all("b", "a"))
            .op(Op::stop("a", 6))
            .op(Op::set_workers("b/c", 5))
            .op(Op::spawn_in_root(1, WorkType::Yield))
            .op(Op::move_some("/", "a", 1))
            .hold(Hold::Share(0.5)),
        Step::new("shrink")
            .op(Op::remove_cgroup("b/c"))
            .op(Op::remove_cgroup("b"))
            .hold(Hold::Share(0.5)),
    ];
    assert_eq!(fault(&fine), "");
    let inner = [fine[0].clone(), Step::new("x").op(Op::remove_cgroup("b"))];
    assert!(fault(&inner).contains("`b` still has a cgroup within it, `b/c`"));
    let gone = [
        &fine[..],
        &[Step::new("x")
            .op(Op::set_nice("b", 1))
            .hold(Hold::For(SECOND))],
    ]
    .concat();
    assert!(fault(&gone).starts_with("step 4 (x), set_nice b 1: there is no cgroup `b`"));
}

#[test]
fn programs_run_from_a_start_to_an_end() {
    const P: Payload = Payload {
        name: "p",
        ..Payload::NONE
    };
    let other = Payload { name: "x", ..P };
    let step = || Step::new("s");
    let weight = Op::set_weight("p", 5);
    let fine = step()
        .op(Op::start(&P))
        .op(weight.clone())
        .op(Op::kill(&P))
        .op(Op::start(&P))
        .op(Op::wait_for(&P));
    assert_eq!(fault(std::slice::from_ref(&fine)), "");
    let every = Duration::from_millis(10);
    let repeated = fine.hold(Hold::Repeat { every, share: 1.0 });
    assert_eq!(fault(&[repeated]), "");
    for (ops, expected) in [
        (
            vec![Op::start(&other)],
            "start x: the test does not declare the program `x`; name it in `payload` or `workloads`, which have p, q",
        ),
        (
            vec![Op::start(&P), Op::start(&P)],
            "start p: the program `p` runs then; wait for it",
        ),
        (
            vec![Op::add_cgroup(def("p")), Op::start(&P)],
            "there is a cgroup `p` already",
        ),
        (
            vec![Op::kill(&P)],
            "kill p: the program `p` does not run then",
        ),
        (
            vec![Op::wait_for(&P)],
            "wait_for p: the program `p` does not run then; start it first",
        ),
        (
            vec![Op::start(&P), Op::kill(&P), weight],
            "there is no cgroup `p` then",
        ),
        (
            vec![Op::start(&P), Op::remove_cgroup("p")],
            "remove_cgroup p: the program `p` runs then",
        ),
    ] {
        let step = ops.into_iter().fold(step(), Step::op);
        let told = fault(&[step]);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn what_is_repeated_must_be_possible_twice() {
    let every = Duration::from_millis(10);
    let churn = |ops: [Op; 2]| {
        let [one, other] = ops;
        fault(&[Step::new("churn")
            .op(one)
            .op(other)
            .hold(Hold::Repeat { every, share: 1.0 })])
    };
    assert_eq!(
        churn([Op::add_cgroup(def("b")), Op::remove_cgroup("b")]),
        ""
    );
    let twice = churn([Op::add_cgroup(def("b")), Op::set_nice("b", 1)]);
    assert!(twice.contains("there is a cgroup `b` already"), "{twice}");
    let round = Hold::Repeat {
        every: Duration::ZERO,
        share: 1.0,
    };
    assert!(fault(&[Step::new("s").hold(round)]).contains("1 ms at least"));
}

#[test]
fn times_and_numbers_have_bounds() {
    for share in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
        assert!(fault(&[Step::new("s").hold(Hold::Share(share))]).contains("above 0"));
    }
    let third = || Step::new("s").hold(Hold::Share(1.0 / 3.0));
    assert_eq!(fault(&[third(), third(), third()]), "");
    let more = [third(), third(), third(), third()];
    assert!(fault(&more).contains("shares of the steps come to 1.333"));
    let long = fault(&[Step::new("s").hold(Hold::For(31 * SECOND))]);
    assert!(
        long.contains("the steps take 31s, and a test of 10s may take 30s"),
        "{long}"
    );
    assert!(fault(&[]).contains("has no steps"));
    assert!(
        fault(&vec![Step::new("s").hold(Hold::For(Duration::ZERO)); 257]).contains("257 steps")
    );
    let many = def("many").workers(4096);
    assert!(fault(&[Step::new("s").setup(many)]).contains("4098 workers at once"));
}

#[test]
fn what_the_kernel_must_refuse_may_make_no_sense() {
    let cpus = CpusetSpec::Range(7..=9);
    assert_eq!(
        fault(&one(Op::set_cpuset("a", cpus).refused_with(libc::EINVAL))),
        ""
    );
    let unknown = Op::set_weight("b", 0).refused_with(libc::EINVAL);
    assert!(fault(&one(unknown)).contains("no cgroup `b`"));
}

#[test]
fn a_failure_says_in_which_step() {
    let run = |gap_ms: u64| CgroupRun {
        name: "a".to_owned(),
        workers: vec![WorkerRun {
            worker: 0,
            pid: 7,
            iterations: 1,
            end: WorkerEnd::Reported(WorkerReport {
                iterations: 1,
                wall_ns: 1,
                max_gap_ns: gap_ms * 1_000_000,
                ..WorkerReport::default()
            }),
        }],
        ..CgroupRun::default()
    };
    let checks = Checks {
        max_gap_ms: Some(100),
        ..Checks::NONE
    };
    let steps = [
        Step::new("wide").check(checks),
        Step::new("narrow").check(checks),
    ];
    let finished = Finished {
        programs: Programs::default(),
        whole: vec![run(300)],
        of_steps: vec![(0, vec![run(50)]), (1, vec![run(300)])],
    };
    let result = judged(&Checks::NONE, &steps, finished);
    assert_eq!(result.verdict.outcome(), Outcome::Fail);
    let [detail] = result.verdict.details() else {
        panic!("{result:?}")
    };
    assert!(detail.message.ends_with(" in step 2 (narrow)"), "{detail}");
    assert_eq!(result.cgroups.len(), 1);
}

#[test]
fn a_check_of_the_whole_test_is_no_check_of_a_step() {
    for checks in [
        Checks {
            max_wasted_ms: Some(5.0),
            ..Checks::NONE
        },
        Checks {
            max_imbalance_ratio: Some(2.0),
            ..Checks::NONE
        },
    ] {
        let fault = fault(&[Step::new("s").check(checks)]);
        assert!(
            fault.contains(" is judged over the whole test; "),
            "{fault}"
        );
    }
}
