//! Ready-made scenarios.

use crate::cgroup::CgroupDef;
use crate::scenario::execute_defs;
use crate::{AssertResult, Ctx, Result};

/// Two cgroups, `left` and `right`, of equal weight over the whole machine, with as many spinning
/// workers as there are CPUs, shared out evenly (`left` has the odd one).
///
/// Every worker has a CPU's worth of time: a scheduler that spreads load passes any sensible gap
/// and spread check. On a machine of one CPU each cgroup has one worker.
///
/// ```no_run
/// use ktstr_harness::prelude::*;
///
/// fn calm(ctx: &Ctx) -> Result<AssertResult> {
///     scenarios::steady(ctx)
/// }
/// ```
pub fn steady(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(ctx, &steady_defs(ctx.topology().cpus()))
}

fn steady_defs(cpus: u32) -> [CgroupDef; 2] {
    let left = cpus.div_ceil(2) as usize;
    let right = (cpus as usize - left).max(1);
    [
        CgroupDef::named("left").workers(left),
        CgroupDef::named("right").workers(right),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_has_a_worker_per_cpu() {
        let [left, right] = steady_defs(9);
        assert_eq!(left, CgroupDef::named("left").workers(5));
        assert_eq!(right, CgroupDef::named("right").workers(4));
        let [left, right] = steady_defs(1);
        assert_eq!(left, CgroupDef::named("left").workers(1));
        assert_eq!(right, CgroupDef::named("right").workers(1));
    }
}
