//! Programs that many know, as payload: benchmarks of the scheduler and a load beside them.
//!
//! `scripts/setup --tests` installs those that Debian has. Where one is not there, its tests are skipped with its name.

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_payload!(
    /// Groups of senders and receivers that pass messages (Debian: rt-tests).
    HACKBENCH, {
        name = "hackbench",
        binary = "hackbench",
        args = ["--groups", "2", "--fds", "4", "--loops", "20"],
        metrics = [PayloadMetric::pattern("time_s", "s", Better::Lower, "Time: {}")],
        checks = [MetricCheck::at_most("time_s", 60.0)],
        skip_if_missing = true,
    }
);

declare_payload!(
    /// Two tasks that wake each other by a pipe (Debian: linux-perf).
    SCHED_PIPE, {
        name = "sched-pipe",
        binary = "perf",
        args = ["bench", "sched", "pipe", "--loop", "2000"],
        metrics = [
            PayloadMetric::pattern("ops_per_second", "ops/s", Better::Higher, "{} ops/sec"),
            PayloadMetric::pattern("op_us", "us", Better::Lower, "{} usecs/op").gates(1.0, 10.0),
        ],
        skip_if_missing = true,
    }
);

declare_payload!(
    /// A busy loop on every CPU (Debian: stress-ng).
    STRESS_CPU, {
        name = "stress-cpu",
        binary = "stress-ng",
        args = ["--cpu", "{cpus}", "--cpu-method", "loop", "--timeout", "{duration_s}s", "--metrics-brief"],
        // stress-ng: metrc: [71] cpu    4242   3.00   5.99   0.01   1413.49   707.00
        metrics = [PayloadMetric::pattern("bogo_ops", "ops", Better::Higher, "] cpu {}")],
        skip_if_missing = true,
    }
);

declare_payload!(
    /// Message threads that wake workers, and how long each waits to run (not in Debian 12).
    SCHBENCH, {
        name = "schbench",
        binary = "schbench",
        args = ["-m", "1", "-t", "2", "-r", "{duration_s}"],
        metrics = [PayloadMetric::pattern("p99_us", "us", Better::Lower, "99.0th: {}")],
        skip_if_missing = true,
    }
);

#[ktstr_test(llcs = 2, cores = 2, duration_s = 40, payload = HACKBENCH)]
fn hackbench_alone(ctx: &Ctx) -> Result<AssertResult> {
    execute_payload(ctx, &[])
}

#[ktstr_test(llcs = 2, cores = 2, duration_s = 20, payload = SCHED_PIPE, workloads = [STRESS_CPU])]
fn pipes_beside_stress(ctx: &Ctx) -> Result<AssertResult> {
    execute_payload(ctx, &[])
}

/// Workers beside a program: both are judged.
#[ktstr_test(
    cores = 2,
    duration_s = 3,
    payload = STRESS_CPU.checked_by(&[MetricCheck::at_least("bogo_ops", 1.0)]),
    min_iteration_rate = 0.1
)]
fn workers_beside_stress(ctx: &Ctx) -> Result<AssertResult> {
    execute_payload(ctx, &[ctx.cgroup_def("workers").work(WorkType::mixed())])
}

#[ktstr_test(cores = 2, duration_s = 5, payload = SCHBENCH)]
fn schbench_alone(ctx: &Ctx) -> Result<AssertResult> {
    execute_payload(ctx, &[])
}
