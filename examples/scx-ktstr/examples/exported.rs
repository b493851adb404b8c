//! Tests that `tests/export.rs` exports, and the one that runs them in a machine that stands for bare metal.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_scheduler!(KTSTR, {
    name = "scx-ktstr",
    binary = "scx-ktstr",
    sched_args = ["--timeout-ms", "5000"],
    sysctls = [("kernel.threads-max", "12345")],
    config_file = "Cargo.toml",
    topology = (1, 2, 2, 1),
});

/// Groups on the second cache alone and everywhere, with everything where a guest has it.
fn scenario(ctx: &Ctx) -> Result<AssertResult> {
    println!("the body runs in {}", ctx.cgroup_root().display());
    let included = fs::read_to_string(ctx.include_dir().join("Cargo.toml"))?;
    assert_eq!(included, fs::read_to_string("/include-files/Cargo.toml")?);
    assert!(included.contains("scx-ktstr"));
    execute_defs(
        ctx,
        &[
            CgroupDef::named("second")
                .workers(2)
                .cpuset(CpusetSpec::Llc(1)),
            CgroupDef::named("all").workers(2),
        ],
    )
}

#[ktstr_test(llcs = 2, cores = 2, duration_s = 2, isolation, max_gap_ms = 3000,
    extra_include_files = ["Cargo.toml"])]
fn passes(ctx: &Ctx) -> Result<AssertResult> {
    let result = scenario(ctx)?;
    println!("second ran on {}", result.cgroups[0].cpus_used);
    Ok(result)
}

#[ktstr_test(llcs = 1, cores = 1, duration_s = 1)]
fn fails(_: &Ctx) -> Result<AssertResult> {
    panic!("on purpose")
}

/// A limit on wake-up latencies, and nobody who wakes up.
#[ktstr_test(
    llcs = 1,
    cores = 1,
    duration_s = 1,
    max_p99_wake_latency_ns = 1_000_000
)]
fn is_inconclusive(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(ctx, &[CgroupDef::named("a").workers(1)])
}

#[ktstr_test(scheduler = KTSTR, duration_s = 2, isolation, max_gap_ms = 3000, watchdog_timeout_s = 7,
    extra_include_files = ["Cargo.toml"])]
fn passes_under_it(ctx: &Ctx) -> Result<AssertResult> {
    assert!(Path::new(Scheduler::CONFIG_FILE).is_file());
    let threads = fs::read_to_string("/proc/sys/kernel/threads-max")?;
    assert_eq!(threads.trim(), "12345");
    scenario(ctx)
}

#[ktstr_test(scheduler = KTSTR, duration_s = 4, extra_sched_args = ["--error-after", "100"])]
fn fails_under_it(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

/// Longer than anybody waits, and with more than one run cleans up by itself: a mount, a process that has left its
/// parents.
#[ktstr_test(scheduler = KTSTR, duration_s = 600)]
fn takes_long(ctx: &Ctx) -> Result<AssertResult> {
    Command::new("mount")
        .args(["-t", "tmpfs", "none", "/media"])
        .status()?;
    Command::new("setsid")
        .args(["sleep", "1000"])
        .stdin(Stdio::null())
        .spawn()?;
    println!("the body runs");
    std::io::stdout().flush()?;
    scenarios::steady(ctx)
}

#[ktstr_test(llcs = 8, cores = 1, duration_s = 1)]
fn is_too_wide(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(host_only)]
fn runs_on_the_host(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = KTSTR, bpf_map_write = [MapWrite::number(".bss", "insertions", 5)])]
fn writes_into_maps(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

/// Runs the script that the machine was given: there, the machine is what a `.run` finds.
#[ktstr_test(ignore)]
fn rig(ctx: &Ctx) -> Result<AssertResult> {
    let status = Command::new("/bin/bash")
        .arg(ctx.include_dir().join("rig.sh"))
        .env_clear()
        .env("PATH", "/bin")
        .status()?;
    assert!(status.success(), "{status}");
    Ok(AssertResult::pass())
}
