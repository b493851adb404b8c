//! Every family has a plan for every machine, or says why not.

use std::time::Duration;

use ktstr_core::{Preset, Topology};

use super::shape::{Lack, Plan};
use super::{affinity, cpusets, dynamic, hotplug, load, nesting, steady_defs};
use crate::cgroup::CgroupDef;
use crate::scenario::steps::plan_fault;

type Family = (&'static str, fn(Topology) -> Result<Plan, Lack>);

const FAMILIES: [Family; 13] = [
    ("affinity", affinity::affinity_plan),
    ("affinity_churn", affinity::churn_plan),
    ("cpuset_shrink", cpusets::shrink_plan),
    ("cpuset_grow", cpusets::grow_plan),
    ("cpuset_swap", cpusets::swap_plan),
    ("cpuset_disjoint", cpusets::disjoint_plan),
    ("cpuset_overlap", cpusets::overlap_plan),
    ("cgroups_create", dynamic::create_plan),
    ("cgroups_destroy", dynamic::destroy_plan),
    ("cgroups_churn", dynamic::churn_plan),
    ("contention", load::contention_plan),
    ("stress", load::stress_plan),
    ("hotplug", hotplug::plan),
];

fn machines() -> impl Iterator<Item = Topology> {
    let small = [
        Topology::constant(1, 1, 1, 1),
        Topology::constant(1, 1, 2, 1),
        Topology::constant(1, 3, 1, 1),
        Topology::constant(2, 2, 1, 1),
    ];
    let presets = Preset::ALL.iter().map(|preset| preset.topology);
    small.into_iter().chain(presets)
}

#[test]
fn every_machine_can_carry_out_every_plan() {
    let duration = Duration::from_secs(2);
    for topology in machines() {
        for (name, family) in FAMILIES {
            match family(topology) {
                Ok(plan) => {
                    let fault = plan_fault(&plan.background, &plan.steps, topology, duration);
                    assert_eq!(fault, None, "{name} on {topology}");
                }
                Err(why) => {
                    assert_eq!(topology.cpus(), 1, "{name} on {topology}: {why}");
                    assert!(why.starts_with("1n1l1c1t has 1 CPU; "), "{why}");
                }
            }
        }
        for depth in 2..=8 {
            let plan = nesting::plan(topology, depth).unwrap();
            let fault = plan_fault(&plan.background, &plan.steps, topology, duration);
            assert_eq!(fault, None, "nesting {depth} on {topology}");
        }
    }
}

#[test]
fn another_depth_is_an_error() {
    let machine = Topology::constant(1, 1, 2, 1);
    for depth in [0, 1, 9] {
        let error = nesting::plan(machine, depth).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("nesting: a depth of {depth}; use 2 to 8")
        );
    }
}

#[test]
fn steady_has_a_worker_per_cpu() {
    let [left, right] = steady_defs(9);
    assert_eq!(left, CgroupDef::named("left").workers(5));
    assert_eq!(right, CgroupDef::named("right").workers(4));
    let [left, right] = steady_defs(1);
    assert_eq!(left, CgroupDef::named("left").workers(1));
    assert_eq!(right, CgroupDef::named("right").workers(1));
}
