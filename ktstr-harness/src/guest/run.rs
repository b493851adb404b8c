//! One run of a body, from the scheduler's start to the report.

use std::io;
use std::path::Path;

use ktstr_core::record::{Reading, Traced};

use super::CGROUP_ROOT;
use super::around::Around;
use super::beside::Beside;
use super::body;
use super::klog;
use super::map_write::MapWrites;
use super::probe::Probes;
use super::sample::Sampler;
use super::scheduler::Loaded;
use super::sys;
use super::trace::TRACING;
use super::watch::Watch;
use crate::check::asks_for_trace;
use crate::protocol::{
    BodyReport, Departure, Ending, GuestMessage, KERNEL_LOG_LIMIT, RunSpec, SchedulerProblem,
    SchedulerReport, SchedulerSpec,
};
use crate::scx_exit::ScxExitKind;
use crate::trace::{self, Session, TraceError};
use crate::{Ctx, TestCase};

/// Runs what `spec` says: the body of `test`, under the scheduler if there is one. `None` for a test that this binary
/// does not have.
///
/// `end_others` ends what may be left of the body, once the scheduler is gone. Output goes to `send` as it comes; an error
/// is one of `send`, or of what the run itself needs.
pub(crate) fn run<E: From<io::Error>>(
    spec: &RunSpec,
    test: Option<&TestCase>,
    ctx: &Ctx,
    around: &Around<'_>,
    end_others: impl FnOnce(),
    send: &mut dyn FnMut(GuestMessage) -> Result<(), E>,
) -> Result<BodyReport, E> {
    let mut watch = Watch::start(&spec.allow_kernel_warnings);
    let mut probes = spec
        .probes
        .as_ref()
        .map(|plan| Probes::arm(plan, around.cpus));
    let mut writes = MapWrites::new(test.map_or(&[], |test| test.bpf_map_write));
    let mut sampled = None;
    let mut traced = None;
    let mut body_under_sched_ext = None;
    let (ending, mut scheduler) = if let Some(test) = test {
        under_scheduler(spec.scheduler.as_ref(), around, |scheduler| {
            if let Some(probes) = &mut probes {
                probes.note_scheduler(scheduler.as_ref().and_then(|loaded| loaded.pid()));
            }
            let mut trace = asks_for_trace(&spec.checks).then(|| start_trace(ctx));
            let mut sampler = Sampler::start(around.cpus);
            let beside = Beside {
                sampler: &mut sampler,
                watch: &mut watch,
                trace: trace.as_mut().and_then(|trace| trace.as_mut().ok()),
                writes: &mut writes,
            };
            let ended = body::run(test, ctx, spec.limit, scheduler, beside, around, send)?;
            sampled = Some(Box::new(sampler.finish()));
            traced = trace.map(|trace| Box::new(finish_trace(trace)));
            body_under_sched_ext = ended.under_sched_ext;
            Ok::<_, E>(ended.ending)
        })?
    } else {
        let why = format!("this binary has no test called `{}`", spec.test);
        (Ending::NotStarted(why), None)
    };
    end_others();
    trace::remove_abandoned(Path::new(TRACING));
    watch.settle();
    if let Some(report) = &mut scheduler {
        note_late_exit(report, watch.scx_exits());
    }
    let passed = matches!(&ending, Ending::Returned(result)
        if result.verdict.outcome() <= ktstr_core::Outcome::Pass);
    let well = scheduler
        .as_ref()
        .is_none_or(|report| report.problem.is_none());
    let kernel_log = if passed && well && !watch.has_found() {
        String::new()
    } else {
        klog::tail(KERNEL_LOG_LIMIT)
    };
    Ok(BodyReport {
        ending,
        kernel_log,
        scheduler,
        sampled,
        traced,
        probes: probes.map(|probes| Box::new(probes.into_report(!well))),
        kernel: watch.finish(),
        body_under_sched_ext,
    })
}

/// Begins to trace the scheduler, at a priority above it.
fn start_trace(ctx: &Ctx) -> Result<Session, TraceError> {
    rise_above_schedulers();
    let plan = trace::Plan::default();
    Session::start(
        Path::new(TRACING),
        Path::new(CGROUP_ROOT),
        plan,
        &ctx.cpus.all(),
    )
}

fn finish_trace(trace: Result<Session, TraceError>) -> Reading<Traced> {
    match trace.and_then(Session::finish) {
        Ok(report) => Reading::Read(report.traced()),
        Err(error) => Reading::Absent(error.to_string()),
    }
}

/// Gives this process a real-time priority above the scheduler that is about to be loaded, where the kernel allows it.
pub(super) fn rise_above_schedulers() {
    if let Err(error) = sys::run_above_schedulers() {
        // Then a scheduler that starves it is ended by the host's deadline, or by the kernel's watchdog.
        klog::write(&format!("ktstr: init stays under the scheduler: {error}"));
    }
}

/// Calls `run` with the scheduler enabled, where there is one to load, and reports how it ended. The scheduler is stopped
/// also where `run` fails.
fn under_scheduler<E>(
    spec: Option<&SchedulerSpec>,
    around: &Around<'_>,
    run: impl FnOnce(Option<&mut Loaded>) -> Result<Ending, E>,
) -> Result<(Ending, Option<SchedulerReport>), E> {
    let Some(spec) = spec else {
        return Ok((run(None)?, None));
    };
    rise_above_schedulers();
    match Loaded::start(spec, around) {
        Ok(mut scheduler) => match run(Some(&mut scheduler)) {
            Ok(ending) => {
                let was_gone = ending == Ending::SchedulerGone || scheduler.is_gone_at_last();
                Ok((ending, Some(scheduler.stop(was_gone))))
            }
            Err(error) => {
                scheduler.stop(false);
                Err(error)
            }
        },
        Err(report) => Ok((Ending::SchedulerGone, Some(*report))),
    }
}

/// Records that the kernel ended the scheduler while it was being stopped: a problem as if it had done so before.
fn note_late_exit(report: &mut SchedulerReport, exits: &[ScxExitKind]) {
    let is_fine = |exit: &ScxExitKind| match exit {
        ScxExitKind::Unreg | ScxExitKind::UnregBpf => true,
        // Of one that may restart.
        ScxExitKind::UnregKern => report.restarts > 0,
        _ => false,
    };
    if report.problem.is_none()
        && let Some(exit) = exits.iter().find(|exit| !is_fine(exit))
    {
        report.problem = Some(SchedulerProblem::Gone(Departure::AsItWasStopped(*exit)));
    }
}
