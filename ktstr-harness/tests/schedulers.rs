//! Tests under the kernel's own sched_ext schedulers, through real machines: loaded, judged, explained.
//!
//! The tests that run under them are in `examples/schedulers.rs`. `KTSTR_TEST_SCHEDULERS` is the directory of
//! `scx_simple` and its kin, which `make test` builds (`scripts/kernel-schedulers`); without it these tests are
//! skipped.

use std::path::{Path, PathBuf};

use ktstr_core::Outcome;
use ktstr_core::record::Reading;

#[path = "support/case.rs"]
mod case;
use case::Run;

fn programs() -> Option<PathBuf> {
    let dir = std::env::var_os("KTSTR_TEST_SCHEDULERS").filter(|dir| !dir.is_empty());
    if dir.is_none() {
        eprintln!(
            "SKIP: KTSTR_TEST_SCHEDULERS is not set; `make test` builds the schedulers and sets it"
        );
    }
    dir.map(PathBuf::from)
}

fn run(name: &str, scheduler: &Path) -> Run {
    let scheduler = scheduler.to_str().expect("a plain path");
    case::run(
        "schedulers",
        &format!("ktstr/{name}"),
        &[("KTSTR_SCHEDULER", scheduler)],
    )
}

/// What is wrong with the `scx_flatcg` of 6.12 shows in one run of five here, and must be told as that.
const FLATCG_BUGS: &[&str] = &[
    // A task stays on its fallback queue and no CPU is awake to take it.
    "waiting for",
    // A cgroup goes while a task is still on its queue: `fcg_cgroup_exit` destroys it regardless.
    "attempting to destroy in-use dsq",
    // A cgroup's node is lost between two CPUs that race for it, and with it the tasks on the cgroup's queue.
    "SCX_EXIT_ERROR_STALL (runnable task stall)",
];

#[test]
fn the_kernels_own_schedulers_run_a_scenario() {
    let Some(programs) = programs() else { return };
    for name in ["scx_simple", "scx_qmap", "scx_flatcg"] {
        let run = run("steady", &programs.join(name));
        if name == "scx_flatcg" && run.code != 0 {
            let top = run.first_lines(3);
            let is_known = FLATCG_BUGS.iter().any(|bug| top.contains(bug));
            assert!(is_known, "{}", run.stderr);
            continue;
        }
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        let sidecar = &run.sidecars[0];
        assert_eq!(sidecar.scheduler, "given");
        assert_eq!(sidecar.cgroups.len(), 2);
        // They do schedule: nobody starved.
        assert!(
            sidecar.cgroups.iter().all(|cgroup| cgroup.iterations > 0),
            "{sidecar:?}"
        );
    }
}

