//! Host CPUs of one's own leave nothing to choose.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(performance_mode, cpu_budget = 2, no_perf_mode)]
fn both(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(host_only, performance_mode)]
fn nowhere(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
