//! Scenarios in steps, in real machines: `examples/steps.rs`.

#[path = "support/case.rs"]
mod case;
use case::Run;

fn run(name: &str) -> Run {
    case::run("steps", &format!("ktstr/{name}"), &[])
}

#[test]
fn operations_reach_the_kernel() {
    let run = run("operations_reach_the_kernel");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let [sidecar] = run.sidecars.as_slice() else {
        panic!("{:?}", run.files)
    };
    let names: Vec<&str> = sidecar.cgroups.iter().map(|it| it.name.as_str()).collect();
    for name in ["background", "a", "b", "/", "outer/inner", "coming"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn nothing_is_left_of_one_that_failed_in_the_middle() {
    let run = run("nothing_is_left");
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_failure_names_its_step_alone() {
    let run = run("a_frozen_step_is_seen");
    assert_eq!(run.code, 1, "{}", run.stderr);
    let verdict = &run.sidecars[0].verdict;
    let [detail] = verdict.details() else {
        panic!("{verdict:?}")
    };
    assert_eq!(detail.check, "not_stuck");
    assert!(
        detail
            .message
            .starts_with("0 iterations < 1 within 3.0 s in cgroup a, worker 0")
    );
    assert!(detail.message.ends_with(" in step 2 (frozen)"), "{detail}");
}

#[test]
fn what_cannot_be_done_names_step_and_operation() {
    for (name, words) in [
        (
            "the_kernel_refuses",
            "step 1 (narrow), set_affinity a Cpu(1): worker 0 of a (pid ",
        ),
        (
            "the_kernel_does_not_refuse",
            "step 1 (nice), set_nice a 5: the kernel did it, and should have refused it with Operation not permitted",
        ),
        (
            "makes_no_sense",
            "step 1 (first), set_nice nobody 5: there is no cgroup `nobody` then; there are /",
        ),
    ] {
        let run = run(name);
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.contains(words), "{name}: {}", run.stderr);
    }
}
