//! Running one cell of the verifier sweep.

use std::time::SystemTime;

use ktstr_core::record::{Sidecar, Stage, VerifierStats};
use ktstr_core::{CaseName, Verdict, text};
use ktstr_vmm::CancelToken;

use super::diagnosis::Diagnosis;
use super::facts::RunFacts;
use super::observer::RunObserver;
use super::outcome::MachineEnd;
use super::plan::MachinePlan;
use super::prepared_run::PreparedRun;
use super::result::{self, CaseResult, RunError};
use super::settings::Settings;
use super::{judge, kernel_verdict, scheduler_program, verifier_log};
use crate::cases::Cell;
use crate::protocol::{GuestRequest, VerifyReport, VerifySpec};

/// Runs `cell` and tells how it ended; failures of the surroundings are verdicts like others.
pub(super) fn run(
    cell: &Cell,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> CaseResult {
    let started = SystemTime::now();
    let mut run = CellRun {
        facts: RunFacts::default(),
        stats: None,
    };
    let (verdict, cancelled) = match run.in_machine(cell, settings, observer, cancel) {
        Ok(verdict) | Err(RunError::Refused(verdict)) => (verdict, false),
        Err(RunError::Cancelled) => (result::cancelled(), true),
    };
    let verdict = settings.with_skip_mode(verdict);
    let record = settings
        .origin
        .record(CaseName::VERIFIER, &cell.name, verdict, started);
    let (sidecar, artifacts) = run.facts.into_record(Sidecar {
        verifier: run.stats,
        ..cell.record(record)
    });
    CaseResult {
        sidecar,
        artifacts,
        cancelled,
    }
}

/// What is known of a run so far.
struct CellRun {
    facts: RunFacts,
    stats: Option<VerifierStats>,
}

impl CellRun {
    fn in_machine(
        &mut self,
        cell: &Cell,
        settings: &Settings,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<Verdict, RunError> {
        let Some(scheduler) = scheduler_program::spec(cell.scheduler, &[], None) else {
            return Err(Verdict::skip("the kernel's own scheduler is not loaded").into());
        };
        let allow = kernel_verdict::allowed_by(cell.scheduler);
        let plan = MachinePlan::of_cell(cell);
        let request = GuestRequest::Verify(VerifySpec {
            topology: plan.topology,
            scheduler,
            env: settings.guest_env.clone(),
            allow_kernel_warnings: allow.clone(),
        });
        let prepared = PreparedRun::new(&plan, settings, &mut self.facts, observer, cancel)?;
        let outcome = prepared.run(&request, &mut self.facts, observer, cancel)?;
        match outcome.end {
            MachineEnd::Verified(report) => Ok(self.take(*report, &allow, observer)),
            end => Ok(judge::of_machine(
                &end,
                &outcome.console,
                outcome.times.ready.is_some(),
            )),
        }
    }

    fn take(
        &mut self,
        report: VerifyReport,
        allow: &[String],
        observer: &mut dyn RunObserver,
    ) -> Verdict {
        let diagnosis = Diagnosis::of(&report.kernel_log, Some(&report.scheduler));
        let waiting = diagnosis.waiting.map(|(task, waited)| {
            let (task, seconds) = (text::line(&task), waited.as_secs_f64());
            format!("it left {task} waiting for {seconds:.1} s, and it still waits")
        });
        let last_words = judge::last_words(&report.scheduler.log);
        let is_dead = report.scheduler.problem.is_some();
        self.facts.artifacts.take_report(
            report.kernel_log,
            Some(report.scheduler),
            diagnosis.scx_exit,
        );
        let stage = report.stats.stage;
        self.stats = Some(report.stats);
        let mut verdict = match (report.problem, &self.facts.artifacts.scx_exit) {
            (None, _) => Verdict::pass(),
            (Some(_), Some(exit)) => {
                Verdict::fail(stage.name(), format!("{}: {exit}", exit.kind.deed()))
            }
            (Some(why), None) => {
                let why = match (self.rejection(), waiting, last_words) {
                    (Some(rejection), ..) => rejection,
                    // What was waited for in vain follows from it.
                    (None, Some(waiting), _) if stage == Stage::Dispatch => {
                        format!("{waiting}: {why}")
                    }
                    (None, _, Some(words)) if is_dead => format!("{why}; it said last: {words}"),
                    _ => why,
                };
                Verdict::fail(stage.name(), why)
            }
        };
        verdict.merge(kernel_verdict::verdict(&report.kernel, allow));
        self.facts.take_kernel_seen(report.kernel, observer);
        verdict
    }

    /// What the verifier says against the program that it rejected.
    fn rejection(&self) -> Option<String> {
        let (logs, _) = verifier_log::split(&self.facts.artifacts.scheduler_log);
        let (program, complaint) = logs
            .iter()
            .find_map(|log| Some((log.program, log.complaint()?)))?;
        Some(format!(
            "the kernel rejects its program `{program}`: {complaint}"
        ))
    }
}
