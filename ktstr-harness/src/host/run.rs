//! Running one case.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ktstr_core::sidecar::Timings;
use ktstr_core::timestamp::rfc3339;
use ktstr_core::{Outcome, Reservation, Sampled, Sidecar, Topology, Verdict};
use ktstr_vmm::{Backend, ExitReason, Machine, MachineExit};

use super::conversation::Conversation;
use super::judge::{self, MachineEnd};
use super::scheduler;
use super::scx_exit::ScxExit;
use super::surroundings::{self, Kernel, early};
use super::{Evidence, Finished};
use crate::check::sampled_metrics;
use crate::dispatch::{Case, Settings};
use crate::protocol::{Ending, Report, since_body_start};
use crate::{AssertResult, Ctx, TestCase, guest};

/// How long to wait for a place to run a machine: others' tests take minutes at most.
const PLACE_WAIT: Duration = Duration::from_secs(900);

/// Runs `case` and tells how it ended; failures of the surroundings are verdicts like others.
pub fn run(case: &Case, settings: &Settings) -> Finished {
    let started = SystemTime::now();
    let mut run = Run {
        kernel: None,
        backend: None,
        result: AssertResult::pass(),
        timings: Timings::default(),
        evidence: Evidence::default(),
        sampled: None,
    };
    let verdict = match case.topology() {
        Some(topology) => run
            .in_machine(case, topology, settings)
            .unwrap_or_else(|verdict| verdict),
        None => run.on_host(case.test),
    };
    run.finish(case, settings, judge::expect(case.test, verdict), started)
}

/// What is known of a run so far.
struct Run {
    kernel: Option<Kernel>,
    backend: Option<Backend>,
    result: AssertResult,
    timings: Timings,
    evidence: Evidence,
    sampled: Option<Sampled>,
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
        let mut verdict = judge::of_ending(&ending, "");
        judge::add_sampled(&mut verdict, test, &ending, None);
        self.keep(ending);
        verdict
    }

    /// An early end, before there is a machine, is a verdict as well: the `Err`.
    fn in_machine(
        &mut self,
        case: &Case,
        topology: Topology,
        settings: &Settings,
    ) -> Result<Verdict, Verdict> {
        let kernel = self.kernel.insert(surroundings::kernel(case, settings)?);
        let (backend, qemu) = surroundings::backend(settings)?;
        self.backend = Some(backend);
        let scheduler = scheduler::program(case.test.scheduler, settings)?;
        let initramfs = surroundings::initramfs(case.test, scheduler.as_deref(), settings)?;
        let run = surroundings::run_spec(case.test, topology, settings);
        let spec = surroundings::machine_spec(case.test, &run, kernel, &initramfs, qemu, settings);
        let (boot_limit, limit) = (spec.boot_deadline, spec.deadline);
        let machine = Machine::new(spec, backend).map_err(early)?;

        let begin = Instant::now();
        let place = Reservation::emulator(&settings.lock_dir, settings.allowed_cpus(), PLACE_WAIT)
            .map_err(|error| Verdict::skip(error.to_string()))?;
        self.timings.wait_s = Some(begin.elapsed().as_secs_f64());

        let mut conversation = Conversation::new(run, settings.verbose);
        let begin = Instant::now();
        let exit = machine.run(&mut conversation).map_err(early)?;
        drop(place);
        let limits = Limits {
            boot: boot_limit,
            whole: limit,
        };
        Ok(self.take(case.test, conversation, exit, begin.elapsed(), limits))
    }

    fn take(
        &mut self,
        test: &TestCase,
        heard: Conversation,
        exit: MachineExit,
        whole: Duration,
        limits: Limits,
    ) -> Verdict {
        let seconds = |from: Option<Duration>, to: Option<Duration>| {
            Some(to?.saturating_sub(from?).as_secs_f64())
        };
        self.timings.boot_s = heard.ready.map(|ready| ready.as_secs_f64());
        self.timings.scenario_s = seconds(heard.ready, heard.reported);
        self.timings.teardown_s = seconds(heard.reported, Some(whole));
        if let (Some(kernel), Some(release)) = (&mut self.kernel, heard.kernel_release) {
            // The guest's own word; what was read from the image may be less exact.
            kernel.version = release;
        }
        self.evidence.console = String::from_utf8_lossy(&exit.console).replace('\r', "");
        let end = machine_end(exit, heard.report, heard.garbled, limits);
        let mut verdict = judge::verdict(&end, &self.evidence.console, heard.ready.is_some());
        self.evidence.kernel_log = self.evidence.console.clone();
        if let MachineEnd::Reported(report) = end {
            judge::add_sampled(
                &mut verdict,
                test,
                &report.ending,
                report.sampled.as_deref(),
            );
            self.sampled = report.sampled.map(|sampled| *sampled);
            if !report.kernel_log.is_empty() {
                self.evidence.kernel_log = report.kernel_log;
            }
            if let Some(scheduler) = report.scheduler {
                self.evidence.scheduler_log = scheduler.log;
                self.evidence.sched_ext_dump = scheduler.dump;
                let log = since_body_start(&self.evidence.kernel_log);
                self.evidence.scx_exit = ScxExit::find(log).filter(ScxExit::is_error);
            }
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
        let (label, version, found) = match self.kernel {
            Some(Kernel {
                label,
                version,
                found,
                ..
            }) => (Some(label), Some(version), found),
            None => (None, None, None),
        };
        let mut metrics = self.result.metrics;
        metrics.extend(self.sampled.iter().flat_map(sampled_metrics));
        let sidecar = Sidecar {
            variant: case.variant_name().to_owned(),
            topology: case.topology(),
            scheduler: case.test.scheduler.name.to_owned(),
            kernel_version: version,
            kernel_label: label,
            backend: self.backend.map(|backend| backend.to_string()),
            cgroups: self.result.cgroups,
            metrics,
            sampled: self.sampled,
            timings: self.timings,
            host: settings.host.clone(),
            project_commit: settings.commit().map(|commit| commit.to_string()),
            run_source: settings.run_source,
            started: rfc3339(started),
            finished: rfc3339(SystemTime::now()),
            ..Sidecar::new(case.test.name, &case.name, verdict)
        };
        Finished {
            sidecar,
            evidence: self.evidence,
            found,
        }
    }
}

/// The deadlines a machine was given.
#[derive(Clone, Copy)]
struct Limits {
    boot: Duration,
    whole: Duration,
}

fn machine_end(
    exit: MachineExit,
    report: Option<Report>,
    garbled: Option<String>,
    limits: Limits,
) -> MachineEnd {
    if let Some(why) = garbled {
        return MachineEnd::Garbled(why);
    }
    // A report counts however the machine went away after it.
    if let Some(report) = report {
        return MachineEnd::Reported(report);
    }
    match exit.reason {
        ExitReason::BootDeadline => MachineEnd::BootDeadline(limits.boot),
        ExitReason::Deadline => MachineEnd::Deadline(limits.whole),
        ExitReason::Garbled(error) => MachineEnd::Garbled(error.to_string()),
        ExitReason::Crashed(why) => MachineEnd::Crashed(why),
        // Nobody but the observer stops or cancels it, and that takes a report.
        _ => MachineEnd::Gone,
    }
}
