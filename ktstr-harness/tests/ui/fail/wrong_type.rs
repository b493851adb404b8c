//! Values of the wrong kind.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(llcs = "2", cores = 1.5, memory_mib)]
fn whole(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(not_stuck = 1, isolation = yes)]
fn flag(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(max_spread_pct = true)]
fn number(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(extra_include_files = ["a", 2])]
fn files(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
