//! Tasks that ask for other CPUs.

use ktstr_core::Topology;

use super::shape::{self, Lack, Plan};
use crate::cgroup::CgroupDef;
use crate::scenario::{Op, Step};
use crate::workload::{Affinity, WorkType};
use crate::{AssertResult, Ctx, Result};

/// Workers of one cgroup ask for fewer and other CPUs (`sched_setaffinity`), beside workers that come and go everywhere.
///
/// ```text
///          anywhere  one CPU   last LLC  drawn     anywhere
/// moved    ########  #         ____####  #_##__#_  ########
/// beside   ########  ########  ########  ########  ########
/// ```
///
/// `moved` has a spinning worker for each CPU, up to 16; `beside` works in bursts. On one CPU the affinities are all the
/// same, and only their setting is left to go wrong.
pub fn affinity(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, affinity_plan)
}

/// Workers of one cgroup are given CPUs that are drawn anew every 50 ms, each its own, and in the end all CPUs.
///
/// ```text
///          drawn, every 50 ms                anywhere
/// churned  #_##__#_  _###___#  ##__#_#_  ..  ########
/// pinning  each worker pins itself to one CPU after the other
/// ```
pub fn affinity_churn(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, churn_plan)
}

#[allow(clippy::unnecessary_wraps, reason = "as all families")]
pub(super) fn affinity_plan(topology: Topology) -> Result<Plan, Lack> {
    let moved = CgroupDef::named("moved").workers(shape::workers(topology));
    let drawn = Affinity::Random {
        cpus: topology.cpus().div_ceil(2),
        seed: 7,
    };
    let to = |name, affinity| {
        Step::new(name)
            .op(Op::set_affinity("moved", affinity))
            .hold(shape::share(5))
    };
    let steps = vec![
        Step::new("anywhere").setup(moved).hold(shape::share(5)),
        to("one CPU", Affinity::Cpu(topology.cpus() - 1)),
        to("last LLC", Affinity::Llc(topology.llcs() - 1)),
        to("drawn", drawn),
        to("anywhere again", Affinity::All),
    ];
    let beside = CgroupDef::named("beside").work(WorkType::bursty());
    Ok(Plan::of(steps).beside(beside))
}

#[allow(clippy::unnecessary_wraps, reason = "as all families")]
pub(super) fn churn_plan(topology: Topology) -> Result<Plan, Lack> {
    let drawn = |seed| {
        let cpus = topology.cpus().div_ceil(2);
        Op::set_affinity("churned", Affinity::Random { cpus, seed })
    };
    let churned = CgroupDef::named("churned").workers(shape::workers(topology));
    let steps = vec![
        Step::new("drawn")
            .setup(churned)
            // Two draws in each round: the same ones come round again.
            .op(drawn(11))
            .op(drawn(23))
            .hold(shape::again(0.8)),
        Step::new("anywhere")
            .op(Op::set_affinity("churned", Affinity::All))
            .hold(crate::scenario::Hold::Share(0.2)),
    ];
    let pinning = CgroupDef::named("pinning").work(WorkType::affinity_churn());
    Ok(Plan::of(steps).beside(pinning))
}
