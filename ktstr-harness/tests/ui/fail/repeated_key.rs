//! A key at most once.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(not_stuck, llcs = 2, not_stuck = false, llcs = 4)]
fn twice(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
