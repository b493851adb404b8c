//! Tests under scx-ktstr, well-behaved and with each of its faults; `tests/mutations.rs` runs them one by one and
//! says what must come of each.

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_scheduler!(KTSTR, {
    name = "scx-ktstr",
    binary = "scx-ktstr",
    // The kernel's watchdog is to end those that stall, not those that a busy host keeps waiting.
    sched_args = ["--timeout-ms", "20000"],
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

/// Thresholds for machines that are emulated on a host with other work: its stalls are the guest's gaps and latencies,
/// and last some tenths of a second. What a fault does to a task is a multiple of them, by the guest's own clock: the turns
/// of the starved are four seconds apart, and what is burnt is one.
const GAP_MS: u64 = 3000;
const WAKE_NS: u64 = 800_000_000;

/// What most cases do: groups on an LLC each, of workers that compute and workers that sleep.
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
    ($($seconds:literal s: { $($name:ident $args:tt)* })*) => {$($(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = $seconds, isolation,
            max_gap_ms = GAP_MS, max_p99_wake_latency_ns = WAKE_NS)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            scenario(ctx)
        }
    )*)*};
}

cases! {
    4 s: {
        sound []
        verified_the_long_way ["--verifier-loop"]
        stalls ["--stall-after", "500", "--timeout-ms", "3000"]
        picks_a_wrong_cpu ["--wrong-cpu"]
        reports_an_error ["--error-after", "100"]
        fails_verification ["--fail-verify"]
        exits_early ["--exit-early", "7"]
        never_attaches ["--never-attach"]
        ignores_sigterm ["--ignore-sigterm"]
        forks ["--fork"]
        floods_its_output ["--flood-mib", "100"]
    }
    // Long slices make wake-ups what is burnt for.
    6 s: {
        burns_time ["--burn-us", "1000000", "--burn-cgroup", "right", "--slice-us", "1000000"]
        starves_a_cgroup ["--starve", "left"]
    }
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

/// Cases of eight workers on four CPUs, in which values are written into maps of the scheduler.
macro_rules! write_cases {
    ($($name:ident $repro:literal $writes:tt)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = ["--timeout-ms", "3000"], duration_s = 4,
            auto_repro = $repro, bpf_map_write = $writes)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            execute_defs(ctx, &[CgroupDef::named("everywhere").workers(8)])
        }
    )*};
}

write_cases! {
    stalls_from_the_middle_on true [MapWrite::number(".data.live", "live.stall_now", 1).after_ms(1000)]
    is_told_to_fail_by_a_variable false [MapWrite::number(".data.live", "live.fail_now", 1)]
    is_told_to_fail_by_an_array false [MapWrite::number("knobs", "fail", 1).key(2).after_ms(500)]
    is_told_to_fail_by_a_hash_map false [MapWrite::number("told", "", 1).key(7).after_ms(500)]
    is_told_nothing false [
        MapWrite::number(".bss", "insertions", 5),
        MapWrite::text(".data.live", "live.note", "seen").after_ms(200),
        MapWrite::number("knobs", "unused", 1).key(2).after_ms(400),
        MapWrite::number("told", "", 1).key(1 << 40).after_ms(400),
    ]
    writes_into_no_map false [MapWrite::number("nobs", "fail", 1)]
    writes_into_no_field false [MapWrite::number("knobs", "fails", 1).after_ms(300)]
    writes_what_does_not_fit false [MapWrite::number(".data.live", "live.stall_now", 2)]
    writes_beyond_the_array false [MapWrite::number("knobs", "fail", 1).key(4)]
    writes_a_constant false [MapWrite::number(".rodata.ktstr", "switches.crowd", 1)]
    writes_for_each_task false [MapWrite::number("task_ctxs", "charged_runtime", 1)]
    writes_too_late false [MapWrite::number(".bss", "insertions", 5).after_ms(600_000)]
}

declare_payload!(
    /// The program of the package itself, which says whether it has a scheduler.
    CAN_LOAD, { name = "can-load", package = "scx-ktstr", args = ["--can-load"] }
);

/// A program that cargo builds.
#[ktstr_test(duration_s = 20, payload = CAN_LOAD)]
fn runs_a_package(ctx: &Ctx) -> Result<AssertResult> {
    execute_payload(ctx, &[])
}

/// The same scenario under the kernel's own scheduler.
#[ktstr_test(
    llcs = 2,
    duration_s = 4,
    isolation,
    max_gap_ms = GAP_MS,
    max_p99_wake_latency_ns = WAKE_NS
)]
fn under_eevdf(ctx: &Ctx) -> Result<AssertResult> {
    scenario(ctx)
}
