//! Tests that must not pass: what each of them does, or what `tests/false_greens.rs` breaks around it, sees to that.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ktstr_harness::prelude::*;
use rustix::process::{Pid, Signal, getpid, kill_process};

ktstr_harness::main!();

declare_scheduler!(GIVEN, {
    name = "given",
    // Never built: `KTSTR_SCHEDULER` takes its place.
    binary = "no-such-package",
});

declare_scheduler!(DIRECTORY, { name = "directory", binary_path = "src" });

declare_scheduler!(LEAVES, { name = "leaves", binary_path = "/bin/true" });

/// What is broken around it must not keep this from failing.
#[ktstr_test(duration_s = 1)]
fn finds_a_fault(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::fail(
        "mine",
        "the fault that this test is for",
    ))
}

/// Writes a line as the kernel would.
fn log(line: &str) -> std::io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")?
        .write_all(line.as_bytes())
}

#[ktstr_test(duration_s = 1)]
fn the_kernel_warns(_: &Ctx) -> Result<AssertResult> {
    log("<4>WARNING: CPU: 0 PID: 7 at kernel/sched/core.c:1 resched+0x1/0x2\n")?;
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn lockdep_complains(_: &Ctx) -> Result<AssertResult> {
    log("<4>WARNING: possible circular locking dependency detected\n")?;
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn the_kernel_has_a_bug(_: &Ctx) -> Result<AssertResult> {
    log("<1>BUG: kernel NULL pointer dereference, address: 0000000000000008\n")?;
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn the_kernel_is_tainted(_: &Ctx) -> Result<AssertResult> {
    // TAINT_WARN is 1 << 9; root may add taint, and not remove it.
    fs::write("/proc/sys/kernel/tainted", "512")?;
    Ok(AssertResult::pass())
}

/// More lines than the kernel's ring holds push the warning out of it.
#[ktstr_test(duration_s = 5)]
fn a_flood_hides_the_warning(_: &Ctx) -> Result<AssertResult> {
    log("<4>WARNING: CPU: 0 PID: 7 at kernel/sched/core.c:1 resched+0x1/0x2\n")?;
    let filler = format!("<6>{}\n", "and another line of many ".repeat(30));
    for _ in 0..4000 {
        log(&filler)?;
    }
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn the_kernel_panics(_: &Ctx) -> Result<AssertResult> {
    fs::write("/proc/sysrq-trigger", "c")?;
    Ok(AssertResult::pass())
}

/// The code that says "success", without a result.
#[ktstr_test(duration_s = 1)]
fn exits_with_0(_: &Ctx) -> Result<AssertResult> {
    std::process::exit(0);
}

/// The body becomes another program, which succeeds.
#[ktstr_test(duration_s = 1, extra_include_files = ["/bin/true"])]
fn becomes_another_program(ctx: &Ctx) -> Result<AssertResult> {
    Err(Command::new(ctx.include_dir().join("true")).exec().into())
}

#[ktstr_test(duration_s = 1)]
fn stops_itself(_: &Ctx) -> Result<AssertResult> {
    kill_process(getpid(), Signal::STOP)?;
    Ok(AssertResult::pass())
}

/// A check is asked for, and nothing runs that it could judge.
#[ktstr_test(duration_s = 1, max_gap_ms = 1000)]
fn measures_nothing(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1)]
fn measures_no_number(_: &Ctx) -> Result<AssertResult> {
    let mut result = AssertResult::pass();
    result.verdict.at_most("latency", f64::NAN, 1.0, "");
    Ok(result)
}

#[ktstr_test(duration_s = 1, expect_err)]
fn declared_to_fail_and_passes(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 1, allow_inconclusive)]
fn fails_beside_what_may_be_inconclusive(_: &Ctx) -> Result<AssertResult> {
    let mut result = AssertResult::fail("mine", "the fault that this test is for");
    result.verdict.at_most_ratio("ratio", 0.0, 0.0, 1.0);
    Ok(result)
}

/// The scheduler goes, and everything after that ran under another one.
#[ktstr_test(scheduler = GIVEN, duration_s = 2, auto_repro = false)]
fn the_scheduler_goes(ctx: &Ctx) -> Result<AssertResult> {
    let result = scenarios::steady(ctx)?;
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let pid = process
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let is_it = fs::read_link(process.join("exe"))
            .is_ok_and(|program| program == std::path::Path::new(Scheduler::PROGRAM));
        if let Some(pid) = pid.and_then(Pid::from_raw).filter(|_| is_it) {
            kill_process(pid, Signal::KILL)?;
        }
    }
    Ok(result)
}

#[ktstr_test(scheduler = DIRECTORY, duration_s = 1)]
fn the_scheduler_is_a_directory(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = LEAVES, duration_s = 1)]
fn the_scheduler_schedules_nothing(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = GIVEN, duration_s = 1)]
fn the_scheduler_is_missing(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}
