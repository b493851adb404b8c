//! Running one case.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use ktstr_core::record::Timings;
use ktstr_core::record::{Sampled, Sidecar};
use ktstr_core::{Outcome, Topology, Verdict};
use ktstr_vmm::Backend;

use super::judge::{self, MachineEnd};
use super::kernel;
use super::machine::{Ground, Heard};
use super::repro::{self, AutoRepro, Death};
use super::scheduler;
use super::surroundings::{self, Kernel};
use super::{Evidence, Finished};
use crate::check::sampled_metrics;
use crate::dispatch::{Case, Settings};
use crate::protocol::{Ending, KernelSeen};
use crate::{AssertResult, Ctx, TestCase, guest};

/// Runs `case` and tells how it ended; failures of the surroundings are verdicts like others.
pub fn run(case: &Case, settings: &Settings) -> Finished {
    let started = SystemTime::now();
    let mut run = Run {
        kernel: None,
        backend: None,
        performance: None,
        result: AssertResult::pass(),
        timings: Timings::default(),
        evidence: Evidence::default(),
        sampled: None,
        notes: Vec::new(),
        kernel_seen: KernelSeen::default(),
        restarts: 0,
    };
    let nothing = Verdict::pass;
    let (verdict, of_kernel) = match case.topology() {
        Some(topology) => run
            .in_machine(case, topology, settings)
            .unwrap_or_else(|early| (early, nothing())),
        None => (run.on_host(case.test), nothing()),
    };
    let verdict = judge::expect(case.test, verdict, of_kernel);
    run.finish(case, settings, verdict, started)
}

/// What is known of a run so far.
struct Run {
    kernel: Option<Kernel>,
    backend: Option<Backend>,
    performance: Option<bool>,
    result: AssertResult,
    timings: Timings,
    evidence: Evidence,
    sampled: Option<Sampled>,
    notes: Vec<String>,
    kernel_seen: KernelSeen,
    restarts: u64,
}

impl Run {
    fn on_host(&mut self, test: &TestCase) -> Verdict {
        let ctx = Ctx {
            topology: test.topology,
            duration: test.duration(),
            checks: test.checks,
            cgroup_root: PathBuf::from(guest::CGROUP_ROOT),
            include_dir: PathBuf::from(guest::INCLUDE_DIR),
        };
        let begin = Instant::now();
        let ending = guest::run_caught(test, &ctx);
        self.timings.scenario_s = Some(begin.elapsed().as_secs_f64());
        let mut verdict = judge::of_ending(test, &ending, "");
        judge::add_unjudged(&mut verdict, test, &ending);
        judge::add_sampled(&mut verdict, test, &ending, None);
        self.keep(ending);
        verdict
    }

    /// The verdict of the run, and what the kernel said against itself. An early end, before there is a machine, is a
    /// verdict as well: the `Err`.
    fn in_machine(
        &mut self,
        case: &Case,
        topology: Topology,
        settings: &Settings,
    ) -> Result<(Verdict, Verdict), Verdict> {
        let test = case.test;
        let kernel = surroundings::kernel(case.kernel.as_ref(), settings)?;
        self.notes.extend(kernel.found.clone());
        self.kernel = Some(kernel.clone());
        let choice = surroundings::backend(settings)?;
        self.notes.extend(choice.note());
        self.backend = Some(choice.backend());
        let scheduler = scheduler::program(test.scheduler, settings)?;
        let initramfs = surroundings::initramfs(test, scheduler.as_deref(), settings)?;
        self.notes.extend(surroundings::not_cached(&initramfs));
        let ground = Ground {
            test,
            topology,
            settings,
            kernel,
            backend: choice.config,
            initramfs,
        };
        let heard = ground.run(None, &mut self.timings.wait_s)?;
        let death = heard.report().and_then(Death::of);
        let of_kernel = heard.kernel_verdict(test);
        let verdict = self.take(test, heard);
        let expected = judge::expect(test, verdict.clone(), of_kernel.clone());
        if let Some(death) = death
            && repro::is_wanted(test, &expected)
        {
            self.evidence.auto_repro = Some(reproduce(&ground, &death));
        }
        Ok((verdict, of_kernel))
    }

    fn take(&mut self, test: &TestCase, heard: Heard) -> Verdict {
        let mut verdict = heard.verdict(test);
        heard.time(&mut self.timings);
        self.performance = Some(heard.performance);
        if let (Some(kernel), Some(release)) = (&mut self.kernel, heard.kernel_release) {
            // The guest's own word; what was read from the image may be less exact.
            kernel.version = release;
        }
        self.notes.extend(heard.notes);
        self.evidence.take_console(&heard.console);
        if let MachineEnd::Reported(report) = heard.end {
            self.sampled = report.sampled.map(|sampled| *sampled);
            self.notes.extend(kernel::note(&report.kernel));
            self.kernel_seen = report.kernel;
            self.restarts = report.scheduler.as_ref().map_or(0, |s| s.restarts);
            self.evidence
                .take_report(report.kernel_log, report.scheduler);
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

    fn finish(
        self,
        case: &Case,
        settings: &Settings,
        verdict: Verdict,
        started: SystemTime,
    ) -> Finished {
        let (label, version) = match self.kernel {
            Some(Kernel { label, version, .. }) => (Some(label), Some(version)),
            None => (None, None),
        };
        let mut metrics = self.result.metrics;
        metrics.extend(self.sampled.iter().flat_map(sampled_metrics));
        let mut sidecar = Sidecar {
            variant: case.variant_name().to_owned(),
            topology: case.topology(),
            scheduler: case.test.scheduler.name.to_owned(),
            kernel_version: version,
            kernel_label: label,
            backend: self.backend.map(|backend| backend.to_string()),
            performance_mode: self.performance,
            cgroups: self.result.cgroups,
            metrics,
            sampled: self.sampled,
            scheduler_restarts: self.restarts,
            timings: self.timings,
            auto_repro: self
                .evidence
                .auto_repro
                .as_ref()
                .map(|repro| repro.outcome.clone()),
            ..settings.record(case.test.name, &case.name, verdict, started)
        };
        kernel::keep(self.kernel_seen, &mut sidecar);
        Finished {
            sidecar,
            evidence: self.evidence,
            notes: self.notes,
        }
    }
}

/// Runs the test once more, watched, to see the scheduler's `death` again.
fn reproduce(ground: &Ground<'_>, death: &Death) -> AutoRepro {
    let plan = death.plan(ground.test.name);
    // Timings are those of the first run.
    match ground.run(Some(plan.clone()), &mut None) {
        Err(verdict) => repro::could_not_run(&verdict, ""),
        Ok(heard) => match heard.report() {
            None => repro::could_not_run(&heard.verdict(ground.test), &heard.console),
            Some(report) => repro::compare(death, &plan, report, &heard.verdict(ground.test)),
        },
    }
}
