//! Scenarios in steps; `tests/steps.rs` runs them one by one and says what must come of each.

use std::fs;
use std::time::Duration;

use ktstr_harness::prelude::*;

ktstr_harness::main!();

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn def(name: &str) -> CgroupDef {
    CgroupDef::named(name)
}

/// Whether a file below the cgroups has this as its first line.
fn reads(file: &str, expected: &str) -> std::result::Result<(), String> {
    let path = format!("/sys/fs/cgroup/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let first = text.lines().next().unwrap_or_default();
    if first == expected {
        Ok(())
    } else {
        Err(format!("{path}: {first}, not {expected}"))
    }
}

/// Whether a cgroup has so many processes.
fn has(cgroup: &str, expected: usize) -> std::result::Result<(), String> {
    let path = format!("/sys/fs/cgroup/{cgroup}/cgroup.procs");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    match text.lines().count() {
        count if count == expected => Ok(()),
        count => Err(format!("{path}: {count} processes, not {expected}")),
    }
}

const ISOLATED: Checks = Checks {
    isolation: Some(true),
    ..Checks::NONE
};

/// How long most steps hold here.
const SHORT: Hold = Hold::For(ms(100));

/// Every operation, and what the kernel then says.
#[ktstr_test(llcs = 2, cores = 2, duration_s = 10, isolation)]
fn operations_reach_the_kernel(ctx: &Ctx) -> Result<AssertResult> {
    let background = [def("background").workers(1).work(WorkType::mixed())];
    let steps = [cpus_and_workers(), tasks_and_limits(), cgroups_and_cpus()].concat();
    execute_steps_beside(ctx, &background, &steps)
}

fn cpus_and_workers() -> Vec<Step> {
    vec![
        Step::new("cpusets")
            .setup(def("a"))
            .setup(def("b"))
            .op(Op::set_cpuset("a", CpusetSpec::Llc(0)))
            .op(Op::set_cpuset("b", CpusetSpec::Llc(1)))
            .op(Op::swap_cpusets("a", "b"))
            .op(Op::call("swapped", || {
                reads("a/cpuset.cpus", "2-3").and(reads("b/cpuset.cpus", "0-1"))
            }))
            .hold(SHORT)
            .check(ISOLATED),
        Step::new("narrow")
            .op(Op::set_cpuset("a", CpusetSpec::Range(3..=3)))
            .op(Op::clear_cpuset("b"))
            .op(Op::call("narrowed", || {
                reads("a/cpuset.cpus.effective", "3").and(reads("b/cpuset.cpus.effective", "0-3"))
            }))
            .op(Op::set_affinity("a", Affinity::Cpu(1)).refused_with(22))
            .hold(SHORT)
            .check(ISOLATED),
        Step::new("workers")
            .op(Op::clear_cpuset("a"))
            .op(Op::spawn("a", 2, WorkType::Yield))
            .op(Op::stop("a", 1))
            .op(Op::set_workers("b", 4))
            .op(Op::call("counted", || has("a", 3).and(has("b", 4))))
            .op(Op::move_some("a", "b", 1))
            .op(Op::call("moved", || has("a", 2).and(has("b", 5))))
            .op(Op::set_workers("b", 2))
            .op(Op::spawn_in_root(2, WorkType::Spin))
            .op(Op::move_all("/", "a"))
            .op(Op::call("all", || has("a", 4).and(has("b", 2))))
            .op(Op::stop_all("b"))
            .op(Op::call("none", || has("b", 0)))
            .hold(SHORT),
    ]
}

fn tasks_and_limits() -> Vec<Step> {
    vec![
        Step::new("tasks")
            .op(Op::set_affinity("a", Affinity::Random { cpus: 2, seed: 3 }))
            .op(Op::set_affinity("a", Affinity::Llc(1)))
            .op(Op::set_affinity("a", Affinity::All))
            .op(Op::set_nice("a", 5))
            .op(Op::set_policy("a", Policy::Batch))
            .op(Op::set_policy("a", Policy::Idle))
            .op(Op::set_policy("a", Policy::RoundRobin(1)))
            .op(Op::set_policy("a", Policy::Fifo(1)))
            .op(Op::set_policy(
                "a",
                Policy::Deadline {
                    runtime: ms(10),
                    deadline: ms(100),
                    period: ms(100),
                },
            ))
            .op(Op::set_policy("a", Policy::Other))
            .hold(SHORT),
        Step::new("limits")
            .op(Op::set_weight("a", 50))
            .op(Op::set_quota("a", ms(30), ms(100)))
            .op(Op::set_burst("a", ms(10)))
            .op(Op::set_memory_node("a", 0))
            .op(Op::call("limited", || {
                reads("a/cpu.weight", "50")
                    .and(reads("a/cpu.max", "30000 100000"))
                    .and(reads("a/cpu.max.burst", "10000"))
                    .and(reads("a/cpuset.mems", "0"))
            }))
            .op(Op::set_burst("a", ms(0)))
            .op(Op::clear_quota("a"))
            .op(Op::clear_memory_node("a"))
            .op(Op::call("unlimited", || {
                reads("a/cpu.max", "max 100000").and(reads("a/cpuset.mems", "0"))
            }))
            .hold(SHORT),
        Step::new("clamps")
            .op(Op::set_uclamp("a", 20, 80))
            .op(Op::call("clamped", || {
                reads("a/cpu.uclamp.min", "20.00").and(reads("a/cpu.uclamp.max", "80.00"))
            }))
            .op(Op::set_uclamp("a", 0, 100))
            .op(Op::call("free", || {
                reads("a/cpu.uclamp.min", "0.00").and(reads("a/cpu.uclamp.max", "max"))
            }))
            .hold(SHORT),
        Step::new("frozen")
            .op(Op::freeze("a"))
            .op(Op::call("frozen", || reads("a/cgroup.freeze", "1")))
            .hold(SHORT),
    ]
}

fn cgroups_and_cpus() -> Vec<Step> {
    vec![
        Step::new("nested")
            .op(Op::thaw("a"))
            .op(Op::add_cgroup(def("a/inner")).refused_with(16))
            .setup(def("outer").workers(0).cpuset(CpusetSpec::Llc(1)))
            .setup(def("outer/inner").weight(10))
            .op(Op::call("inner", || {
                reads("outer/inner/cpuset.cpus.effective", "2-3").and(has("outer/inner", 2))
            }))
            .hold(SHORT)
            .check(ISOLATED),
        Step::new("hotplug")
            .op(Op::offline(3))
            .op(Op::call("offline", || {
                reads("../../devices/system/cpu/online", "0-2")
            }))
            .op(Op::online(3))
            .op(Op::call("online", || {
                reads("../../devices/system/cpu/online", "0-3")
            }))
            .op(Op::offline(2))
            .hold(SHORT),
        Step::new("churn")
            .op(Op::add_cgroup(def("coming").work(WorkType::bursty())))
            .op(Op::move_some("a", "coming", 1))
            .op(Op::move_all("coming", "a"))
            .op(Op::remove_cgroup("coming"))
            .hold(Hold::Repeat {
                every: ms(50),
                share: 0.1,
            }),
        Step::new("gone")
            .op(Op::remove_cgroup("outer/inner"))
            .op(Op::remove_cgroup("outer"))
            .op(Op::remove_cgroup("b"))
            .hold(SHORT),
    ]
}

/// Nothing of a scenario is left, also of one that failed in the middle.
#[ktstr_test(llcs = 2, cores = 2, duration_s = 4)]
fn nothing_is_left(ctx: &Ctx) -> Result<AssertResult> {
    let failed = execute_steps(
        ctx,
        &[Step::new("s")
            .setup(def("a"))
            .op(Op::offline(3))
            .op(Op::freeze("a"))
            .op(Op::call("stop here", || Err("on purpose".to_owned())))],
    );
    let error = failed.expect_err("the call fails").to_string();
    assert_eq!(error, "step 1 (s), call stop here: on purpose");
    assert!(!fs::exists("/sys/fs/cgroup/a")?);
    reads("../../devices/system/cpu/online", "0-3")?;
    Ok(AssertResult::pass())
}

/// A worker that is frozen for a step has a gap and no iteration there, and none in the others.
#[ktstr_test(cores = 2, duration_s = 10)]
fn a_frozen_step_is_seen(ctx: &Ctx) -> Result<AssertResult> {
    let checks = Checks {
        not_stuck: Some(true),
        max_gap_ms: Some(60_000),
        max_spread_pct: Some(100.0),
        ..Checks::NONE
    };
    let third = Hold::Share(0.3);
    execute_steps(
        ctx,
        &[
            Step::new("free").setup(def("a")).hold(third).check(checks),
            Step::new("frozen")
                .op(Op::freeze("a"))
                .hold(third)
                .check(checks),
            Step::new("thawed")
                .op(Op::thaw("a"))
                .hold(third)
                .check(checks),
        ],
    )
}

/// The kernel refuses what nobody expected it to.
#[ktstr_test(cores = 2, duration_s = 1)]
fn the_kernel_refuses(ctx: &Ctx) -> Result<AssertResult> {
    execute_steps(
        ctx,
        &[Step::new("narrow")
            .setup(def("a").cpuset(CpusetSpec::Range(0..=0)))
            .op(Op::set_affinity("a", Affinity::Cpu(1)))],
    )
}

/// The kernel does what it should have refused.
#[ktstr_test(cores = 2, duration_s = 1)]
fn the_kernel_does_not_refuse(ctx: &Ctx) -> Result<AssertResult> {
    let op = Op::set_nice("a", 5).refused_with(1);
    execute_steps(ctx, &[Step::new("nice").setup(def("a")).op(op)])
}

#[ktstr_test(cores = 2, duration_s = 1)]
fn makes_no_sense(ctx: &Ctx) -> Result<AssertResult> {
    execute_steps(ctx, &[Step::new("first").op(Op::set_nice("nobody", 5))])
}
