//! Cgroups that come and go.

use ktstr_core::Topology;

use super::shape::{self, Lack, Plan};
use crate::cgroup::CgroupDef;
use crate::scenario::{Hold, Op, Step};
use crate::workload::WorkType;
use crate::{AssertResult, Ctx, Result};

/// Cgroups come, one in each step, of different weights and work.
///
/// ```text
///           one       two       three     four
/// first     ########  ########  ########  ########
/// second    .         ########  ########  ########
/// third     .         .         ########  ########
/// fourth    .         .         .         ########
/// ```
///
/// Two workers each, at weights 100, 200, 100 and 50: `first` and `second` spin, `third` serves requests, `fourth` plays
/// ping-pong.
pub fn cgroups_create(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, create_plan)
}

/// Cgroups go, one in each step, with their workers.
///
/// ```text
///           four      three     two       one
/// first     ########  ########  ########  ########
/// second    ########  ########  ########  .
/// third     ########  ########  .         .
/// fourth    ########  .         .         .
/// ```
///
/// Workers as in [`cgroups_create`].
pub fn cgroups_destroy(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, destroy_plan)
}

/// A cgroup comes, takes a worker of another one, gives all back, and goes, every 50 ms, and again within a nested one.
///
/// ```text
///           flat, every 50 ms        nested, every 50 ms      calm
/// staying   ####  ###_  ####  ..     ####  ####  ####  ..     ####
/// coming    .     ####  .     ..     .     .     .            .
/// outer/in  .     .     .            .     ####  .     ..     .
/// ```
///
/// `staying` spins with a worker for each CPU, up to 16; what comes works in bursts.
pub fn cgroups_churn(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, churn_plan)
}

fn four() -> [CgroupDef; 4] {
    [
        CgroupDef::named("first").weight(100),
        CgroupDef::named("second").weight(200),
        CgroupDef::named("third").work(WorkType::mixed()),
        CgroupDef::named("fourth")
            .weight(50)
            .work(WorkType::FutexPingPong),
    ]
}

#[allow(clippy::unnecessary_wraps, reason = "as all families")]
pub(super) fn create_plan(_: Topology) -> Result<Plan, Lack> {
    let steps = four().into_iter().map(|def| {
        let name = format!("{} comes", def.name());
        Step::new(name).setup(def).hold(shape::share(4))
    });
    Ok(Plan::of(steps.collect()))
}

#[allow(clippy::unnecessary_wraps, reason = "as all families")]
pub(super) fn destroy_plan(_: Topology) -> Result<Plan, Lack> {
    let mut all = Step::new("all four").hold(shape::share(4));
    all.setup.extend(four());
    let gone = four().into_iter().skip(1).rev().map(|def| {
        Step::new(format!("{} goes", def.name()))
            .op(Op::remove_cgroup(def.name()))
            .hold(shape::share(4))
    });
    Ok(Plan::of(std::iter::once(all).chain(gone).collect()))
}

#[allow(clippy::unnecessary_wraps, reason = "as all families")]
pub(super) fn churn_plan(topology: Topology) -> Result<Plan, Lack> {
    let coming = |name| CgroupDef::named(name).work(WorkType::bursty());
    let steps = vec![
        Step::new("flat")
            .setup(CgroupDef::named("staying").workers(shape::workers(topology)))
            .op(Op::add_cgroup(coming("coming")))
            .op(Op::move_some("staying", "coming", 1))
            .op(Op::move_all("coming", "staying"))
            .op(Op::stop("staying", 2))
            .op(Op::remove_cgroup("coming"))
            .hold(shape::again(0.4)),
        Step::new("nested")
            .setup(CgroupDef::named("outer").workers(0).weight(200))
            .op(Op::add_cgroup(coming("outer/in").weight(50)))
            .op(Op::remove_cgroup("outer/in"))
            .hold(shape::again(0.4)),
        Step::new("calm")
            .op(Op::remove_cgroup("outer"))
            .hold(Hold::Share(0.2)),
    ];
    Ok(Plan::of(steps))
}
