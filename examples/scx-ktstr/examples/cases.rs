//! Tests under scx-ktstr, well-behaved and with each of its faults; `tests/mutations.rs` runs them one by one and
//! says what must come of each.

use std::time::Duration;

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
    std::thread::sleep(Duration::from_secs(10));
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

/// How long a CPU may be idle while a task waits for it. An idle CPU of an emulated machine wakes up when it is its turn
/// to be emulated, after all that are busy.
const WASTED_MS: f64 = 2000.0;

declare_scheduler!(IDLE, {
    name = "scx-ktstr",
    binary = "scx-ktstr",
    sched_args = ["--timeout-ms", "20000"],
    // Every second, each CPU counts its memory, which would end the idle time of the one that is left idle.
    sysctls = [("vm.stat_interval", "120")],
    topology = (1, 2, 2, 1),
});

/// Twice as many workers as CPUs, half of which sleep at times.
fn crowded(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(
        ctx,
        &[
            CgroupDef::named("busy").workers(6),
            CgroupDef::named("sleepy")
                .workers(2)
                .work(WorkType::mixed()),
        ],
    )
}

/// Cases that are judged by whether CPUs are left idle.
macro_rules! busy_cases {
    ($($name:ident $args:tt)*) => {$(
        #[ktstr_test(scheduler = IDLE, extra_sched_args = $args, duration_s = 8, max_wasted_ms = WASTED_MS)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            crowded(ctx)
        }
    )*};
}

busy_cases! {
    keeps_cpus_busy []
    leaves_a_cpu_idle ["--idle-cpu", "3"]
}

#[ktstr_test(llcs = 2, cores = 2, duration_s = 8, max_wasted_ms = WASTED_MS)]
fn eevdf_keeps_cpus_busy(ctx: &Ctx) -> Result<AssertResult> {
    crowded(ctx)
}

const HOLD: Hold = Hold::For(Duration::from_millis(300));

/// Two groups everywhere, then `steps`.
fn changed(ctx: &Ctx, steps: &[Step]) -> Result<AssertResult> {
    let first = Step::new("everywhere")
        .setup(CgroupDef::named("pinned").workers(2))
        .setup(CgroupDef::named("other").workers(1))
        .hold(HOLD);
    execute_steps(ctx, &[&[first], steps].concat())
}

/// No CPU suits both steps.
fn narrow() -> Vec<Step> {
    let cpu = |cpu| Op::set_cpuset("pinned", CpusetSpec::Range(cpu..=cpu));
    vec![
        Step::new("first CPU").op(cpu(0)).hold(HOLD),
        Step::new("last CPU").op(cpu(3)).hold(HOLD),
    ]
}

fn swap() -> Vec<Step> {
    vec![
        Step::new("apart")
            .op(Op::set_cpuset("pinned", CpusetSpec::Llc(0)))
            .op(Op::set_cpuset("other", CpusetSpec::Llc(1)))
            .hold(HOLD),
        Step::new("swapped")
            .op(Op::swap_cpusets("pinned", "other"))
            .hold(HOLD),
        Step::new("everywhere")
            .op(Op::clear_cpuset("pinned"))
            .op(Op::clear_cpuset("other"))
            .hold(HOLD),
    ]
}

fn affine() -> Vec<Step> {
    let cpu = |cpu| Op::set_affinity("pinned", Affinity::Cpu(cpu));
    vec![
        Step::new("first CPU").op(cpu(0)).hold(HOLD),
        Step::new("last CPU").op(cpu(3)).hold(HOLD),
        Step::new("any")
            .op(Op::set_affinity("pinned", Affinity::All))
            .hold(HOLD),
    ]
}

fn spawn() -> Vec<Step> {
    vec![
        Step::new("more")
            .op(Op::spawn("other", 60, WorkType::Spin))
            .hold(HOLD),
        Step::new("fewer").op(Op::stop("other", 60)).hold(HOLD),
    ]
}

/// On one CPU, a worker of nice 0 gets nine times the time of one of nice 10, or, where cgroups have shares, one in a cgroup
/// of a ninth of the weight. Half of that must be seen, as a busy host holds whoever runs up now and then.
fn reniced(ctx: &Ctx) -> Result<AssertResult> {
    let group = |name| {
        CgroupDef::named(name)
            .workers(1)
            .cpuset(CpusetSpec::Range(0..=0))
    };
    let step = Step::new("weighed")
        .setup(group("heavy"))
        .setup(group("light"))
        .op(Op::set_nice("light", 10))
        .op(Op::set_weight("light", 11))
        .hold(Hold::Share(1.0));
    let mut result = execute_steps(ctx, &[step])?;
    let time = |name: &str| {
        let group = result.cgroups.iter().find(|group| group.name == name);
        group.map_or(0.0, |group| group.cpu_time_s)
    };
    let (heavy, light) = (time("heavy"), time("light"));
    if heavy < 4.5 * light {
        let words = format!("heavy ran for {heavy:.2} s, light for {light:.2} s");
        result.merge(AssertResult::fail("shares", words));
    }
    Ok(result)
}

