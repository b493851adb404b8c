//! A key that there is not, with and without one that was probably meant.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(llc = 2)]
fn near(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(colour = 2)]
fn far(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
