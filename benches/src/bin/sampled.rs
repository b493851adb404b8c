//! Two tests of twelve seconds each, for `sampling`.

use ktstr_harness::prelude::*;

ktstr_harness::main!();

#[ktstr_test(llcs = 2, cores = 2)]
fn on_4_cpus(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}

#[ktstr_test(llcs = 4, cores = 2, threads = 2)]
fn on_16_cpus(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::steady(ctx)
}
