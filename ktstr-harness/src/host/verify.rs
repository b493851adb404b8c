//! Running one cell of the verifier sweep.

use std::time::{Duration, SystemTime};

use ktstr_core::record::Timings;
use ktstr_core::record::{Sidecar, Stage, VerifierStats};
use ktstr_core::{Verdict, text};
use ktstr_vmm::Backend;

use super::machine::{Ground, Heard};
use super::surroundings::{self, Kernel};
use super::{Evidence, Finished, judge, kernel, scheduler, scx_exit, verifier_log};
use crate::dispatch::{Cell, Settings};
use crate::protocol::{KernelSeen, ToGuest, VerifyReport, VerifySpec};
use crate::test::Location;
use crate::{AssertResult, TestCase};

/// What the guest may take after it was told: every stage has a limit of its own, which add up to less.
const LIMIT: Duration = Duration::from_secs(150);

/// Runs `cell` and tells how it ended; failures of the surroundings are verdicts like others.
pub fn verify(cell: &Cell, settings: &Settings) -> Finished {
    let started = SystemTime::now();
    let mut run = Run {
        kernel: None,
        backend: None,
        performance: None,
        timings: Timings::default(),
        notes: Vec::new(),
        stats: None,
        kernel_seen: KernelSeen::default(),
        evidence: Evidence {
            raw_verifier_log: settings.raw_verifier_log,
            ..Evidence::default()
        },
    };
    let verdict = run.in_machine(cell, settings).unwrap_or_else(|early| early);
    run.finish(cell, settings, verdict, started)
}

struct Run {
    kernel: Option<Kernel>,
    backend: Option<Backend>,
    performance: Option<bool>,
    timings: Timings,
    notes: Vec<String>,
    stats: Option<VerifierStats>,
    kernel_seen: KernelSeen,
    evidence: Evidence,
}

impl Run {
    /// An early end, before there is a machine, is a verdict as well: the `Err`.
    fn in_machine(&mut self, cell: &Cell, settings: &Settings) -> Result<Verdict, Verdict> {
        let test = machine_of(cell);
        let kernel = surroundings::kernel(Some(&cell.kernel), settings)?;
        let kernel = self.kernel.insert(kernel).clone();
        let choice = surroundings::backend(settings)?;
        self.notes.extend(choice.note());
        self.backend = Some(choice.backend());
        let program = scheduler::program(cell.scheduler, settings)?;
        let Some(scheduler) = scheduler::spec(&test) else {
            return Err(Verdict::skip("the kernel's own scheduler is not loaded"));
        };
        let topology = cell.preset.topology;
        let request = ToGuest::Verify(VerifySpec {
            topology,
            scheduler,
            env: settings.guest_env.clone(),
            allow_kernel_warnings: kernel::allowed(&test),
        });
        let initramfs = surroundings::initramfs(&test, program.as_deref(), settings)?;
        self.notes.extend(surroundings::not_cached(&initramfs));
        let ground = Ground {
            test: &test,
            topology,
            settings,
            kernel,
            backend: choice.config,
            initramfs,
        };
        let heard = ground.talk(request, LIMIT, &mut self.timings.wait_s)?;
        heard.time(&mut self.timings);
        self.performance = Some(heard.performance);
        if let (Some(kernel), Some(release)) = (&mut self.kernel, &heard.kernel_release) {
            // The guest's own word; what was read from the image may be less exact.
            kernel.version.clone_from(release);
        }
        self.evidence.take_console(&heard.console);
        self.notes.extend(heard.notes.iter().cloned());
        Ok(match heard {
            Heard {
                verified: Some(report),
                ..
            } => self.take(report, &kernel::allowed(&test)),
            heard => heard.verdict(&test),
        })
    }

    fn take(&mut self, report: VerifyReport, allow: &[String]) -> Verdict {
        let waiting = scx_exit::longest_waiting(&report.scheduler.dump);
        let waiting = waiting.map(|(task, waited)| {
            let (task, seconds) = (text::line(task), waited.as_secs_f64());
            format!("it left {task} waiting for {seconds:.1} s, and it still waits")
        });
        let last_words = judge::last_words(&report.scheduler.log);
        let is_dead = report.scheduler.problem.is_some();
        self.evidence
            .take_report(report.kernel_log, Some(report.scheduler));
        let stage = report.stats.stage;
        self.stats = Some(report.stats);
        let mut verdict = match (report.problem, &self.evidence.scx_exit) {
            (None, _) => Verdict::pass(),
            (Some(_), Some(exit)) => {
                Verdict::fail(stage.name(), format!("{}: {exit}", exit.deed()))
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
        verdict.merge(kernel::verdict(&report.kernel, allow));
        self.notes.extend(kernel::note(&report.kernel));
        self.kernel_seen = report.kernel;
        verdict
    }

    /// What the verifier says against the program that it rejected.
    fn rejection(&self) -> Option<String> {
        let (logs, _) = verifier_log::split(&self.evidence.scheduler_log);
        let (program, complaint) = logs
            .iter()
            .find_map(|log| Some((log.program, log.complaint()?)))?;
        Some(format!(
            "the kernel rejects its program `{program}`: {complaint}"
        ))
    }

    fn finish(
        self,
        cell: &Cell,
        settings: &Settings,
        verdict: Verdict,
        started: SystemTime,
    ) -> Finished {
        let version = self.kernel.map(|kernel| kernel.version);
        let mut sidecar = Sidecar {
            variant: cell.preset.name.to_owned(),
            topology: Some(cell.preset.topology),
            scheduler: cell.scheduler.name.to_owned(),
            kernel_version: version,
            kernel_label: Some(cell.kernel.label.clone()),
            backend: self.backend.map(|backend| backend.to_string()),
            performance_mode: self.performance,
            verifier: self.stats,
            timings: self.timings,
            ..settings.record(Cell::TEST, &cell.name, verdict, started)
        };
        kernel::keep(self.kernel_seen, &mut sidecar);
        Finished {
            sidecar,
            evidence: self.evidence,
            notes: self.notes,
        }
    }
}

/// What a cell's machine is made from: as that of a test under the scheduler that says nothing else. The body is
/// never called.
fn machine_of(cell: &Cell) -> TestCase {
    let location = Location {
        file: file!(),
        line: line!(),
    };
    TestCase {
        scheduler: cell.scheduler,
        topology: cell.preset.topology,
        ..TestCase::new(Cell::TEST, location, |_| Ok(AssertResult::pass()))
    }
}
