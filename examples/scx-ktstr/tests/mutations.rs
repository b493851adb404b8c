//! What ktstr makes of a scheduler's faults: for each, the check that must catch it and the words it is told in.

#[path = "../../../ktstr-harness/tests/support/case.rs"]
mod case;

/// A test of each case: exit code, what stands in the first lines of the failure, what in its kernel log or scheduler
/// log.
macro_rules! cases {
    ($($name:ident => $code:literal, $cause:literal, $log:literal;)*) => {$(
        #[test]
        fn $name() {
            is_caught(stringify!($name), $code, $cause, $log);
        }
    )*};
}

fn is_caught(name: &str, code: i32, cause: &str, log: &str) {
    if cfg!(bpf_left_out) {
        eprintln!("SKIP: scx-ktstr was built without clang");
        return;
    }
    // The same build as this test's, instead of a release build.
    let scheduler = [("KTSTR_SCHEDULER", env!("CARGO_BIN_EXE_scx-ktstr"))];
    let run = case::run("cases", &format!("ktstr/{name}"), &scheduler);
    let told = run.first_lines(4);
    assert!(
        run.code == code && told.contains(cause) && run.stderr.contains(log),
        "exit {}, wanted {code}, `{cause}` and `{log}`:\n{}",
        run.code,
        run.stderr
    );
}

#[test]
fn a_package_is_built_and_runs_as_a_program() {
    if cfg!(bpf_left_out) {
        eprintln!("SKIP: scx-ktstr was built without clang");
        return;
    }
    let profile = [("KTSTR_SCHEDULER_PROFILE", "dev")];
    let run = case::run("cases", "ktstr/runs_a_package", &profile);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.sidecars[0].programs[0].name, "can-load");
}

