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

cases! {
    under_eevdf => 0, "", "";
    sound => 0, "", "";
    verified_the_long_way => 0, "", "";
    stalls => 1, "SCX_EXIT_ERROR_STALL (runnable task stall): ", "failed to run for";
    picks_a_wrong_cpu => 1, "SCX_EXIT_ERROR (runtime error): ", "not allowed";
    reports_an_error => 1, "scx-ktstr: asked to fail after 100 insertions", "disabled (scx_bpf_error)";
    spreads_them => 0, "", "";
    crowds_a_cpu => 1, "max_imbalance_ratio: ", "max_local_dsq_depth: ";
    burns_time => 1, "max_p99_wake_latency_ns: ", "";
    starves_a_cgroup => 1, "max_gap_ms: ", "cgroup left, worker";
    loses_a_cpu => 1,
        "the kernel ended it: SCX_EXIT_UNREG_KERN (unregistered from the main kernel): CPU 3 went offline; its program \
         exited with status 1; it said last: scx-ktstr: exit kind",
        "cpu 3 going offline";
    fails_verification => 1, "it was not enabled: its program exited with status", "";
    exits_early => 1, "its program exited with status 7 before the kernel enabled it", "";
    never_attaches => 1, "the state of sched_ext was still `disabled` after 30 s", "";
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
    nested_and_starved => 1, "max_p99_wake_latency_ns: ", "cgroup beside";
    nested_under_eevdf => 0, "", "";
    nested_and_crowded => 1, "max_local_dsq_depth: ", "";
    // Work types, likewise.
    forks_and_burnt_time => 1, "max_p99_wake_latency_ns: ", "cgroup left";
    forks_under_eevdf => 0, "", "";
    chains_and_burnt_time => 1, "max_p99_wake_latency_ns: ", "cgroup left";
    chains_under_eevdf => 0, "", "";
    timers_and_burnt_time => 1, "max_p99_wake_latency_ns: ", "cgroup left";
    timers_under_eevdf => 0, "", "";
    messages_and_burnt_time => 1, "max_p99_wake_latency_ns: ", "cgroup left";
    messages_under_eevdf => 0, "", "";
    // Those that ask for the scheduler, and those that do not.
    takes_those_that_ask => 0, "", "";
    starves_none_that_do_not_ask => 0, "", "";
    starves_those_that_ask => 1, "max_gap_ms: ", "cgroup asking, worker";
}