/// A case of `changed` with these arguments of the scheduler.
macro_rules! change_cases {
    ($($name:ident $args:tt $steps:expr;)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = 4, max_gap_ms = GAP_MS)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            changed(ctx, &$steps)
        }
    )*};
}

change_cases! {
    follows_changes [] all_changes();
    keeps_a_cpuset ["--pin", "pinned"] narrow();
    keeps_swapped_cpusets ["--pin", "pinned"] swap();
    keeps_an_affinity ["--pin", "pinned"] affine();
    refuses_workers ["--refuse-after", "40"] spawn();
}

fn all_changes() -> Vec<Step> {
    [swap(), affine(), spawn(), narrow()].concat()
}

#[ktstr_test(llcs = 2, cores = 2, duration_s = 4, max_gap_ms = GAP_MS)]
fn follows_changes_under_eevdf(ctx: &Ctx) -> Result<AssertResult> {
    changed(ctx, &all_changes())
}

#[ktstr_test(scheduler = KTSTR, duration_s = 3)]
fn weighs_tasks(ctx: &Ctx) -> Result<AssertResult> {
    reniced(ctx)
}

#[ktstr_test(llcs = 2, cores = 2, duration_s = 3)]
fn weighs_tasks_under_eevdf(ctx: &Ctx) -> Result<AssertResult> {
    reniced(ctx)
}

#[ktstr_test(scheduler = KTSTR, extra_sched_args = ["--ignore-weights"], duration_s = 3)]
fn ignores_weights(ctx: &Ctx) -> Result<AssertResult> {
    reniced(ctx)
}

/// Cases of eight workers on four CPUs, in which values are written into maps of the scheduler.
macro_rules! write_cases {
    ($($name:ident $args:tt $repro:literal $writes:tt)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = 4, auto_repro = $repro,
            bpf_map_write = $writes)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            execute_defs(ctx, &[CgroupDef::named("everywhere").workers(8)])
        }
    )*};
}

write_cases! {
    stalls_from_the_middle_on ["--timeout-ms", "3000"] true [
        MapWrite::number(".data.live", "live.stall_now", 1).after_ms(1000),
    ]
    is_told_to_fail_by_a_variable [] false [MapWrite::number(".data.live", "live.fail_now", 1)]
    is_told_to_fail_by_an_array [] false [MapWrite::number("knobs", "fail", 1).key(2).after_ms(500)]
    is_told_to_fail_by_a_hash_map [] false [MapWrite::number("told", "", 1).key(7).after_ms(500)]
    is_told_nothing [] false [
        MapWrite::number(".bss", "insertions", 5),
        MapWrite::text(".data.live", "live.note", "seen").after_ms(200),
        MapWrite::number("knobs", "unused", 1).key(2).after_ms(400),
        MapWrite::number("told", "", 1).key(1 << 40).after_ms(400),
    ]
    writes_into_no_map [] false [MapWrite::number("nobs", "fail", 1)]
    writes_into_no_field [] false [MapWrite::number("knobs", "fails", 1).after_ms(300)]
    writes_what_does_not_fit [] false [MapWrite::number(".data.live", "live.stall_now", 2)]
    writes_beyond_the_array [] false [MapWrite::number("knobs", "fail", 1).key(4)]
    writes_a_constant [] false [MapWrite::number(".rodata.ktstr", "switches.crowd", 1)]
    writes_for_each_task [] false [MapWrite::number("task_ctxs", "charged_runtime", 1)]
    writes_too_late [] false [MapWrite::number(".bss", "insertions", 5).after_ms(600_000)]
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
/// does to a cgroup of that name; with `--starve asking` it is the other one that suffers. Each has CPUs of its own: a task
/// of the kernel's own scheduler that never sleeps keeps its CPU from those of sched_ext, which is a class below.
macro_rules! partial_cases {
    ($($name:ident $args:tt)*) => {$(
        #[ktstr_test(scheduler = KTSTR, extra_sched_args = $args, duration_s = 6, max_gap_ms = GAP_MS)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            let mut result = execute_defs(ctx, &[
                CgroupDef::named("asking").policy(Policy::Ext).cpuset(CpusetSpec::Llc(0)),
                CgroupDef::named("left").policy(Policy::Other).cpuset(CpusetSpec::Llc(1)),
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
