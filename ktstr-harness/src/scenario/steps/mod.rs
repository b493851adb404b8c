//! Scenarios in steps: cgroups that come and go, cpusets that shrink, workers that move, between periods of work.
//!
//! Each [`Step`] makes cgroups, carries out operations ([`Op`]), and then holds while the workers work. Its checks judge
//! what the workers did meanwhile; the test's own checks judge the whole.
//!
//! ```no_run
//! use ktstr_harness::prelude::*;
//!
//! fn shrink(ctx: &Ctx) -> Result<AssertResult> {
//!     execute_steps(ctx, &[
//!         Step::new("wide").setup(ctx.cgroup_def("a").workers(4)).hold(Hold::Share(0.5)),
//!         Step::new("narrow")
//!             .op(Op::set_cpuset("a", CpusetSpec::Range(0..=0)))
//!             .hold(Hold::Share(0.5))
//!             .check(Checks { isolation: Some(true), ..Checks::NONE }),
//!     ])
//! }
//! ```

mod error;
mod op;
mod plan;
mod programs;
mod run;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::cgroup::{CgroupDef, CgroupTree};
use crate::check::{CgroupRun, Checks, judge, metrics};
use crate::{AssertResult, Ctx, Result};

pub use error::{OpError, StepError, StepProblem};
pub use op::Op;
use plan::Plan;
pub use plan::{PlanError, PlanFault};
use run::Finished;

/// A period of a scenario: what changes at its beginning, and how long it then holds.
#[derive(Debug, Clone)]
#[must_use]
pub struct Step {
    /// What it is called in messages.
    pub name: String,
    /// Cgroups that are made first, with their workers. They stay until an operation removes them.
    pub setup: Vec<CgroupDef>,
    /// What is done then, in order.
    pub ops: Vec<Op>,
    /// How long the workers then work.
    pub hold: Hold,
    /// What the step is judged by, beside the test's own checks, which judge the whole.
    pub checks: Checks,
}

/// How long a step holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hold {
    /// So long.
    For(Duration),
    /// This share of the test's duration, above 0 and at most 1.
    Share(f64),
    /// This share of the test's duration; the operations of the step are carried out anew whenever `every` has passed.
    Repeat {
        /// From one round to the next, 1 ms at least.
        every: Duration,
        /// As in [`Hold::Share`].
        share: f64,
    },
}

impl Step {
    /// A step that changes nothing and holds for the whole duration of the test.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            setup: Vec::new(),
            ops: Vec::new(),
            hold: Hold::Share(1.0),
            checks: Checks::NONE,
        }
    }

    /// Makes one more cgroup first.
    pub fn setup(mut self, def: CgroupDef) -> Self {
        self.setup.push(def);
        self
    }

    /// Carries out one more operation.
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Holds so long.
    pub fn hold(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    /// Judges what the workers do while it holds. Iterations count for the step in which they end: a worker that ends
    /// none, be it for a sleep that is longer than the step, counts as one with none.
    pub fn check(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }
}

/// Runs the steps one after the other and judges them; see [`execute_steps_beside`].
pub fn execute_steps(ctx: &Ctx, steps: &[Step]) -> Result<AssertResult> {
    execute_steps_beside(ctx, &[], steps)
}

/// Runs the steps one after the other, beside the cgroups of `background`, which are there from before the first step to
/// the end.
///
/// The shares of the steps must not come to more than 1, and all of them to no more than the test's body may take: twice
/// its duration and 10 s. The whole is judged by [`Ctx::checks`], each step by its own. Leaves no worker and no cgroup
/// behind, and every CPU online, also on an error. The error is a [`StepError`], which names the step, the operation and
/// the kernel's word.
pub fn execute_steps_beside(
    ctx: &Ctx,
    background: &[CgroupDef],
    steps: &[Step],
) -> Result<AssertResult> {
    let programs: Vec<&'static str> = ctx.programs().map(|program| program.name).collect();
    let plan = Plan::new(background, steps, ctx.cpus, ctx.duration(), &programs)?;
    let tree = CgroupTree::new(ctx.cgroup_root());
    let finished = run::run(&tree, &plan)?;
    Ok(judged(&ctx.checks(), steps, finished))
}

/// What is wrong with these steps on that machine, if anything.
#[cfg(test)]
pub(super) fn plan_fault(
    background: &[CgroupDef],
    steps: &[Step],
    topology: ktstr_core::Topology,
    duration: Duration,
) -> Option<String> {
    let plan = Plan::new(background, steps, topology.into(), duration, &[]);
    plan.err().map(|error| error.to_string())
}

fn judged(checks: &Checks, steps: &[Step], finished: Finished) -> AssertResult {
    let Finished {
        whole,
        of_steps,
        programs,
    } = finished;
    let mut verdict = judge(checks, &whole);
    verdict.merge(programs.verdict);
    for (number, runs) in of_steps {
        let step = &steps[number];
        let found = judge(&step.checks, &runs);
        for detail in found.details() {
            let message = format!("{} in step {} ({})", detail.message, number + 1, step.name);
            verdict.record(detail.outcome, &detail.check, message);
        }
    }
    AssertResult {
        verdict,
        cgroups: whole.iter().map(CgroupRun::stats).collect(),
        metrics: metrics(&whole)
            .into_iter()
            .chain(programs.metrics)
            .collect(),
        programs: programs.runs,
    }
}
