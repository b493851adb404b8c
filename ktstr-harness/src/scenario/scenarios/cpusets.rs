//! Cgroups whose CPUs change.

use ktstr_core::{CpuSet, Topology};

use super::shape::{self, ISOLATED, Lack, Plan};
use crate::cgroup::{CgroupDef, CpusetSpec};
use crate::scenario::{Op, Step};
use crate::workload::WorkType;
use crate::{AssertResult, Ctx, Result};

/// A cgroup's CPUs become fewer, down to one: all of its tasks have to leave the others at once.
///
/// ```text
///           all       half      quarter   one
/// shrunk    ########  ####____  ##______  #_______
/// beside    ########  ########  ########  ########
/// ```
///
/// `shrunk` has a spinning worker for each CPU, up to 16; `beside` serves requests. A skip on one CPU.
pub fn cpuset_shrink(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, shrink_plan)
}

/// A cgroup's CPUs become more, from one to all: tasks that crowd a CPU have to spread.
///
/// ```text
///           one       quarter   half      all
/// grown     #_______  ##______  ####____  ########
/// beside    ########  ########  ########  ########
/// ```
///
/// Workers as in [`cpuset_shrink`]. A skip on one CPU.
pub fn cpuset_grow(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, grow_plan)
}

/// Two cgroups on a half of the machine each exchange their CPUs, every 50 ms, and then stay.
///
/// ```text
///           apart     swapped every 50 ms           still
/// left      ####____  ____####  ####____  ____####  ..
/// right     ____####  ####____  ____####  ####____  ..
/// ```
///
/// `left` spins, and `right` serves requests, with a worker for each of its CPUs, up to 8. While they are swapped, each may
/// be anywhere, so that isolation is checked before and after. A skip on one CPU.
pub fn cpuset_swap(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, swap_plan)
}

/// Up to four cgroups, on a part of the machine each, all move on by one part, round the machine.
///
/// ```text
///           step 1    step 2    step 3    step 4
/// part0     ##______  __##____  ____##__  ______##
/// part1     __##____  ____##__  ______##  ##______
/// part2     ____##__  ______##  ##______  __##____
/// part3     ______##  ##______  __##____  ____##__
/// ```
///
/// Two spinning workers each. As many parts as there are CPUs, up to four. A skip on one CPU.
pub fn cpuset_disjoint(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, disjoint_plan)
}

/// Up to four cgroups share more and then less of their neighbours' CPUs.
///
/// ```text
///           apart     half      all of it half
/// part0     ##______  ###_____  ####____  ###_____
/// part1     __##____  __###___  __####__  __###___
/// part2     ____##__  ____###_  ____####  ____###_
/// part3     ______##  #_____##  ##____##  #_____##
/// ```
///
/// Two spinning workers each. As many parts as there are CPUs, up to four. A skip on one CPU.
pub fn cpuset_overlap(ctx: &Ctx) -> Result<AssertResult> {
    shape::execute(ctx, overlap_plan)
}

/// Sets of the first CPUs: all, half, a quarter, one; each size once.
fn sizes(cpus: u32) -> Vec<u32> {
    let mut sizes = vec![cpus, cpus.div_ceil(2), cpus.div_ceil(4), 1];
    sizes.dedup();
    sizes
}

fn resized(topology: Topology, sizes: &[u32]) -> Plan {
    let first = |size: u32| CpusetSpec::Exact((0..size).collect::<CpuSet>());
    let steps = sizes.iter().enumerate().map(|(index, size)| {
        let step = Step::new(format!("{size} of {}", topology.cpus()));
        let step = match index {
            0 => step.setup(
                CgroupDef::named("sized")
                    .workers(shape::workers(topology))
                    .cpuset(first(*size)),
            ),
            _ => step.op(Op::set_cpuset("sized", first(*size))),
        };
        step.hold(shape::share(sizes.len())).check(ISOLATED)
    });
    let beside = CgroupDef::named("beside").work(WorkType::mixed());
    Plan::of(steps.collect()).beside(beside)
}

pub(super) fn shrink_plan(topology: Topology) -> Result<Plan, Lack> {
    let cpus = shape::at_least(2, topology, "a cpuset that shrinks")?;
    Ok(resized(topology, &sizes(cpus)))
}

pub(super) fn grow_plan(topology: Topology) -> Result<Plan, Lack> {
    let cpus = shape::at_least(2, topology, "a cpuset that grows")?;
    let mut sizes = sizes(cpus);
    sizes.reverse();
    Ok(resized(topology, &sizes))
}

pub(super) fn swap_plan(topology: Topology) -> Result<Plan, Lack> {
    shape::at_least(2, topology, "two cpusets that are swapped")?;
    let half = |index| CpusetSpec::Disjoint { index, of: 2 };
    let workers = shape::workers(topology).div_ceil(2);
    let def = |name, index| CgroupDef::named(name).workers(workers).cpuset(half(index));
    let third = shape::share(3);
    let steps = vec![
        Step::new("apart")
            .setup(def("left", 0))
            .setup(def("right", 1).work(WorkType::mixed()))
            .hold(third)
            .check(ISOLATED),
        Step::new("swapped")
            .op(Op::swap_cpusets("left", "right"))
            .hold(shape::again(1.0 / 3.0)),
        Step::new("still").hold(third).check(ISOLATED),
    ];
    Ok(Plan::of(steps))
}

fn parts(topology: Topology) -> Result<u32, Lack> {
    let cpus = shape::at_least(2, topology, "cpusets side by side")?;
    Ok(cpus.min(4))
}

fn part_name(index: u32) -> String {
    format!("part{index}")
}

pub(super) fn disjoint_plan(topology: Topology) -> Result<Plan, Lack> {
    let of = parts(topology)?;
    let steps = (0..of).map(|turn| {
        let mut step = Step::new(format!("turn {turn}"));
        for part in 0..of {
            let cpus = CpusetSpec::Disjoint {
                index: (part + turn) % of,
                of,
            };
            step = match turn {
                0 => step.setup(CgroupDef::named(part_name(part)).cpuset(cpus)),
                _ => step.op(Op::set_cpuset(part_name(part), cpus)),
            };
        }
        step.hold(shape::share(of as usize)).check(ISOLATED)
    });
    Ok(Plan::of(steps.collect()))
}

pub(super) fn overlap_plan(topology: Topology) -> Result<Plan, Lack> {
    const SHARES: [u32; 4] = [0, 50, 100, 50];
    let of = parts(topology)?;
    let steps = SHARES.iter().enumerate().map(|(turn, &shared_pct)| {
        let mut step = Step::new(format!("{shared_pct} % shared"));
        for index in 0..of {
            let cpus = CpusetSpec::Overlap {
                index,
                of,
                shared_pct,
            };
            step = match turn {
                0 => step.setup(CgroupDef::named(part_name(index)).cpuset(cpus)),
                _ => step.op(Op::set_cpuset(part_name(index), cpus)),
            };
        }
        step.hold(shape::share(SHARES.len())).check(ISOLATED)
    });
    Ok(Plan::of(steps.collect()))
}
