//! Values of the right kind that make no sense.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(
    llcs = 0,
    cores = 0,
    threads = 0,
    numa_nodes = 0,
    memory_mib = 0,
    duration_s = 0
)]
fn zero(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(duration_s = 4294967296)]
fn large(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(max_gap_ms = -1, max_spread_pct = -0.5)]
fn negative(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
