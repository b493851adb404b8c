//! What is not a list of keys and values.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(llcs = 2 cores = 2)]
fn no_comma(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(llcs(2), cores = 2)]
fn parentheses(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(llcs = , cores)]
fn no_value(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
