//! Every family of ready-made scenarios; `tests/families.rs` runs them on several machines.

use ktstr_harness::prelude::*;

ktstr_harness::main!();

/// A test of each family, on any machine that can be emulated in reasonable time.
macro_rules! families {
    ($($name:ident)*) => {$(
        #[ktstr_test(cores = 1, max_cpus = 64, max_numa_nodes = 2, duration_s = 4, not_stuck, max_gap_ms = 8000,
            max_spread_pct = 100)]
        fn $name(ctx: &Ctx) -> Result<AssertResult> {
            scenarios::$name(ctx)
        }
    )*};
}

families! {
    affinity affinity_churn
    cpuset_shrink cpuset_grow cpuset_swap cpuset_disjoint cpuset_overlap
    cgroups_create cgroups_destroy cgroups_churn
    contention stress hotplug
}

/// To make and remove cgroups takes its time on many emulated CPUs.
#[ktstr_test(
    cores = 1,
    max_cpus = 64,
    max_numa_nodes = 2,
    duration_s = 8,
    not_stuck,
    max_gap_ms = 8000,
    max_spread_pct = 100
)]
fn nesting(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::nesting(ctx, 4)
}

#[ktstr_test(cores = 2, duration_s = 4)]
fn nesting_of_two(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::nesting(ctx, 2)
}

#[ktstr_test(
    cores = 4,
    duration_s = 8,
    not_stuck,
    max_gap_ms = 8000,
    max_spread_pct = 100
)]
fn nesting_of_eight(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::nesting(ctx, 8)
}

#[ktstr_test(cores = 2, duration_s = 1)]
fn nesting_too_deep(ctx: &Ctx) -> Result<AssertResult> {
    scenarios::nesting(ctx, 9)
}
