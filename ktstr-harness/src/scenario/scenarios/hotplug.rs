//! CPUs that come and go.

use std::path::Path;

use ktstr_core::Topology;

use super::shape::{self, Lack, Plan};
use crate::cgroup::CgroupDef;
use crate::scenario::{Op, Step};
use crate::workload::WorkType;
use crate::{AssertResult, Ctx, Result};

/// CPUs go offline, one and then half of the machine up to four, and come back, one by one and all at once.
///
/// ```text
///             all       one gone  half gone  one by one back   all
/// everywhere  ########  #######_  ####____   ####____ .. ####  ########
/// sleeping    ########  #######_  ####____   ####____ .. ####  ########
/// ```
///
/// `everywhere` spins with a worker for each CPU, up to 16; `sleeping` wakes up from timers. A skip on one CPU, and where the
/// kernel takes none offline (`CONFIG_HOTPLUG_CPU`). A sched_ext scheduler without `ops.cpu_online` and `ops.cpu_offline` is
/// ended by the kernel when a CPU goes.
pub fn hotplug(ctx: &Ctx) -> Result<AssertResult> {
    let last = ctx.cpus.cpu(ctx.topology().cpus() - 1);
    let switch = format!("/sys/devices/system/cpu/cpu{last}/online");
    if ctx.topology().cpus() > 1 && !Path::new(&switch).exists() {
        let why = format!("there is no {switch}: the kernel takes no CPU offline");
        return Ok(AssertResult::skip(why));
    }
    shape::execute(ctx, plan)
}

pub(super) fn plan(topology: Topology) -> Result<Plan, Lack> {
    let cpus = shape::at_least(2, topology, "a CPU that goes offline")?;
    let gone = (cpus / 2).clamp(1, 4);
    let others = cpus - gone..cpus - 1;
    let mut half = Step::new("half gone");
    let mut back = Step::new("one by one back");
    for cpu in others.rev() {
        half = half.op(Op::offline(cpu));
        back = back.op(Op::online(cpu));
    }
    let fifth = shape::share(5);
    let steps = vec![
        Step::new("all")
            .setup(CgroupDef::named("everywhere").workers(shape::workers(topology)))
            .setup(CgroupDef::named("sleeping").work(WorkType::timer_wake()))
            .hold(fifth),
        Step::new("one gone").op(Op::offline(cpus - 1)).hold(fifth),
        half.hold(fifth),
        back.hold(fifth),
        Step::new("all again").op(Op::online(cpus - 1)).hold(fifth),
    ];
    Ok(Plan::of(steps))
}