cases! {
    under_eevdf => 0, "", "";
    sound => 0, "", "";
    verified_the_long_way => 0, "", "";
    stalls => 1, "SCX_EXIT_ERROR_STALL (runnable task stall): ", "failed to run for";
    picks_a_wrong_cpu => 1, "SCX_EXIT_ERROR (runtime error): ", "not allowed";
    reports_an_error => 1, "scx-ktstr: asked to fail after 100 insertions", "disabled (scx_bpf_error)";
    spreads_them => 0, "", "";
    crowds_a_cpu => 1, "max_imbalance_ratio: ", "max_local_dsq_depth: ";
    keeps_cpus_busy => 0, "", "";
    eevdf_keeps_cpus_busy => 0, "", "";
    leaves_a_cpu_idle => 1, "max_wasted_ms: ", "CPU 3 was idle for ";
    burns_time => 1, "max_p99_wake_latency_ns: ", "";
    starves_a_cgroup => 1, "max_gap_ms: ", "cgroup left, worker";
    loses_a_cpu => 1,
        "the kernel ended it: SCX_EXIT_UNREG_KERN (unregistered from the main kernel): CPU 3 went offline; its program \
         exited with status 1; it said last: scx-ktstr: exit kind",
        "cpu 3 going offline";
    follows_changes => 0, "", "";
    follows_changes_under_eevdf => 0, "", "";
    keeps_a_cpuset => 1, "SCX_EXIT_ERROR (runtime error): ", "not allowed";
    keeps_swapped_cpusets => 1, "SCX_EXIT_ERROR (runtime error): ", "not allowed";
    keeps_an_affinity => 1, "SCX_EXIT_ERROR (runtime error): ", "not allowed";
    refuses_workers => 1, "step 2 (more), spawn other 60 ", "Cannot allocate memory";
    weighs_tasks => 0, "", "";
    weighs_tasks_under_eevdf => 0, "", "";
    ignores_weights => 1, "shares: heavy ran for ", "";
    stalls_from_the_middle_on => 1, "SCX_EXIT_ERROR_STALL (runnable task stall): ", "failed to run for";
    is_told_to_fail_by_a_variable => 1, "scx-ktstr: told to fail by a write into a map", "";
    is_told_to_fail_by_an_array => 1, "scx-ktstr: told to fail by a write into a map", "";
    is_told_to_fail_by_a_hash_map => 1, "scx-ktstr: told to fail by a write into a map", "";
    is_told_nothing => 0, "", "";
    writes_into_no_map => 1,
        "bpf_map_write: nobs fail = 1, 0 ms into the test: the scheduler has no map `nobs`; it has ", ".data.live";
    writes_into_no_field => 1,
        "bpf_map_write: knobs fails = 1, 300 ms into the test: in `knobs`, its value has no `fails`; it has unused, fail",
        "";
    writes_what_does_not_fit => 1, "in `.data.live`, 2 is no bool; use 0 or 1", "";
    writes_beyond_the_array => 1, "knobs[4] fail = 1, 0 ms into the test: `knobs` has the keys 0 to 3, and not 4", "";
    writes_a_constant => 1, "the kernel refuses it in `.rodata.ktstr`: Operation not permitted", "it is constant";
    writes_for_each_task => 1, "`task_ctxs` has a value for each task; values of arrays and hash maps", "";
    writes_too_late => 2, "bpf_map_write: .bss insertions = 5 was due 600000 ms into the test, which ended before", "";
    fails_verification => 1, "it was not enabled: its program exited with status", "";
    exits_early => 1, "its program exited with status 7 before the kernel enabled it", "";
    never_attaches => 1, "the state of sched_ext was still `disabled` after 3", "";
    // Nothing to fail a test for, but it ends all the same.
    ignores_sigterm => 0, "", "";
    forks => 0, "", "";
    floods_its_output => 0, "", "";
    // Families of scenarios, each with a fault that it catches, and without.
    cpusets_of_the_starved => 1, "max_gap_ms: ", "cgroup sized, worker";
    cpusets_under_eevdf => 0, "", "";
    cgroups_of_the_starved => 1, "max_gap_ms: ", "cgroup first, worker";
    cgroups_under_eevdf => 0, "", "";
    locks_of_the_starved => 1, "max_gap_ms: ", "cgroup locks, worker";
    locks_under_eevdf => 0, "", "";
    stress_and_a_stall => 1, "SCX_EXIT_ERROR_STALL (runnable task stall): ", "failed to run for";
    stress_under_eevdf => 0, "", "";
    affinity_on_a_wrong_cpu => 1, "SCX_EXIT_ERROR (runtime error): ", "not allowed";
    affinity_under_eevdf => 0, "", "";
    hotplug_of_a_cpu => 1,
        "SCX_EXIT_UNREG_KERN (unregistered from the main kernel): CPU 3 went offline",
        "going offline";
    hotplug_under_eevdf => 0, "", "";
    nested_and_starved => 1, "in cgroup beside", "";
    nested_under_eevdf => 0, "", "";
    nested_and_crowded => 1, "max_local_dsq_depth: ", "";
    // Work types, likewise.
    forks_and_burnt_time => 1, "in cgroup left", "";
    forks_under_eevdf => 0, "", "";
    chains_and_burnt_time => 1, "in cgroup left", "";
    chains_under_eevdf => 0, "", "";
    timers_and_burnt_time => 1, "in cgroup left", "";
    timers_under_eevdf => 0, "", "";
    messages_and_burnt_time => 1, "in cgroup left", "";
    messages_under_eevdf => 0, "", "";
    // Those that ask for the scheduler, and those that do not.
    takes_those_that_ask => 0, "", "";
    starves_none_that_do_not_ask => 0, "", "";
    starves_those_that_ask => 1, "max_gap_ms: ", "cgroup asking, worker";
}

/// What later questions about a run are answered from, such as those of `stats`.
#[test]
fn the_record_has_the_exit_that_the_kernel_told() {
    if cfg!(bpf_left_out) {
        eprintln!("SKIP: scx-ktstr was built without clang");
        return;
    }
    let scheduler = [("KTSTR_SCHEDULER", env!("CARGO_BIN_EXE_scx-ktstr"))];
    let exit = |name: &str| {
        let mut run = case::run("cases", &format!("ktstr/{name}"), &scheduler);
        assert_eq!(run.sidecars.len(), 1, "{:?}\n{}", run.files, run.stderr);
        run.sidecars.remove(0).scheduler_exit
    };
    let told = exit("reports_an_error").expect("an exit");
    assert_eq!(
        [&told.kind, &told.reason, &told.message],
        [
            "SCX_EXIT_ERROR_BPF",
            "scx_bpf_error",
            "scx-ktstr: asked to fail after 100 insertions"
        ]
    );
    // The kernel had never enabled this one.
    assert_eq!(exit("exits_early"), None);
}
