//! Running the programs that a test declares, all at once.

use std::time::Duration;

use crate::cgroup::CgroupDef;
use crate::scenario::{Hold, Op, Step, execute_steps_beside};
use crate::{AssertResult, Ctx, Result};

/// The test declares no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Neither `payload` nor `workloads`.
    #[error(
        "execute_payload: the test declares no program; give it `payload = …` or `workloads = […]`"
    )]
    NoProgram,
}

/// Runs the test's programs beside the workers of `defs`: its `workloads` from the beginning, its `payload` from then on,
/// until the latter has ended. What still runs then is ended. Without a `payload` the `workloads` run for the test's
/// duration.
///
/// The metrics of programs are in the result by the name of program and metric, `hackbench.time_s`, and their checks are
/// judged beside those of the workers. Leaves nothing behind, also on an error, which names the program:
///
/// - it cannot be started, exits with another code than it should, or is killed by a signal, whenever that is;
/// - it does not end within its [time limit](crate::Payload::time_limit_s), and is killed with its children;
/// - a metric is not in its output, though it ran to its end.
///
/// A program that the test ends measures what it has printed until then.
///
/// ```no_run
/// use ktstr_harness::prelude::*;
///
/// declare_payload!(STRESS, { name = "stress-ng", binary = "stress-ng", args = ["--cpu", "{cpus}"] });
/// declare_payload!(BENCH, {
///     name = "sched-pipe",
///     binary = "perf",
///     args = ["bench", "sched", "pipe", "--loop", "20000"],
///     metrics = [PayloadMetric::pattern("ops_per_second", "ops/s", Better::Higher, "{} ops/sec")],
/// });
///
/// #[ktstr_test(llcs = 2, payload = BENCH, workloads = [STRESS])]
/// fn pipes_beside_stress_and_workers(ctx: &Ctx) -> Result<AssertResult> {
///     execute_payload(ctx, &[ctx.cgroup_def("workers").work(WorkType::mixed())])
/// }
/// # fn main() {}
/// ```
pub fn execute_payload(ctx: &Ctx, defs: &[CgroupDef]) -> Result<AssertResult> {
    let mut step = Step::new("programs");
    for workload in ctx.workloads() {
        step = step.op(Op::start(workload));
    }
    let step = match ctx.payload() {
        Some(payload) => step
            .op(Op::start(payload))
            .op(Op::wait_for(payload))
            .hold(Hold::For(Duration::ZERO)),
        None if ctx.workloads().is_empty() => return Err(PayloadError::NoProgram.into()),
        None => step.hold(Hold::Share(1.0)),
    };
    execute_steps_beside(ctx, defs, &[step])
}
