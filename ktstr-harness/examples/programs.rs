//! Programs in the guest; `tests/programs.rs` runs these tests one by one and says what must come of each.

use std::fs;
use std::time::Duration;

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_payload!(LOAD, {
    name = "load",
    binary = "./examples/programs/load.sh",
    args = ["measures"],
    include_files = ["/bin/sleep"],
    metrics = [
        PayloadMetric::key_value("ops", "ops/s", Better::Higher, "ops"),
        PayloadMetric::pattern("cpu_s", "s", Better::Lower, "] cpu {_} {} s").gates(0.5, 20.0),
    ],
    checks = [MetricCheck::at_least("ops", 100.0), MetricCheck::at_most("ops", 1000.0)],
});

/// The same without metrics, by another name.
const OTHER: Payload = Payload {
    name: "other",
    metrics: &[],
    checks: &[],
    ..LOAD
};

const JSON: Payload = Payload {
    metrics: &[PayloadMetric::json(
        "ops",
        "",
        Better::Higher,
        "/runs/0/ops",
    )],
    ..OTHER.with_args(&["json"])
};

const ARGUMENTS: Payload = Payload {
    metrics: &[
        PayloadMetric::key_value("seconds", "s", Better::Higher, "seconds"),
        PayloadMetric::key_value("cpus", "", Better::Higher, "cpus"),
    ],
    ..OTHER.with_args(&["arguments", "{duration_s}", "{cpus}"])
};

/// With the one metric `ops`, unchecked.
const OPS: Payload = Payload {
    metrics: &[PayloadMetric::key_value("ops", "", Better::Higher, "ops")],
    ..OTHER
};

/// Nothing of a program is left: no cgroup, no process.
fn nothing_is_left() -> Result<()> {
    for name in ["load", "other"] {
        assert!(!fs::exists(format!("/sys/fs/cgroup/{name}"))?, "{name}");
    }
    for process in fs::read_dir("/proc")?.flatten() {
        let Ok(status) = fs::read_to_string(process.path().join("status")) else {
            continue;
        };
        // One that was killed stays until init looks.
        let is_dead = status.lines().any(|line| line.starts_with("State:\tZ"));
        let name = status.lines().next().unwrap_or_default();
        let is_ours = ["sleep", "load", "other"]
            .iter()
            .any(|it| name.ends_with(it));
        assert!(is_dead || !is_ours, "{status}");
    }
    Ok(())
}

/// The programs run, and nothing of them is left whatever comes of it.
fn run_all(ctx: &Ctx) -> Result<AssertResult> {
    let result = execute_payload(ctx, &[]);
    nothing_is_left()?;
    result
}

#[ktstr_test(cores = 2, duration_s = 5, payload = LOAD)]
fn measures(ctx: &Ctx) -> Result<AssertResult> {
    run_all(ctx)
}

#[ktstr_test(cores = 2, duration_s = 2, payload = JSON)]
fn measures_in_json(ctx: &Ctx) -> Result<AssertResult> {
    run_all(ctx)
}

#[ktstr_test(cores = 2, duration_s = 7, payload = ARGUMENTS)]
fn knows_its_test(ctx: &Ctx) -> Result<AssertResult> {
    run_all(ctx)
}

#[ktstr_test(cores = 2, duration_s = 5, payload = LOAD.checked_by(&[MetricCheck::at_least("ops", 121.0)]))]
fn is_too_slow(ctx: &Ctx) -> Result<AssertResult> {
    run_all(ctx)
}

/// A workload beside it that never ends, and workers.
#[ktstr_test(
    cores = 2,
    duration_s = 5,
    payload = LOAD,
    workloads = [OTHER.with_args(&["hangs"])]
)]
fn runs_beside_others(ctx: &Ctx) -> Result<AssertResult> {
    let result = execute_payload(ctx, &[ctx.cgroup_def("workers")]);
    nothing_is_left()?;
    result
}

#[ktstr_test(cores = 2, duration_s = 5, workloads = [OPS.with_args(&["sleeps"])])]
fn runs_for_the_duration(ctx: &Ctx) -> Result<AssertResult> {
    run_all(ctx)
}

#[ktstr_test(cores = 2, duration_s = 5, payload = OPS.with_args(&["leaves"]))]
fn leaves_a_child(ctx: &Ctx) -> Result<AssertResult> {
    run_all(ctx)
}

#[ktstr_test(cores = 2, duration_s = 30, payload = OPS.with_args(&["floods"]))]
fn floods(ctx: &Ctx) -> Result<AssertResult> {
    run_all(ctx)
}

/// Programs that fail, each in its own way.
macro_rules! failing {
    ($($name:ident $program:expr;)*) => {$(
        #[ktstr_test(cores = 2, duration_s = 4, payload = $program)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            run_all(ctx)
        }
    )*};
}

