//! Demo tests under a scheduler of this workspace: what `make demo-schedulers` runs.
//!
//! cargo builds the scheduler, the guest starts it, and the kernel confirms that it schedules before the body runs.

use ktstr_harness::prelude::*;

ktstr_harness::main!();

declare_scheduler!(KTSTR, {
    name = "scx-ktstr",
    binary = "scx-ktstr",
    sched_args = ["--timeout-ms", "5000"],
    topology = (1, 2, 2, 1),
});

/// Two cgroups of workers on four CPUs under the scheduler: each stays in its cgroup and nobody waits long.
#[ktstr_test(
    scheduler = KTSTR,
    duration_s = 3,
    isolation,
    max_gap_ms = 2000
)]
fn demo_two_groups_share_the_scheduler(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

/// The scheduler stops dispatching a task, and the test expects the kernel to eject it for that.
#[ktstr_test(
    scheduler = KTSTR,
    duration_s = 6,
    extra_sched_args = ["--stall-after", "500", "--timeout-ms", "2000"],
    expect_scx_bpf_error_contains = "failed to run for"
)]
fn demo_a_stall_is_ejected(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

/// The scheduler reports an error that nobody expects: the test fails, and a second run shows what led there.
#[ktstr_test(
    scheduler = KTSTR,
    duration_s = 3,
    extra_sched_args = ["--error-after", "100"]
)]
fn demo_an_error_fails(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}
