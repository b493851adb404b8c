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

/// Nested cgroups with more workers than CPUs, judged likewise.
#[ktstr_test(scheduler = KTSTR, extra_sched_args = ["--crowd"], duration_s = 3, max_local_dsq_depth = 4)]
fn nested_and_crowded(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::nesting(ctx, 8)
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
    max_gap_ms = GAP_MS,
    max_p99_wake_latency_ns = WAKE_NS
)]
fn under_eevdf(ctx: &Ctx) -> Result<AssertResult> {
    scenario(ctx)
}

/// A family or a work type, under the scheduler with these arguments and under the kernel's own, judged by what every
/// case is judged by.
macro_rules! pairs {
    ($($name:ident, $clean:ident $args:tt: $body:expr;)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = 6, isolation,
            max_gap_ms = GAP_MS, max_p99_wake_latency_ns = WAKE_NS)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            $body(ctx)
        }

        #[ktstr_test(llcs = 2, cores = 2, duration_s = 2, isolation,
            max_gap_ms = GAP_MS, max_p99_wake_latency_ns = WAKE_NS)]
        fn $clean(ctx: &Ctx) -> Result<AssertResult> {
            $body(ctx)
        }
    )*};
}

pairs! {
    cpusets_of_the_starved, cpusets_under_eevdf ["--starve", "sized"]: scenarios::cpuset_shrink;
    cgroups_of_the_starved, cgroups_under_eevdf ["--starve", "first"]: scenarios::cgroups_create;
    locks_of_the_starved, locks_under_eevdf ["--starve", "locks"]: scenarios::contention;
    stress_and_a_stall, stress_under_eevdf ["--stall-after", "500", "--timeout-ms", "3000"]: scenarios::stress;
    affinity_on_a_wrong_cpu, affinity_under_eevdf ["--wrong-cpu"]: scenarios::affinity;
    hotplug_of_a_cpu, hotplug_under_eevdf []: scenarios::hotplug;
    nested_and_starved, nested_under_eevdf ["--starve", "beside"]: nested;
    forks_and_burnt_time, forks_under_eevdf
        ["--burn-us", "1000000", "--burn-cgroup", "left", "--slice-us", "1000000"]:
        |ctx| left(ctx, 2, WorkType::fork_exit());
    chains_and_burnt_time, chains_under_eevdf
        ["--burn-us", "1000000", "--burn-cgroup", "left", "--slice-us", "1000000"]:
        |ctx| left(ctx, 4, WorkType::wake_chain());
    timers_and_burnt_time, timers_under_eevdf
        ["--burn-us", "1000000", "--burn-cgroup", "left", "--slice-us", "1000000"]:
        |ctx| left(ctx, 2, WorkType::timer_wake());
    messages_and_burnt_time, messages_under_eevdf
        ["--burn-us", "1000000", "--burn-cgroup", "left", "--slice-us", "1000000"]:
        |ctx| left(ctx, 2, WorkType::pipe_io());
}

fn nested(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::nesting(ctx, 4)
}

fn left(ctx: &Ctx, workers: usize, work: WorkType) -> Result<AssertResult> {
    execute_defs(ctx, &[CgroupDef::named("left").workers(workers).work(work)])
}

/// A scheduler that takes only tasks that ask for it, here those of `asking`. `left` is kept out, whatever the scheduler
/// does to a cgroup of that name; with `--starve asking` it is the other one that suffers.
macro_rules! partial_cases {
    ($($name:ident $args:tt)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = 6, max_gap_ms = GAP_MS)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            let mut result = execute_defs(ctx, &[
                CgroupDef::named("asking").policy(Policy::Ext),
                CgroupDef::named("left").policy(Policy::Other),
            ])?;
            let under: Vec<_> = result.cgroups.iter().map(|it| it.under_sched_ext).collect();
            if under != [Some(2), Some(0)] {
                result.merge(AssertResult::fail("taken", format!("{under:?}")));
            }
            Ok(result)
        }
    )*};
}

partial_cases! {
    takes_those_that_ask ["--partial"]
    starves_none_that_do_not_ask ["--partial", "--starve", "left"]
    starves_those_that_ask ["--partial", "--starve", "asking"]
}
