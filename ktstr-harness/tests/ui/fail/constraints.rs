//! Bounds that contradict each other, or the test's own machine.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(min_llcs = 4, max_llcs = 2)]
fn crossed(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(min_numa_nodes = 2)]
fn above_default(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(llcs = 2, max_llcs = 1, min_cpus = 8)]
fn own_machine(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(requires_smt, threads = 1)]
fn smt(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
