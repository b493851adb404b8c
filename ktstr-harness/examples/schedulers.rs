//! Tests under schedulers; `tests/schedulers.rs` runs them one by one, with `KTSTR_SCHEDULER` set.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_scheduler!(GIVEN, {
    name = "given",
    // Never built: `KTSTR_SCHEDULER` takes its place.
    binary = "no-such-package",
    topology = (1, 2, 2, 1),
});

declare_scheduler!(NOWHERE, { name = "nowhere", binary_path = "no/such/program" });

declare_scheduler!(NOT_ONE, { name = "not-one", binary_path = "/bin/true" });

declare_scheduler!(BUILTIN, {
    name = "builtin",
    kernel_builtin_enable = ["echo one", "exit 3"],
    kernel_builtin_disable = ["true"],
});

declare_scheduler!(CONFIGURED, {
    name = "configured",
    kernel_builtin_enable = ["read what < /run/ktstr/sched.conf; echo found $what; exit 4"],
    kernel_builtin_disable = ["true"],
    config_file_def = ("{file}", "/run/ktstr/sched.conf"),
});

#[ktstr_test(scheduler = CONFIGURED, config = "slice=5\n")]
fn with_a_configuration(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = GIVEN, duration_s = 1, max_fallback_rate = 1e9, max_keep_last_rate = 1e9)]
fn counted(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(scheduler = BUILTIN)]
fn with_a_builtin_that_fails(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = GIVEN, duration_s = 2, isolation, max_gap_ms = 2000)]
fn steady(ctx: &Ctx) -> Result<AssertResult> {
    assert_eq!(ctx.topology().llcs(), 2);
    scenarios::steady(ctx)
}

/// A CPU of an emulated machine that is idle wakes up late.
#[ktstr_test(scheduler = GIVEN, llcs = 1, cores = 4, duration_s = 4, max_wasted_ms = 2000.0)]
fn conserves_work(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(ctx, &[ctx.cgroup_def("everywhere").workers(8)])
}

/// For `scx_qmap` of the kernel's own `tools/sched_ext`: an error after so many enqueues.
#[ktstr_test(scheduler = GIVEN, duration_s = 12, extra_sched_args = ["-e", "100"])]
fn qmap_gives_up(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(scheduler = GIVEN, duration_s = 12, extra_sched_args = ["-e", "100"],
    expect_scx_bpf_error_contains = "test triggering error")]
fn qmap_gives_up_as_declared(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(scheduler = GIVEN, duration_s = 12, extra_sched_args = ["-e", "100"], auto_repro = false,
    expect_scx_bpf_error_contains = "something else")]
fn qmap_gives_up_for_another_reason(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

/// Likewise: every so many user threads are never dispatched.
#[ktstr_test(scheduler = GIVEN, duration_s = 120, watchdog_timeout_s = 3, extra_sched_args = ["-t", "5"])]
fn qmap_stalls(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

/// Kills the scheduler's program as a fault of its own would.
fn kill_the_scheduler() -> Result<AssertResult> {
    let is_it = |process: &Path| {
        let program = fs::read_link(process.join("exe"));
        program.is_ok_and(|program| program == Path::new(Scheduler::PROGRAM))
    };
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let pid = process
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
            && is_it(&process)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::SEGV)?;
        }
    }
    // Whoever watches the scheduler ends this.
    loop {
        std::thread::sleep(Duration::from_secs(10));
    }
}

/// Whether this is a second run: probes have a trace instance of their own.
fn is_watched() -> bool {
    Path::new("/sys/kernel/tracing/instances/ktstr").exists()
}

#[ktstr_test(scheduler = GIVEN, duration_s = 2)]
fn dies_unless_watched(_: &Ctx) -> Result<AssertResult> {
    if is_watched() {
        return Ok(AssertResult::pass());
    }
    kill_the_scheduler()
}

#[ktstr_test(scheduler = GIVEN, duration_s = 2, auto_repro = false)]
fn dies_and_is_not_looked_into(_: &Ctx) -> Result<AssertResult> {
    kill_the_scheduler()
}

/// As many calls into the scheduler as there can be, from all CPUs, for seconds.
#[ktstr_test(scheduler = GIVEN, duration_s = 10)]
fn dies_in_a_flood(ctx: &Ctx) -> Result<AssertResult> {
    let until = Instant::now() + Duration::from_secs(3);
    std::thread::scope(|scope| {
        for _ in 0..2 * ctx.topology().cpus() {
            scope.spawn(|| {
                while Instant::now() < until {
                    std::thread::yield_now();
                }
            });
        }
    });
    kill_the_scheduler()
}

/// `scx_qmap -p` takes only tasks that ask for it.
#[ktstr_test(scheduler = GIVEN, duration_s = 1, extra_sched_args = ["-p"])]
fn qmap_in_part(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(scheduler = GIVEN, duration_s = 1, extra_sched_args = ["-p"])]
fn qmap_in_part_without_workers(_: &Ctx) -> Result<AssertResult> {
    let sched = fs::read_to_string("/proc/self/sched")?;
    assert!(
        sched.contains("SCHED_EXT") || policy_of(&sched) == Some("7"),
        "{sched}"
    );
    Ok(AssertResult::pass())
}

/// The body and its workers are no longer the scheduler's.
#[ktstr_test(scheduler = GIVEN, duration_s = 1, extra_sched_args = ["-p"])]
fn escapes_from_qmap(ctx: &Ctx) -> Result<AssertResult> {
    leave_the_scheduler()?;
    scenarios::steady(ctx)
}

#[ktstr_test(scheduler = GIVEN, duration_s = 1, extra_sched_args = ["-p"])]
fn escapes_from_qmap_without_workers(_: &Ctx) -> Result<AssertResult> {
    leave_the_scheduler()?;
    Ok(AssertResult::pass())
}

/// The value of the line `policy : 7`.
fn policy_of(sched: &str) -> Option<&str> {
    let line = sched.lines().find(|line| line.starts_with("policy "))?;
    line.split_whitespace().last()
}

fn leave_the_scheduler() -> Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    #[allow(unsafe_code)]
    // SAFETY: plain system call; the parameter is read before it returns.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameter) };
    if done == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error().into())
    }
}

/// The kernel ends a scheduler that does not know about CPUs that come and go.
fn switch_a_cpu_off() -> Result<AssertResult> {
    let before = fs::read_to_string("/sys/kernel/sched_ext/enable_seq")?;
    fs::write("/sys/devices/system/cpu/cpu1/online", "0")?;
    // `scx_simple` then starts anew, unless somebody who watches it ends this.
    let until = Instant::now() + Duration::from_secs(60);
    while fs::read_to_string("/sys/kernel/sched_ext/enable_seq")? == before {
        assert!(Instant::now() < until, "it did not start anew");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = GIVEN, duration_s = 30)]
fn switches_a_cpu_off(_: &Ctx) -> Result<AssertResult> {
    switch_a_cpu_off()
}

/// Now and then 6.12 warns of its own deadline server when a CPU goes (`dl_rq->running_bw > old`).
#[ktstr_test(scheduler = GIVEN, duration_s = 30, allow_restarts,
    allow_kernel_warnings = ["at kernel/sched/deadline.c:"])]
fn switches_a_cpu_off_and_may(_: &Ctx) -> Result<AssertResult> {
    switch_a_cpu_off()
}

#[ktstr_test(scheduler = NOWHERE)]
fn without_a_program(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(scheduler = NOT_ONE)]
fn with_a_program_that_schedules_nothing(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}
