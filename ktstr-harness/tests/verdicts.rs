//! Every way a test can end, through a real machine, told by its exit code and its first lines.
//!
//! The tests that end so are in `examples/misbehave.rs`; each is run as nextest would run it.

use ktstr_core::Outcome;
use ktstr_core::record::Sidecar;

#[path = "support/case.rs"]
mod case;
use case::Run;

fn run_with(case: &str, variables: &[(&str, &str)]) -> Run {
    case::run("misbehave", case, variables)
}

fn run(name: &str) -> Run {
    run_with(&format!("ktstr/{name}"), &[])
}

#[test]
fn a_pass_is_0_and_leaves_a_sidecar() {
    let run = run("passes");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains("the body runs on 2 CPUs"),
        "{}",
        run.stdout
    );
    let [sidecar] = run.sidecars.as_slice() else {
        panic!("{:?}", run.files)
    };
    assert_eq!(sidecar.verdict.outcome(), Outcome::Pass);
    assert_eq!(sidecar.case, "ktstr/passes");
    assert_eq!(sidecar.scheduler, "eevdf");
    assert!(sidecar.kernel_version.is_some() && sidecar.backend.is_some());
    assert_eq!(sidecar.performance_mode, Some(false));
    assert!(sidecar.timings.boot_s.is_some() && sidecar.timings.scenario_s.is_some());
    assert!(
        !run.files
            .iter()
            .any(|name| name.ends_with(Sidecar::FAILURE_DUMP_SUFFIX))
    );
}