#[test]
fn one_queue_for_all_conserves_work() {
    let Some(programs) = programs() else { return };
    let run = run("conserves_work", &programs.join("scx_simple"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let sidecar = &run.sidecars[0];
    let Some(Reading::Read(traced)) = &sidecar.traced else {
        panic!("{:?}", sidecar.traced)
    };
    assert!(traced.switches > 0 && traced.lost == 0, "{traced:?}");
    assert!(
        sidecar.metrics.contains_key("wasted_ms"),
        "{:?}",
        sidecar.metrics
    );
}

#[test]
fn an_error_of_the_scheduler_is_told_in_its_words() {
    let Some(programs) = programs() else { return };
    let qmap = programs.join("scx_qmap");
    let failed = run("qmap_gives_up", &qmap);
    failed.failed_with(
        "scheduler: the kernel ejected it: SCX_EXIT_ERROR_BPF (scx_bpf_error): test triggering error",
        Some("disabled (scx_bpf_error)"),
    );
    let summary =
        "BUG SUMMARY: SCX_EXIT_ERROR_BPF (scx_bpf_error)\nktstr_test 'qmap_gives_up' [sched=given]";
    assert!(failed.stderr.contains(summary), "{}", failed.stderr);
    for section in ["--- scheduler log ---", "--- sched_ext dump ---"] {
        assert!(
            failed.stderr.contains(section),
            "no {section} in {}",
            failed.stderr
        );
    }
    let repro = failed.auto_repro();
    assert!(
        repro.starts_with("reproduced: SCX_EXIT_ERROR_BPF (scx_bpf_error): test triggering error\nops.enqueue failed for "),
        "{repro}"
    );
    let marked = |line: &str| line.contains(" >") && line.contains("do_enqueue_task > enqueue");
    assert!(repro.lines().any(marked), "{repro}");
    let expected = run("qmap_gives_up_as_declared", &qmap);
    assert_eq!(
        (expected.code, &expected.sidecars[0].auto_repro),
        (0, &None)
    );
    let other = run("qmap_gives_up_for_another_reason", &qmap);
    other.failed_with(
        "expect_scx_bpf_error_contains: the scheduler was not ejected with",
        None,
    );
}

#[test]
fn a_stall_is_told_with_the_task_that_waits() {
    let Some(programs) = programs() else { return };
    let run = run("qmap_stalls", &programs.join("scx_qmap"));
    run.failed_with(
        "SCX_EXIT_ERROR_STALL (runnable task stall): ",
        Some("failed to run for"),
    );
    assert_eq!(run.sidecars[0].verdict.outcome(), Outcome::Fail);
    let repro = run.auto_repro();
    assert!(repro.contains("\nlast callback for "), "{repro}");
    assert!(
        repro.contains(": ops.enqueue, called by do_enqueue_task on CPU "),
        "{repro}"
    );
    // It does not wait for the end of its two minutes once the scheduler is gone.
    let scenario_s = run.sidecars[0].timings.scenario_s.expect("it began");
    assert!(scenario_s < 120.0, "{scenario_s}");
}

#[test]
fn a_scheduler_that_takes_only_who_asks_for_it_gets_the_workers() {
    let Some(programs) = programs() else { return };
    let qmap = programs.join("scx_qmap");
    let in_part = run("qmap_in_part", &qmap);
    assert_eq!(in_part.code, 0, "{}", in_part.stderr);
    let groups = &in_part.sidecars[0].cgroups;
    assert!(
        groups.len() == 2 && groups.iter().all(|g| g.under_sched_ext == Some(g.workers)),
        "{groups:?}"
    );
    let alone = run("qmap_in_part_without_workers", &qmap);
    assert_eq!(alone.code, 0, "{}", alone.stderr);
    for (name, why) in [
        ("escapes_from_qmap", "scheduler: no worker ran under given"),
        (
            "escapes_from_qmap_without_workers",
            "scheduler: the test did not run under given, which takes only tasks under SCHED_EXT",
        ),
    ] {
        let escaped = run(name, &qmap);
        assert_eq!(escaped.code, 2, "{}", escaped.stderr);
        assert!(escaped.first_lines(3).contains(why), "{}", escaped.stderr);
    }
}

#[test]
fn a_restart_for_cpu_hotplug_is_told_or_allowed() {
    let Some(programs) = programs() else { return };
    let simple = programs.join("scx_simple");
    let ended = run("switches_a_cpu_off", &simple);
    ended.failed_with(
        "scheduler: the kernel ended it: SCX_EXIT_UNREG_KERN (unregistered from the main kernel): CPU 1 went offline; \
         its program started it again, and the test does not say `allow_restarts`",
        Some("disabled (unregistered from the main kernel)"),
    );
    let summary = "BUG SUMMARY: SCX_EXIT_UNREG_KERN (unregistered from the main kernel)\n";
    assert!(ended.stderr.contains(summary), "{}", ended.stderr);
    let allowed = run("switches_a_cpu_off_and_may", &simple);
    assert_eq!(allowed.code, 0, "{}", allowed.stderr);
    let restarts = allowed.sidecars[0].scheduler_restarts;
    assert!(restarts >= 1, "{restarts}");
}

#[test]
fn files_that_are_no_programs_are_told_before_anything_boots() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\nexec scx_simple\n").unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    for (path, why) in [
        (
            script.as_path(),
            "is a script (#!/bin/sh), and its interpreter is not in the machine",
        ),
        (&empty, "is empty; build it again"),
        (
            dir.path(),
            "is a directory; give the path of the program in it",
        ),
    ] {
        let run = run("steady", path);
        run.failed_with(&format!("scheduler: given: {} {why}", path.display()), None);
        // No machine ran.
        assert_eq!(run.sidecars[0].timings.boot_s, None);
    }
}

