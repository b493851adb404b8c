//! Failures that are not run again.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(expect_err, auto_repro)]
fn expected(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(host_only, auto_repro = false)]
fn without_a_machine(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
