//! Running one test.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ktstr_core::record::{Reading, Sampled, Sidecar, Traced};
use ktstr_core::{Outcome, Topology, Verdict};
use ktstr_vmm::CancelToken;

use super::cancel;
use super::diagnosis::Diagnosis;
use super::facts::RunFacts;
use super::observer::{RunEvent, RunObserver};
use super::origin::RunOrigin;
use super::outcome::{GuestOutcome, MachineEnd, RunTimes};
use super::plan::MachinePlan;
use super::prepared_run::PreparedRun;
use super::repro::{self, AutoRepro, SchedulerExit};
use super::result::{self, CaseResult, FailureArtifacts, RunError};
use super::settings::{Settings, own_epoch};
use super::{judge, kernel_verdict, post_vm, scheduler_program};
use crate::cases::Case;
use crate::check::{sampled_metrics, traced_metrics};
use crate::probe::ProbePlan;
use crate::protocol::{BodyReport, Ending, GuestRequest, RunSpec};
use crate::{AssertResult, Ctx, Payload, TestCase, guest};

/// Runs `case` and tells how it ended; failures of the surroundings are verdicts like others.
pub(super) fn run(
    case: &Case,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> CaseResult {
    let started = SystemTime::now();
    let mut run = CaseRun::new();
    let judged = match MachinePlan::of_case(case) {
        Some(plan) => run.in_machine(case.test, &plan, settings, observer, cancel),
        None => cancel::check(cancel).map(|()| run.on_host(case.test)),
    };
    let (verdict, cancelled) = match judged {
        Ok(verdict) => (verdict, false),
        Err(RunError::Refused(verdict)) => (
            judge::expect(case.test, verdict, None, Verdict::pass()),
            false,
        ),
        Err(RunError::Cancelled) => (result::cancelled(), true),
    };
    let verdict = settings.with_skip_mode(verdict);
    let kernel = run.facts.kernel.as_ref().map(|kernel| kernel.image.clone());
    let (mut sidecar, artifacts) = run.into_record(case, &settings.origin, verdict, started);
    if sidecar.machine.is_some() && !cancelled {
        let kernel = kernel.as_deref();
        let found = post_vm::call(case.test, &sidecar, &artifacts, kernel, Some(settings));
        add(&mut sidecar.verdict, found);
    }
    CaseResult {
        sidecar,
        artifacts,
        cancelled,
    }
}

/// The result of `case` where it ran without a machine, as `test`, which may differ from the case's in what its run was
/// told; `report` is what a guest would say.
pub(crate) fn bare_metal_result(
    case: &Case,
    test: &TestCase,
    report: BodyReport,
    started: SystemTime,
) -> CaseResult {
    let whole = started.elapsed().unwrap_or_default();
    let outcome = GuestOutcome {
        end: MachineEnd::Reported(Box::new(report)),
        console: String::new(),
        kernel_release: None,
        times: RunTimes {
            waited: Duration::ZERO,
            ready: Some(Duration::ZERO),
            reported: Some(whole),
            whole,
        },
        performance_mode: false,
    };
    let diagnosis = diagnosis(&outcome);
    let of_kernel = kernel_verdict(test, &outcome);
    let mut run = CaseRun::new();
    // The one note is of the kernel's boot, which is long ago.
    let verdict = run.take(test, outcome, &diagnosis, &mut |_: RunEvent<'_>| {});
    let verdict = judge::expect(test, verdict, diagnosis.ejection(), of_kernel);
    let (mut sidecar, artifacts) =
        run.into_record(case, &RunOrigin::new(own_epoch()), verdict, started);
    let found = post_vm::call(test, &sidecar, &artifacts, None, None);
    add(&mut sidecar.verdict, found);
    CaseResult {
        sidecar,
        artifacts,
        cancelled: false,
    }
}

/// Adds what was found, if anything was: nothing must not make a pass of a skip.
fn add(verdict: &mut Verdict, found: Option<Verdict>) {
    if let Some(found) = found {
        verdict.merge(found);
    }
}

/// What is known of a run so far.
struct CaseRun {
    facts: RunFacts,
    result: AssertResult,
    sampled: Option<Sampled>,
    traced: Option<Reading<Traced>>,
    restarts: u64,
}

impl CaseRun {
    fn new() -> Self {
        Self {
            facts: RunFacts::default(),
            result: AssertResult::pass(),
            sampled: None,
            traced: None,
            restarts: 0,
        }
    }

    fn on_host(&mut self, test: &TestCase) -> Verdict {
        let ctx = Ctx {
            cpus: test.topology.into(),
            duration: test.duration(),
            checks: test.checks,
            cgroup_root: PathBuf::from(guest::CGROUP_ROOT),
            include_dir: PathBuf::from(guest::INCLUDE_DIR),
            payload: None,
            workloads: &[],
        };
        let begin = Instant::now();
        let ending = guest::run_caught(test, &ctx);
        self.facts.scenario_took(begin.elapsed().as_secs_f64());
        let mut verdict = judge::of_ending(test, &ending, &Diagnosis::default());
        judge::add_unjudged(&mut verdict, test, &ending);
        judge::add_sampled(&mut verdict, test, &ending, None);
        judge::add_traced(&mut verdict, test, &ending, None);
        self.keep(ending);
        judge::expect(test, verdict, None, Verdict::pass())
    }

    fn in_machine(
        &mut self,
        test: &TestCase,
        plan: &MachinePlan,
        settings: &Settings,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<Verdict, RunError> {
        let prepared = PreparedRun::new(plan, settings, &mut self.facts, observer, cancel)?;
        let request = request(test, plan, settings, None);
        let outcome = prepared.run(&request, &mut self.facts, observer, cancel)?;
        let diagnosis = diagnosis(&outcome);
        let report = outcome.body_report();
        let exit = report.and_then(|report| SchedulerExit::of(report, &diagnosis));
        let of_kernel = kernel_verdict(test, &outcome);
        let verdict = self.take(test, outcome, &diagnosis, observer);
        let expected = judge::expect(test, verdict, diagnosis.ejection(), of_kernel);
        if let Some(exit) = exit
            && repro::is_wanted(test, &expected)
        {
            observer.event(RunEvent::SecondRun);
            let again = reproduce(&prepared, test, &exit, observer, cancel)?;
            self.facts.artifacts.auto_repro = Some(again);
        }
        Ok(expected)
    }

    fn take(
        &mut self,
        test: &TestCase,
        outcome: GuestOutcome,
        diagnosis: &Diagnosis,
        observer: &mut dyn RunObserver,
    ) -> Verdict {
        let mut verdict = verdict(test, &outcome, diagnosis);
        judge::add_cleanup(&mut verdict, test, outcome.times);
        if let MachineEnd::Reported(report) = outcome.end {
            self.sampled = report.sampled.map(|sampled| *sampled);
            self.traced = report.traced.map(|traced| *traced);
            self.facts.take_kernel_seen(report.kernel, observer);
            self.restarts = report.scheduler.as_ref().map_or(0, |s| s.restarts);
            let artifacts = &mut self.facts.artifacts;
            let scx_exit = diagnosis.scx_exit.clone();
            artifacts.take_report(report.kernel_log, report.scheduler, scx_exit);
            self.keep(report.ending);
        }
        // A note must not make a pass of a skip.
        let skipped = verdict.outcome() == Outcome::Skip;
        if test.scheduler.is_loaded() && test.watchdog_timeout_s.is_some() && !skipped {
            let note =
                "no kernel lets it be set from outside; the scheduler's own timeout_ms holds";
            verdict.record(Outcome::Pass, "watchdog_timeout_s", note);
        }
        verdict
    }

    /// Keeps what a body measured; its verdict is judged elsewhere.
    fn keep(&mut self, ending: Ending) {
        if let Ending::Returned(result) = ending {
            self.result = result;
        }
    }

    fn into_record(
        self,
        case: &Case,
        origin: &RunOrigin,
        verdict: Verdict,
        started: SystemTime,
    ) -> (Sidecar, FailureArtifacts) {
        let mut metrics = self.result.metrics;
        metrics.extend(self.sampled.iter().flat_map(sampled_metrics));
        if let Some(Reading::Read(traced)) = &self.traced {
            metrics.extend(traced_metrics(traced));
        }
        let programs = case.test.programs();
        self.facts.into_record(Sidecar {
            cgroups: self.result.cgroups,
            metrics,
            metric_definitions: programs.flat_map(Payload::definitions).collect(),
            programs: self.result.programs,
            sampled: self.sampled,
            traced: self.traced,
            scheduler_restarts: self.restarts,
            ..case.record(origin.record(case.test.name, &case.name, verdict, started))
        })
    }
}

/// What the guest is told to run, recorded by `probes` where there are any.
fn request(
    test: &TestCase,
    plan: &MachinePlan,
    settings: &Settings,
    probes: Option<ProbePlan>,
) -> GuestRequest {
    let env = settings.guest_env.clone();
    GuestRequest::Run(Box::new(run_spec(test, plan.topology, env, probes)))
}

/// Likewise, on a machine of that shape, with these environment variables.
pub(crate) fn run_spec(
    test: &TestCase,
    topology: Topology,
    env: Vec<(String, String)>,
    probes: Option<ProbePlan>,
) -> RunSpec {
    RunSpec {
        test: test.name.to_owned(),
        topology,
        duration: test.duration(),
        limit: test.body_limit(),
        checks: test.checks,
        env,
        scheduler: scheduler_program::spec_of_test(test),
        probes,
        allow_kernel_warnings: kernel_verdict::allowed(test),
    }
}

fn diagnosis(outcome: &GuestOutcome) -> Diagnosis {
    let report = outcome.body_report();
    report.map_or_else(Diagnosis::default, Diagnosis::of_body)
}

/// What a run came to, before the test's own expectations.
fn verdict(test: &TestCase, outcome: &GuestOutcome, diagnosis: &Diagnosis) -> Verdict {
    let was_ready = outcome.times.ready.is_some();
    let mut verdict = judge::verdict(test, &outcome.end, diagnosis, &outcome.console, was_ready);
    if let Some(report) = outcome.body_report() {
        let sampled = report.sampled.as_deref();
        judge::add_unjudged(&mut verdict, test, &report.ending);
        judge::add_unstarted(&mut verdict, test, &report.ending);
        judge::add_sampled(&mut verdict, test, &report.ending, sampled);
        judge::add_traced(&mut verdict, test, &report.ending, report.traced.as_deref());
        judge::add_under_scheduler(&mut verdict, test, report);
    }
    verdict
}

/// What the kernel said against itself, as a verdict.
fn kernel_verdict(test: &TestCase, outcome: &GuestOutcome) -> Verdict {
    let report = outcome.body_report();
    report.map_or_else(Verdict::pass, |report| {
        kernel_verdict::verdict(&report.kernel, &kernel_verdict::allowed(test))
    })
}

/// Runs the test once more, with probes, to see the scheduler's `exit` again. Its output is not shown: it would be there
/// twice. The record keeps the facts of the first run.
fn reproduce(
    prepared: &PreparedRun<'_>,
    test: &TestCase,
    exit: &SchedulerExit,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> Result<AutoRepro, RunError> {
    let probes = exit.plan(test.name);
    let request = request(test, prepared.plan, prepared.settings, Some(probes.clone()));
    let mut of_second_run = RunFacts::default();
    let outcome = match prepared.run(&request, &mut of_second_run, observer, cancel) {
        Ok(outcome) => outcome,
        Err(RunError::Cancelled) => return Err(RunError::Cancelled),
        Err(RunError::Refused(verdict)) => return Ok(repro::could_not_run(&verdict, "")),
    };
    let diagnosis = diagnosis(&outcome);
    let verdict = verdict(test, &outcome, &diagnosis);
    Ok(match outcome.body_report() {
        None => repro::could_not_run(&verdict, &outcome.console),
        Some(report) => repro::compare(exit, &probes, report, &diagnosis, &verdict),
    })
}
