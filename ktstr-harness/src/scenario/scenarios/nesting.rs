//! Cgroups within cgroups.

use ktstr_core::Topology;

use super::shape::{self, Plan};
use crate::cgroup::CgroupDef;
use crate::scenario::{Op, Step, execute_steps_beside};
use crate::workload::WorkType;
use crate::{AssertResult, Ctx, Result};

/// A depth that [`nesting`] does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nesting: a depth of {0}; use 2 to 8")]
pub struct NestingError(
    /// The depth asked for.
    pub u32,
);

/// Cgroups nested `depth` deep, 2 to 8, with a worker and a weight at every level, whose weights are then turned round; in
/// the end the levels go, from the inside out.
///
/// ```text
///                 weight  built  turned  bare
/// l1              300                    gone
/// l1/side                 50     200     .
/// l1/l2           200                    .
/// l1/l2/side              200    50      .
/// l1/l2/deep      100                    .       (a depth of 2: the innermost level has side and deep)
/// beside          100     works in bursts, in a cgroup of its own
/// ```
///
/// `side` spins with one worker at each level, and `deep`, at the innermost, serves requests with two. A level weighs as
/// much as what runs within it, so that the innermost workers are not starved by design. Another depth is a
/// [`NestingError`].
pub fn nesting(ctx: &Ctx, depth: u32) -> Result<AssertResult> {
    let plan = plan(ctx.topology(), depth)?;
    execute_steps_beside(ctx, &plan.background, &plan.steps)
}

pub(super) fn plan(_: Topology, depth: u32) -> Result<Plan, NestingError> {
    if !(2..=8).contains(&depth) {
        return Err(NestingError(depth));
    }
    let level = |upto: u32| {
        let names: Vec<String> = (1..=upto).map(|number| format!("l{number}")).collect();
        names.join("/")
    };
    let side = |number: u32| format!("{}/side", level(number));
    // What runs within a level, at 100 each.
    let inner = |number: u32| 100 * (depth - number + 1) + 100;
    let (light, heavy) = (50, 200);
    let side_weight = |number: u32| if number % 2 == 1 { light } else { heavy };
    let mut built = Step::new("built").hold(shape::share(3));
    for number in 1..=depth {
        let outer = CgroupDef::named(level(number)).workers(0);
        built = built.setup(outer.weight(inner(number)));
        let worker = CgroupDef::named(side(number)).workers(1);
        built = built.setup(worker.weight(side_weight(number)));
    }
    let deep = format!("{}/deep", level(depth));
    built = built.setup(CgroupDef::named(deep.clone()).work(WorkType::mixed()));

    let mut turned = Step::new("turned").hold(shape::share(3));
    for number in 1..=depth {
        turned = turned.op(Op::set_weight(side(number), side_weight(number + 1)));
    }

    let mut bare = Step::new("bare").op(Op::remove_cgroup(deep));
    for number in (1..=depth).rev() {
        bare = bare
            .op(Op::remove_cgroup(side(number)))
            .op(Op::remove_cgroup(level(number)));
    }
    let steps = vec![built, turned, bare.hold(shape::share(3))];
    let beside = CgroupDef::named("beside").work(WorkType::bursty());
    Ok(Plan::of(steps).beside(beside))
}
