//! Everything that is wrong is said at once.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(llc = 2, cores = 0, payload = "x", ignore, ignore, kaslr = 2)]
fn many(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
