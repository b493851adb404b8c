//! Programs in real machines: `examples/programs.rs`.

#[path = "support/case.rs"]
mod case;
use case::Run;
use ktstr_core::Better;
use ktstr_core::record::{ProgramEnd, Sidecar};

fn run(name: &str) -> Run {
    case::run("programs", &format!("ktstr/{name}"), &[])
}

/// The record of a test that passed.
fn passed(name: &str) -> Sidecar {
    let mut run = run(name);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.sidecars
        .pop()
        .unwrap_or_else(|| panic!("{:?}", run.files))
}

#[test]
fn what_a_program_measures_is_recorded_with_what_it_is() {
    let record = passed("measures");
    assert_eq!(record.metrics["load.ops"], 120.0);
    assert_eq!(record.metrics["load.cpu_s"], 4.5);
    let [ops, cpu] = record.metric_definitions.as_slice() else {
        panic!("{record:?}")
    };
    assert_eq!(
        (ops.name.as_str(), ops.unit.as_str()),
        ("load.ops", "ops/s")
    );
    assert_eq!((ops.better, cpu.better), (Better::Higher, Better::Lower));
    assert_eq!((cpu.absolute_gate, cpu.relative_gate_pct), (0.5, 20.0));
    let [program] = record.programs.as_slice() else {
        panic!("{record:?}")
    };
    assert_eq!(
        (program.name.as_str(), program.end),
        ("load", ProgramEnd::Exited(0))
    );
    assert!(
        program.cpu_s.is_some_and(|seconds| seconds > 0.0),
        "{program:?}"
    );
    assert!(
        program.output_bytes > 40 && program.wall_s > 0.0,
        "{program:?}"
    );
    assert_eq!(passed("measures_in_json").metrics["other.ops"], 12.5);
    let told = passed("knows_its_test").metrics;
    assert_eq!((told["other.seconds"], told["other.cpus"]), (7.0, 2.0));
}

#[test]
fn a_bound_of_the_test_takes_the_place_of_the_declarations() {
    let run = run("is_too_slow");
    run.failed_with("load.ops: 120 < 121 in step 1 (programs)", None);
    assert_eq!(run.sidecars[0].metrics["load.ops"], 120.0);
}

#[test]
fn programs_run_beside_each_other_and_workers() {
    let record = passed("runs_beside_others");
    assert_eq!(record.cgroups[0].name, "workers");
    assert_eq!(record.cgroups[0].workers, 2);
    let ends: Vec<_> = record
        .programs
        .iter()
        .map(|it| (it.name.as_str(), it.end))
        .collect();
    assert_eq!(
        ends,
        [
            ("load", ProgramEnd::Exited(0)),
            ("other", ProgramEnd::Stopped)
        ]
    );
    let record = passed("runs_for_the_duration");
    assert_eq!(record.metrics["other.ops"], 9.0);
    assert!(record.programs[0].wall_s >= 5.0, "{:?}", record.programs);
    passed("leaves_a_child");
}

#[test]
fn any_amount_of_output_is_taken() {
    let record = passed("floods");
    assert_eq!(record.metrics["other.ops"], 7.0);
    assert_eq!(record.programs[0].output_bytes, 3000 * 1001 + 7);
}

#[test]
fn what_a_program_does_wrong_names_it_and_the_step() {
    let wait = "step 1 (programs), wait_for other: other: ";
    for (name, told) in [
        (
            "prints_garbage",
            "metric `ops`: no line begins with `ops` and a value; its output begins with `<html>nothing to see</html>`",
        ),
        (
            "prints_garbage_for_json",
            "metric `ops`: standard output is not JSON, in which `/runs/0/ops` is looked for (",
        ),
        (
            "exits_with_another_code",
            "exited with status 3, and should have with 0; it said last: error: no such device",
        ),
        (
            "crashes",
            "was killed by signal 11 (SIGSEGV); it said last: about to",
        ),
        (
            "hangs",
            "still ran after 1 s and was killed with its 3 processes; it said last: waiting; raise its time_limit_s",
        ),
    ] {
        let run = run(name);
        run.failed_with(&format!("error: {wait}{told}"), None);
    }
    let run = run("crashes_while_a_step_holds");
    run.failed_with(
        "step 2 (work), hold: other: was killed by signal 11 (SIGSEGV)",
        None,
    );
}

#[test]
fn one_that_is_missing_is_told_before_anything_boots() {
    let missing = "other: `no-such-program` is not in the search path (PATH); install it";
    let failed = run("is_missing");
    failed.failed_with(
        &format!("payload: {missing}, or declare it with skip_if_missing"),
        None,
    );
    assert!(failed.sidecars[0].machine.is_none());
    let skipped = run("is_missing_and_may_be");
    assert_eq!(skipped.code, 0, "{}", skipped.stderr);
    let line = format!("ktstr: SKIP: payload: {missing}\n");
    assert!(skipped.stderr.contains(&line), "{}", skipped.stderr);
}

#[test]
fn one_that_is_declared_and_not_started_is_no_pass() {
    let run = run("is_never_started");
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(
        run.stderr.contains("payload: the test never started load"),
        "{}",
        run.stderr
    );
    let run = self::run("declares_none");
    run.failed_with("execute_payload: the test declares no program", None);
}

#[test]
fn steps_start_change_await_and_end_programs() {
    let record = passed("steps_with_programs");
    let ends: Vec<_> = record
        .programs
        .iter()
        .map(|it| (it.name.as_str(), it.end))
        .collect();
    let (load, stopped) = (
        ("load", ProgramEnd::Exited(0)),
        ("other", ProgramEnd::Stopped),
    );
    assert_eq!(ends[..2], [stopped, load]);
    // At least one round of the last step, and what was still running at its end.
    assert!(ends.len() >= 4 && ends.last() == Some(&stopped), "{ends:?}");
}

#[test]
fn the_host_looks_at_the_run_when_it_is_over() {
    let run = run("is_looked_at_afterwards");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.files.iter().any(|name| name == "seen"),
        "{:?}",
        run.files
    );
    let run = self::run("is_found_wrong_afterwards");
    run.failed_with("post_vm: the test ended as pass, which is odd", None);
}
