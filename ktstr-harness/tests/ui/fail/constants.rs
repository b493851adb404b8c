//! Constants are checked like literals, by the compiler.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

const NONE: u32 = 0;
const TWO: u32 = 2;
const DEBT: f64 = -1.0;

#[ktstr_test(duration_s = NONE)]
fn time(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(max_spread_pct = DEBT)]
fn spread(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(llcs = TWO, min_llcs = 4)]
fn bounds(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
