//! What a test takes from its scheduler, and what it says itself.

use ktstr_harness::prelude::*;
use ktstr_harness::registry;
use ktstr_harness::scheduler::SchedulerSource;

declare_scheduler!(
    /// One of a workspace.
    pub MINE,
    {
        name = "mine",
        binary = "scx_mine",
        sched_args = ["--slice-us", "5000"],
        kargs = ["quiet"],
        sysctls = [("kernel.sched_schedstats", "1")],
        topology = (1, 4, 2, 2),
        constraints = Constraints { min_llcs: 2, ..Constraints::DEFAULT },
        cgroup_parent = "/sched",
        kernels = ["6.12", "6.14..6.16", "../linux"],
        verifier_exclude_topologies = ["8cpu-2llc-smt"],
        allow_kernel_warnings = ["at kernel/sched/ext.c"],
        assert = Checks { max_gap_ms: Some(500), isolation: Some(true), ..Checks::NONE },
    }
);

declare_scheduler!(CONFIGURED, {
    name = "configured",
    binary = "c",
    config_file_def = ("--config={file}", "/run/c.json"),
});

const CONTENT: &str = "{}";

#[ktstr_test(scheduler = CONFIGURED, config = CONTENT)]
fn configured(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

declare_scheduler!(BUILTIN, {
    name: "builtin",
    kernel_builtin_enable: ["echo 1 > /x"],
    kernel_builtin_disable: ["echo 0 > /x"],
});

#[ktstr_test(scheduler = MINE)]
fn takes_all(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = MINE, cores = 3, max_gap_ms = 900, max_cpus = 64, extra_sched_args = ["-v"],
    watchdog_timeout_s = 3, allow_restarts, expect_scx_bpf_error_contains = "oops")]
fn says_some(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {
    let tests = registry::tests().unwrap();
    let [configured, says_some, takes_all] = tests[..] else { panic!() };
    assert_eq!(configured.config, Some("{}"));
    assert_eq!(configured.scheduler.config_file_def.unwrap().path, "/run/c.json");
    assert_eq!(takes_all.scheduler.name, "mine");
    assert_eq!(takes_all.topology, Topology::constant(1, 4, 2, 2));
    assert_eq!(takes_all.constraints.min_llcs, 2);
    assert_eq!(takes_all.checks, MINE.assert);
    assert_eq!(says_some.topology, Topology::constant(1, 4, 3, 2));
    assert_eq!((says_some.constraints.min_llcs, says_some.constraints.max_cpus), (2, 64));
    assert_eq!((says_some.checks.max_gap_ms, says_some.checks.isolation), (Some(900), Some(true)));
    assert_eq!(says_some.extra_sched_args, ["-v"]);
    assert_eq!(says_some.watchdog_timeout_s, Some(3));
    assert!(says_some.allow_restarts && !takes_all.allow_restarts);
    assert_eq!(MINE.allow_kernel_warnings, ["at kernel/sched/ext.c"]);
    assert_eq!(says_some.expect_scx_bpf_error_contains, Some("oops"));

    assert_eq!(MINE.source, SchedulerSource::Package("scx_mine"));
    assert_eq!(MINE.kernels, ["6.12", "6.14..6.16", "../linux"]);
    assert_eq!(MINE.verifier_exclude_topologies[0].name, "8cpu-2llc-smt");
    assert_eq!(MINE.sysctls, [("kernel.sched_schedstats", "1")]);
    assert!(!MINE.manifest_dir.is_empty());
    assert!(matches!(BUILTIN.source, SchedulerSource::KernelBuiltin { .. }));
    let names: Vec<_> = registry::schedulers().iter().map(|s| s.name).collect();
    assert_eq!(names, ["builtin", "configured", "mine"]);
}
