//! Keys that come later.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(workloads, cleanup_budget_ms = 2, payload = MINE)]
fn later(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