failing! {
    prints_garbage OPS.with_args(&["garbage"]);
    prints_garbage_for_json JSON.with_args(&["garbage"]);
    exits_with_another_code OPS.with_args(&["exits"]);
    crashes OPS.with_args(&["crashes"]);
    hangs Payload { time_limit_s: Some(1), ..OPS.with_args(&["hangs"]) };
    is_missing Payload { source: MISSING, ..OPS };
    is_missing_and_may_be Payload { source: MISSING, skip_if_missing: true, ..OPS };
}

const MISSING: ktstr_harness::payload::PayloadSource =
    ktstr_harness::payload::PayloadSource::Binary("no-such-program");

#[ktstr_test(cores = 2, duration_s = 2, payload = LOAD)]
fn is_never_started(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(ctx, &[ctx.cgroup_def("workers")])
}

#[ktstr_test(cores = 2, duration_s = 2)]
fn declares_none(ctx: &Ctx) -> Result<AssertResult> {
    execute_payload(ctx, &[])
}

/// Whether a file below the cgroups has this as its first line.
fn reads(file: &str, expected: &str) -> std::result::Result<(), String> {
    let path = format!("/sys/fs/cgroup/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    match text.lines().next() {
        Some(first) if first == expected => Ok(()),
        first => Err(format!("{path}: {first:?}, not {expected}")),
    }
}

/// Operations on programs, and on their cgroups as on others.
#[ktstr_test(cores = 2, duration_s = 10, payload = LOAD, workloads = [OPS.with_args(&["sleeps"])])]
fn steps_with_programs(ctx: &Ctx) -> Result<AssertResult> {
    let short = Hold::For(Duration::from_millis(300));
    let sleeper = ctx.workloads()[0];
    let result = execute_steps(
        ctx,
        &[
            Step::new("begin").op(Op::start(sleeper)).hold(short),
            Step::new("settings")
                .op(Op::set_weight("other", 50))
                .op(Op::set_cpuset("other", CpusetSpec::Range(1..=1)))
                .op(Op::freeze("other"))
                .op(Op::call("set", || {
                    reads("other/cpu.weight", "50").and(reads("other/cpuset.cpus.effective", "1"))
                }))
                .hold(short),
            Step::new("frozen end").op(Op::kill(sleeper)).hold(short),
            Step::new("again")
                .op(Op::start(sleeper))
                .op(Op::start(&LOAD))
                .op(Op::wait_for(&LOAD))
                .hold(short),
            Step::new("often")
                .op(Op::start(&LOAD))
                .op(Op::wait_for(&LOAD))
                .hold(Hold::Repeat {
                    every: Duration::from_millis(100),
                    share: 0.1,
                }),
        ],
    );
    nothing_is_left()?;
    result
}

/// What ends badly while nobody waits for it ends the scenario.
#[ktstr_test(cores = 2, duration_s = 20, workloads = [OTHER.with_args(&["crashes_soon"])])]
fn crashes_while_a_step_holds(ctx: &Ctx) -> Result<AssertResult> {
    let program = ctx.workloads()[0];
    let result = execute_steps(
        ctx,
        &[
            Step::new("start")
                .op(Op::start(program))
                .hold(Hold::For(Duration::ZERO)),
            Step::new("work").setup(ctx.cgroup_def("a")),
        ],
    );
    nothing_is_left()?;
    result
}

/// The host's function sees what the guest measured.
#[ktstr_test(
    cores = 2,
    duration_s = 2,
    payload = LOAD,
    cleanup_budget_ms = 60_000,
    post_vm = sees_the_run
)]
fn is_looked_at_afterwards(ctx: &Ctx) -> Result<AssertResult> {
    // At this level it is on the console, whatever the kernel is told to show there.
    fs::write("/dev/kmsg", "<0>seen by the host")?;
    run_all(ctx)
}

fn sees_the_run(run: &FinishedRun<'_>) -> Result<()> {
    assert_eq!(run.metrics()["load.ops"], 120.0);
    assert!(
        run.console().contains("seen by the host"),
        "{}",
        run.console()
    );
    assert!(run.kernel_image().is_some_and(std::path::Path::is_file));
    let path = run.record_path().ok_or("no path")?;
    let dir = path.parent().ok_or("no directory")?;
    fs::write(dir.join("seen"), format!("{}", run.verdict().outcome()))?;
    Ok(())
}

/// It fails, though a failure is expected: of what it finds nobody said that it is.
#[ktstr_test(cores = 2, duration_s = 2, expect_err, post_vm = finds_something)]
fn is_found_wrong_afterwards(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::fail("on purpose", "so it is"))
}

fn finds_something(run: &FinishedRun<'_>) -> Result<()> {
    Err(format!(
        "the test ended as {}, which is odd",
        run.verdict().outcome()
    )
    .into())
}