#[test]
fn the_guest_has_the_files_memory_and_arguments_asked_for() {
    let run = run("finds_what_it_asked_for");
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_body_finds_a_loopback_interface_and_an_init_that_reaps() {
    let run = run("counts_on_init");
    assert_eq!(run.code, 0, "{}", run.stderr);
}

/// A guest whose clock runs fast on a busy host would judge by times that never passed.
#[test]
fn a_second_of_the_guest_is_a_second_of_the_host() {
    let run = run("shares_the_machine");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let scenario_s = run.sidecars[0].timings.scenario_s.unwrap();
    assert!(scenario_s > 1.98, "2 s of the guest took {scenario_s} s");
}

#[test]
fn a_violated_check_is_1_with_value_and_threshold() {
    let run = run("violates_a_check");
    run.failed_with("max_gap_ms: ", None);
    assert!(
        run.first_lines(2).contains(" > 0 in cgroup "),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("[sched=eevdf] [topo=1n1l1c1t] failed:"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("--- stats ---"), "{}", run.stderr);
    assert!(!run.sidecars[0].cgroups.is_empty());
}

#[test]
fn a_zero_denominator_is_2() {
    for name in ["divides_by_zero", "asks_for_latency_without_wakeups"] {
        let run = run(name);
        assert_eq!(run.code, 2, "{name}: {}", run.stderr);
        assert_eq!(run.sidecars[0].verdict.outcome(), Outcome::Inconclusive);
    }
    assert_eq!(run("divides_by_zero_and_may").code, 0);
}

#[test]
fn a_skip_is_0_or_1_as_asked() {
    let skipped = run("skips");
    assert_eq!(skipped.code, 0, "{}", skipped.stderr);
    assert!(
        skipped.stderr.contains("ktstr: SKIP: no such device"),
        "{}",
        skipped.stderr
    );
    assert_eq!(skipped.sidecars[0].verdict.outcome(), Outcome::Skip);
    let strict = run_with("ktstr/skips", &[("KTSTR_NO_SKIP_MODE", "1")]);
    strict.failed_with("no such device", None);
}

#[test]
fn a_topology_beyond_emulation_is_a_skip_that_says_so() {
    let run = run("asks_for_too_much");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("ktstr: SKIP: ") && run.stderr.contains("240"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_missing_emulator_is_told_with_what_installs_it() {
    let run = run_with("ktstr/passes", &[("PATH", "/nonexistent")]);
    run.failed_with("apt-get install qemu-system-x86", None);
}

#[test]
fn a_budget_that_is_no_time_is_refused() {
    let run = run_with("ktstr/passes", &[("KTSTR_BUDGET_SECS", "2m")]);
    assert_eq!(run.code, 1);
    let line = "ktstr: KTSTR_BUDGET_SECS: `2m` is not a number of seconds; give 1 or more";
    assert!(run.stderr.contains(line), "{}", run.stderr);
}

#[test]
fn a_cap_that_makes_no_sense_or_that_the_host_cannot_satisfy_fails() {
    for (cap, expected) in [
        ("0", "KTSTR_CPU_CAP: `0` is not a number of CPUs"),
        ("two", "KTSTR_CPU_CAP: `two` is not a number of CPUs"),
        ("100000", "--cpu-cap asks for 100000 host CPUs"),
    ] {
        let run = run_with("ktstr/passes", &[("KTSTR_CPU_CAP", cap)]);
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
    assert_eq!(run_with("ktstr/passes", &[("KTSTR_CPU_CAP", "1")]).code, 0);
}

#[test]
fn performance_mode_is_a_skip_with_its_reason_where_it_cannot_be() {
    let qemu = ("KTSTR_BACKEND", "qemu");
    let case = "ktstr/wants_cpus_of_its_own";
    let run = run_with(case, &[qemu]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let reason = "performance mode needs KVM";
    assert!(
        run.stderr.contains(&format!("SKIP: {reason}")),
        "{}",
        run.stderr
    );
    // No machine ran.
    assert_eq!(run.sidecars[0].performance_mode, None);
    run_with(case, &[qemu, ("KTSTR_NO_SKIP_MODE", "1")]).failed_with(reason, None);
    let run = run_with(case, &[qemu, ("KTSTR_NO_PERF_MODE", "1")]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stderr.contains("SKIP"), "{}", run.stderr);
    assert_eq!(run.sidecars[0].performance_mode, Some(false));
}

#[test]
fn expect_err_turns_failure_and_pass_around() {
    assert_eq!(run("fails_as_declared").code, 0);
    run("passes_against_its_declaration").failed_with("expect_err", None);
}

#[test]
fn an_error_is_told() {
    run("returns_an_error").failed_with("error: No such file or directory", None);
}

#[test]
fn a_panic_is_told_with_its_place() {
    run("panics").failed_with("panic: the body gave up at", None);
}

#[test]
fn a_segfault_is_told_with_the_kernels_account() {
    run("segfaults").failed_with("signal 11 (SIGSEGV)", Some("segfault at 8"));
}

#[test]
fn an_illegal_instruction_is_told_with_its_usual_cause() {
    let body = run("runs_an_instruction_that_is_none");
    body.failed_with(
        "killed by signal 4 (SIGILL): illegal instruction",
        Some("invalid opcode"),
    );
    assert!(
        body.first_lines(3).contains("target-cpu=native"),
        "{}",
        body.stderr
    );
    // Before `main`, as init, it takes the kernel down with it.
    let init = case::run("dies_early", "ktstr/never_gets_there", &[]);
    let told = "guest init: the test binary, which is the guest's init, was killed by signal 4 (SIGILL): illegal";
    init.failed_with(told, None);
    assert!(
        init.first_lines(3).contains("target-cpu=native"),
        "{}",
        init.stderr
    );
}

#[test]
fn an_error_of_several_lines_passes_for_nothing_else() {
    let run = run("returns_an_error_of_several_lines");
    run.failed_with("  error: it went wrong:\n    --- auto-repro ---", None);
    let last = "\n    reproduced: by nobody\n";
    assert!(run.stderr.contains(last), "{}", run.stderr);
    let heading = "\n--- auto-repro ---";
    assert!(!run.stderr.contains(heading), "{}", run.stderr);
}

#[test]
fn a_kernel_that_warns_fails_the_test() {
    let warned = run("has_the_kernel_warn");
    let line = "WARNING: CPU: 0 PID: 7 at kernel/sched/core.c:1 schedule+0x1/0x2";
    warned.failed_with(&format!("kernel warning: {line}"), Some(line));
    let record = &warned.sidecars[0];
    let told: Vec<_> = record
        .kernel_warnings
        .iter()
        .filter(|w| !w.at_boot)
        .collect();
    assert!(
        told.len() == 1 && told[0].line == line && !told[0].allowed,
        "{told:?}"
    );

    let allowed = run("has_the_kernel_warn_and_may");
    assert_eq!(allowed.code, 0, "{}", allowed.stderr);
    let record = &allowed.sidecars[0];
    assert!(
        record
            .kernel_warnings
            .iter()
            .any(|w| w.allowed && !w.at_boot)
    );
    assert_eq!(
        record.taint.as_ref().map(|taint| taint.added.as_str()),
        Some("W")
    );

    run("has_lockdep_report_beside_what_may_be").failed_with(
        "kernel warning: WARNING: possible circular locking dependency detected",
        None,
    );
    run("taints_the_kernel").failed_with(
        "kernel taint: the kernel was tainted during the test: L (a soft lockup)",
        None,
    );
    // Whatever an ordinary run logs is no report.
    let clean = &run("passes").sidecars[0];
    assert!(clean.kernel_warnings.is_empty(), "{clean:?}");
    assert_eq!(
        clean.taint.as_ref().map(|taint| taint.added.as_str()),
        Some("")
    );
}

#[test]
fn what_cannot_be_read_is_absent() {
    let run = run("unmounts_proc");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let record = &run.sidecars[0];
    assert!(
        record
            .cgroups
            .iter()
            .all(|group| group.run_delay_s.is_none()),
        "{record:?}"
    );
    assert!(!record.metrics.contains_key("run_delay_s"), "{record:?}");
    // Init finds a way to see it all the same.
    assert!(record.taint.is_some(), "{record:?}");
}

#[test]
fn directories_are_included_and_devices_are_not() {
    let included = run("includes_a_directory");
    assert_eq!(included.code, 0, "{}", included.stderr);
    run("includes_a_device").failed_with(
        "extra_include_files: `/dev/null` is a device; name files and directories",
        None,
    );
}

#[test]
fn a_kernel_panic_is_told_with_its_reason() {
    run("panics_the_kernel").failed_with(
        "kernel panic: sysrq triggered crash",
        Some("Kernel panic - not syncing"),
    );
}

#[test]
fn running_out_of_memory_is_told() {
    run("eats_all_memory").failed_with("out of memory", Some("Killed process"));
}

#[test]
fn a_lost_worker_is_told() {
    run("loses_a_worker").failed_with("signal 9 (SIGKILL)", None);
}

#[test]
fn an_early_exit_is_told() {
    run("exits").failed_with("exited with code 7", None);
}

#[test]
fn a_body_that_never_returns_is_ended() {
    run("never_returns").failed_with("did not return within", Some("the test starts"));
}

#[test]
fn a_flood_of_output_is_bounded() {
    let run = run("writes_without_end");
    run.failed_with("did not return within", None);
    assert!(run.stdout.len() < 3 << 20, "{} bytes", run.stdout.len());
    assert!(
        run.stdout.contains("ktstr: output beyond"),
        "no note of the cut"
    );
}

#[test]
fn host_only_tests_run_here() {
    assert_eq!(run_with("host/runs_on_the_host", &[]).code, 0);
    let run = run_with("host/panics_on_the_host", &[]);
    run.failed_with("panic: on the host at", None);
}

#[test]
fn run_queues_and_rates_have_their_checks() {
    let crowded = run("crowds_a_cpu");
    crowded.failed_with("max_imbalance_ratio: ", None);
    let (_, timeline) = crowded
        .stderr
        .split_once("--- timeline ---")
        .expect("a timeline");
    assert!(timeline.contains("6..."), "{timeline}");

    let kept = run("keeps_its_ratios");
    assert_eq!(kept.code, 0, "{}", kept.stderr);
    let metrics = &kept.sidecars[0].metrics;
    assert!(metrics["imbalance_ratio"] >= 1.0, "{metrics:?}");

    let broken = run("breaks_its_ratios");
    let told = broken.first_lines(4);
    for check in [
        "max_wake_latency_cv: ",
        "max_throughput_cv: ",
        "min_work_rate: ",
    ] {
        assert!(told.contains(check), "no {check} in {}", broken.stderr);
    }
}

#[test]
fn what_a_kernel_does_not_count_is_2() {
    for (name, why) in [
        (
            "asks_eevdf_for_counters",
            "the counters came with Linux 6.15",
        ),
        (
            "relates_to_migrations_that_never_were",
            "0 migrations, of which none",
        ),
    ] {
        let run = run(name);
        assert_eq!(run.code, 2, "{name}: {}", run.stderr);
        assert!(run.first_lines(3).contains(why), "{}", run.stderr);
    }
}
