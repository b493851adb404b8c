//! Shapes that are no machine.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(numa_nodes = 2, llcs = 3)]
fn uneven(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(llcs = 64, cores = 8, threads = 2)]
fn large(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
