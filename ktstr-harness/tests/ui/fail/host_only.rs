//! A test on the host says nothing about machines.

use ktstr_harness::{AssertResult, Ctx, Result, ktstr_test};

#[ktstr_test(host_only, llcs = 2, memory_mib = 512, kaslr = false, max_cpus = 4, extra_include_files = [], max_fallback_rate = 1)]
fn host(_ctx: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

fn main() {}