#[test]
fn programs_that_are_no_schedulers_are_told() {
    let none = Path::new("/nonexistent/program");
    let run_under = |name: &str| run(name, none);
    run_under("steady").failed_with("given: no program at /nonexistent/program", None);
    run_under("without_a_program").failed_with("nowhere: no program at ", None);
    run_under("with_a_program_that_schedules_nothing").failed_with(
        "exited with status 0 before the kernel enabled it",
        Some("the test starts"),
    );
    run_under("with_a_builtin_that_fails").failed_with(
        "it could not be started: `exit 3` exited with status 3",
        None,
    );
}

#[test]
fn a_configuration_is_where_the_scheduler_looks() {
    let run = run("with_a_configuration", Path::new("/nonexistent"));
    run.failed_with("exited with status 4", None);
    assert!(run.stderr.contains("found slice=5\n"), "{}", run.stderr);
}

#[test]
fn counters_that_the_kernel_lacks_are_no_zeros() {
    let Some(programs) = programs() else { return };
    let run = run("counted", &programs.join("scx_simple"));
    // `/sys/kernel/sched_ext/root/events` came with 6.15.
    let version = run.sidecars[0].kernel_version.as_deref().expect("a kernel");
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let has_counters = (numbers.next(), numbers.next()) >= (Some(6), Some(15));
    assert_eq!(run.code, if has_counters { 0 } else { 2 }, "{}", run.stderr);
    let metrics = &run.sidecars[0].metrics;
    assert_eq!(metrics.contains_key("fallbacks_per_second"), has_counters);
    assert!(metrics.contains_key("local_dsq_depth"), "{metrics:?}");
}

#[test]
fn a_package_that_cannot_be_built_is_told() {
    let run = case::run("schedulers", "ktstr/steady", &[]);
    run.failed_with(
        "`cargo build -p no-such-package --profile release` failed: error",
        None,
    );
}

#[test]
fn what_happens_only_once_is_told_as_that() {
    let Some(programs) = programs() else { return };
    let run = run("dies_unless_watched", &programs.join("scx_simple"));
    run.failed_with("its program was killed by signal 11", None);
    assert_eq!(
        run.auto_repro().trim_end(),
        "not reproduced: the second run passed"
    );
}

#[test]
fn a_second_run_can_be_switched_off() {
    let Some(programs) = programs() else { return };
    let scheduler = programs.join("scx_simple");
    let verbose = [
        ("KTSTR_SCHEDULER", scheduler.to_str().expect("a plain path")),
        ("KTSTR_VERBOSE", "1"),
    ];
    for (name, machines) in [
        ("dies_and_is_not_looked_into", 1),
        ("dies_unless_watched", 2),
    ] {
        let run = case::run("schedulers", &format!("ktstr/{name}"), &verbose);
        let boots = run.stderr.matches("] Linux version ").count();
        assert_eq!(boots, machines, "{name}: {}", run.stderr);
        assert_eq!(run.sidecars[0].auto_repro.is_some(), machines == 2);
    }
}

#[test]
fn a_flood_of_calls_is_recorded_within_bounds() {
    let Some(programs) = programs() else { return };
    let run = run("dies_in_a_flood", &programs.join("scx_simple"));
    let repro = run.auto_repro();
    assert!(
        repro.starts_with("reproduced: its program was killed by signal 11 (SIGSEGV)\n"),
        "{repro}"
    );
    assert!(repro.lines().count() < 70, "{repro}");
    assert!(run.dump.len() < 4 << 20, "{} bytes", run.dump.len());
}
