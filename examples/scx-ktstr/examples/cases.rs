//! Tests under scx-ktstr, well-behaved and with each of its faults; `tests/mutations.rs` runs them one by one and
//! says what must come of each.

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_scheduler!(KTSTR, {
    name = "scx-ktstr",
    binary = "scx-ktstr",
    sched_args = ["--timeout-ms", "3000"],
    topology = (1, 2, 2, 1),
});

/// Schedulers for cells of the verifier sweep: each fault ends one in a stage of its own.
macro_rules! faulty {
    ($($name:ident $text:literal $args:tt)*) => {$(
        declare_scheduler!($name, { name = $text, binary = "scx-ktstr", sched_args = $args });
    )*};
}

faulty! {
    REJECTED "rejected" ["--fail-verify"]
    REJECTED_LATE "rejected-late" ["--fail-verify", "--verifier-loop"]
    LONG_WAY "long-way" ["--verifier-loop"]
    NEVER_ATTACHES "never-attaches" ["--never-attach"]
    EXITS_EARLY "exits-early" ["--exit-early", "7"]
    STALLS "stalls" ["--stall-after", "0", "--timeout-ms", "2000"]
    ERRS "errs" ["--error-after", "10"]
    IGNORES_SIGTERM "ignores-sigterm" ["--ignore-sigterm"]
    FLOODS "floods" ["--flood-mib", "100"]
}

/// What every case does: groups on an LLC each, of workers that compute and workers that sleep.
fn scenario(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(
        ctx,
        &[
            CgroupDef::named("left")
                .workers(2)
                .cpuset(CpusetSpec::Llc(0)),
            CgroupDef::named("right")
                .workers(2)
                .cpuset(CpusetSpec::Llc(1))
                .work(WorkType::mixed()),
        ],
    )
}

/// A case with these arguments of the scheduler, judged by what every case is judged by.
macro_rules! cases {
    ($($name:ident $args:tt)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = 4, isolation, max_gap_ms = 300,
            max_p99_wake_latency_ns = 50_000_000)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            scenario(ctx)
        }
    )*};
}

cases! {
    sound []
    verified_the_long_way ["--verifier-loop"]
    stalls ["--stall-after", "500"]
    picks_a_wrong_cpu ["--wrong-cpu"]
    reports_an_error ["--error-after", "100"]
    burns_time ["--burn-us", "10000"]
    starves_a_cgroup ["--starve", "left"]
    fails_verification ["--fail-verify"]
    exits_early ["--exit-early", "7"]
    never_attaches ["--never-attach"]
    ignores_sigterm ["--ignore-sigterm"]
    forks ["--fork"]
    floods_its_output ["--flood-mib", "100"]
}

/// The kernel ends a scheduler that does not know about CPUs that come and go; this one's program then exits.
#[ktstr_test(scheduler = KTSTR, duration_s = 4)]
fn loses_a_cpu(_: &Ctx) -> Result<AssertResult> {
    std::fs::write("/sys/devices/system/cpu/cpu3/online", "0")?;
    // Whoever watches the scheduler ends this.
    std::thread::sleep(std::time::Duration::from_secs(10));
    Ok(AssertResult::pass())
}

/// Cases of eight workers on four CPUs, judged by what was on the run queues.
macro_rules! queue_cases {
    ($($name:ident $args:tt)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = 2, max_imbalance_ratio = 2,
            max_local_dsq_depth = 4)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            execute_defs(ctx, &[CgroupDef::named("everywhere").workers(8)])
        }
    )*};
}

queue_cases! {
    spreads_them []
    crowds_a_cpu ["--crowd"]
}

/// The same scenario under the kernel's own scheduler.
#[ktstr_test(
    llcs = 2,
    duration_s = 4,
    isolation,
    max_gap_ms = 300,
    max_p99_wake_latency_ns = 50_000_000
)]
fn under_eevdf(ctx: &Ctx) -> Result<AssertResult> {
    scenario(ctx)
}
