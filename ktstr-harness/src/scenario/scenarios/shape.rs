//! What families have in common: workers for a machine's size, holds, running a plan.

use std::time::Duration;

use ktstr_core::Topology;

use crate::cgroup::CgroupDef;
use crate::check::Checks;
use crate::scenario::{Hold, Step, execute_steps_beside};
use crate::{AssertResult, Ctx, Result};

/// More workers show no more, and take long to emulate.
const MOST_WORKERS: u32 = 16;

/// Isolation, beside the test's own checks.
pub(super) const ISOLATED: Checks = Checks {
    isolation: Some(true),
    ..Checks::NONE
};

/// What a family is: a background, and steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) background: Vec<CgroupDef>,
    pub(super) steps: Vec<Step>,
}

/// What a machine lacks for a family.
pub(super) type Lack = String;

impl Plan {
    pub(super) fn of(steps: Vec<Step>) -> Self {
        Self {
            steps,
            ..Self::default()
        }
    }

    pub(super) fn beside(mut self, def: CgroupDef) -> Self {
        self.background.push(def);
        self
    }
}

/// Runs the plan that a family makes for the machine, or skips.
pub(super) fn execute(
    ctx: &Ctx,
    family: fn(Topology) -> Result<Plan, Lack>,
) -> Result<AssertResult> {
    match family(ctx.topology()) {
        Ok(plan) => execute_steps_beside(ctx, &plan.background, &plan.steps),
        Err(lack) => Ok(AssertResult::skip(lack)),
    }
}

/// The machine's CPUs, if there are so many.
pub(super) fn at_least(cpus: u32, topology: Topology, why: &str) -> Result<u32, Lack> {
    let there = topology.cpus();
    if there >= cpus {
        Ok(there)
    } else {
        Err(format!("{topology} has {there} CPU; {why} takes {cpus}"))
    }
}

/// A worker for each CPU, up to [`MOST_WORKERS`].
pub(super) fn workers(topology: Topology) -> usize {
    topology.cpus().min(MOST_WORKERS) as usize
}

/// Half of them, but two at least, and an even number.
pub(super) fn pairs(topology: Topology) -> usize {
    (workers(topology) / 2).next_multiple_of(2).max(2)
}

/// One of `steps` equal shares of the duration.
pub(super) fn share(steps: usize) -> Hold {
    Hold::Share(1.0 / steps.max(1) as f64)
}

/// The operations of a step anew every 50 ms, for `part` of the duration.
pub(super) fn again(part: f64) -> Hold {
    Hold::Repeat {
        every: Duration::from_millis(50),
        share: part,
    }
}
