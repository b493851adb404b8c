//! Ready-made scenarios: [`steady`], and families of changes that schedulers have to keep up with.
//!
//! Each family is a function of the test's context alone. It adapts to the machine, or is a skip that says what the
//! machine lacks; it lasts for [`Ctx::duration`], and is judged by the test's checks. Families that confine cgroups to CPUs
//! check the isolation in each of their steps as well. Pictures of their phases have a row for each cgroup and a column for
//! each step; `#` stands for CPUs that workers may use.
//!
//! | family | functions |
//! | --- | --- |
//! | affinity | [`affinity`], [`affinity_churn`] |
//! | cpusets | [`cpuset_shrink`], [`cpuset_grow`], [`cpuset_swap`], [`cpuset_disjoint`], [`cpuset_overlap`] |
//! | dynamic cgroups | [`cgroups_create`], [`cgroups_destroy`], [`cgroups_churn`] |
//! | nesting | [`nesting`] |
//! | load | [`contention`], [`stress`] |
//! | hotplug | [`hotplug`] |

mod affinity;
mod cpusets;
mod dynamic;
mod hotplug;
mod load;
mod nesting;
mod shape;
#[cfg(test)]
mod tests;

use crate::cgroup::CgroupDef;
use crate::scenario::execute_defs;
use crate::{AssertResult, Ctx, Result};

pub use affinity::{affinity, affinity_churn};
pub use cpusets::{cpuset_disjoint, cpuset_grow, cpuset_overlap, cpuset_shrink, cpuset_swap};
pub use dynamic::{cgroups_churn, cgroups_create, cgroups_destroy};
pub use hotplug::hotplug;
pub use load::{contention, stress};
pub use nesting::{NestingError, nesting};

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
