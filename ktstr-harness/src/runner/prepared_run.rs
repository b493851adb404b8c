//! One run in a machine: everything from what is prepared to how it ended.

use std::time::{Duration, Instant};

use ktstr_core::record::MachineSetup;
use ktstr_vmm::initramfs::PackedInitramfs;
use ktstr_vmm::{
    BackendConfig, CancelToken, Diagnostic, ExitReason, Machine, MachineExit, Observer,
};

use super::cancel;
use super::coverage::ReceivedProfiles;
use super::facts::RunFacts;
use super::guest_session::{GuestReport, GuestSession};
use super::observer::{RunEvent, RunObserver};
use super::outcome::{GuestOutcome, MachineEnd, RunTimes};
use super::placement::Reserved;
use super::plan::MachinePlan;
use super::prepare::{self, Kernel, verdict_for_machine_error};
use super::result::RunError;
use super::settings::Settings;
use super::{payload_program, placement, scheduler_program};
use crate::protocol::{GuestRequest, SchedulerStart};

/// Time to set probes up and to read what they recorded: the guest ends both by itself.
const PROBE_GRACE: Duration = Duration::from_secs(170);

/// Time to enable a scheduler, at most, and to stop it: the guest ends both by itself.
const SCHEDULER_GRACE: Duration = Duration::from_secs(120);

/// What the guest of a cell may take after it was told: every stage has a limit of its own, which add up to less.
const VERIFY_LIMIT: Duration = Duration::from_secs(150);

/// What machines of a plan are made of: each run has a machine of its own.
pub(super) struct PreparedRun<'a> {
    pub(super) plan: &'a MachinePlan,
    pub(super) settings: &'a Settings,
    pub(super) kernel: Kernel,
    pub(super) backend: BackendConfig,
    pub(super) initramfs: PackedInitramfs,
}

/// How long the guest may take for `request` once it is ready.
fn limit(request: &GuestRequest) -> Duration {
    match request {
        GuestRequest::Run(spec) => {
            let probes = spec.probes.as_ref();
            let scheduler = spec.scheduler.as_ref();
            spec.limit
                + probes.map_or(Duration::ZERO, |_| PROBE_GRACE)
                + scheduler.map_or(Duration::ZERO, |_| SCHEDULER_GRACE)
        }
        GuestRequest::Verify(_) => VERIFY_LIMIT,
        // As long as somebody sits at it.
        GuestRequest::Shell(_) => Duration::MAX,
    }
}

/// The arguments that the guest starts the scheduler's program with.
fn scheduler_args(request: &GuestRequest) -> Option<&[String]> {
    let scheduler = match request {
        GuestRequest::Run(spec) => spec.scheduler.as_ref()?,
        GuestRequest::Verify(spec) => &spec.scheduler,
        GuestRequest::Shell(spec) => spec.scheduler.as_ref()?,
    };
    match &scheduler.start {
        SchedulerStart::Program(args) => Some(args),
        SchedulerStart::Builtin { .. } => None,
    }
}

impl<'a> PreparedRun<'a> {
    /// Makes what every run of `plan` needs; `facts` has what was found out also where the rest fails.
    pub(super) fn new(
        plan: &'a MachinePlan,
        settings: &'a Settings,
        facts: &mut RunFacts,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<Self, RunError> {
        let mut note = |note: Option<&str>| {
            if let Some(note) = note {
                observer.event(RunEvent::Note(note));
            }
        };
        cancel::check(cancel)?;
        let kernel = prepare::kernel(plan.kernel.as_ref(), settings)?;
        note(kernel.found.as_deref());
        facts.kernel = Some(kernel.clone());
        let selection = prepare::backend(plan, settings)?;
        note(selection.note().as_deref());
        facts.backend = Some(selection.backend());
        let program = scheduler_program::program(&plan.scheduler, settings, observer, cancel)?;
        facts.scheduler_build = scheduler_program::build_of(&plan.scheduler, settings);
        if let Some(program) = &program {
            facts.hash_program(program.clone());
        }
        let programs = payload_program::programs(plan, settings, observer, cancel)?;
        cancel::check(cancel)?;
        let initramfs = prepare::initramfs(plan, program.as_deref(), &programs, settings)?;
        if let Some(why) = initramfs.not_cached() {
            let note = format!("each run packs its initramfs anew: {why}");
            observer.event(RunEvent::Note(&note));
        }
        Ok(Self {
            plan,
            settings,
            kernel,
            backend: selection.config,
            initramfs,
        })
    }

    /// What runs, in words.
    fn name(&self, request: &GuestRequest) -> String {
        let what = match request {
            GuestRequest::Run(spec) => spec.test.clone(),
            GuestRequest::Verify(_) => format!("verifier/{}", self.plan.scheduler.name),
            GuestRequest::Shell(_) => "shell".to_owned(),
        };
        format!("{what} ({})", self.plan.topology)
    }

    /// The CPU model that the guest sees.
    fn cpu_model(&self) -> Option<String> {
        match self.backend.backend().cpu_model() {
            Some(model) => Some(model.to_owned()),
            None => self.settings.origin.host.cpu_model.clone(),
        }
    }

    /// Runs a machine whose guest does `request`; `facts` has what is known of the machine also where it was cancelled.
    pub(super) fn run(
        &self,
        request: &GuestRequest,
        facts: &mut RunFacts,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<GuestOutcome, RunError> {
        if let (Some(build), Some(args)) = (&mut facts.scheduler_build, scheduler_args(request)) {
            build.args = args.to_vec();
        }
        let reserved = self.reserve(request, observer, cancel)?;
        let profiles = self.settings.coverage.as_ref().map(|coverage| {
            let name = self.name(request);
            ReceivedProfiles::new(coverage.target_dir.clone(), &name)
        });
        let mut session = GuestSession::new(request, profiles, observer);
        let machine = reserved.run(&mut session)?;
        let GuestSession {
            observer,
            report,
            garbled,
            kernel_release,
            ready,
            reported,
            profiles,
            ..
        } = session;
        if let Some(note) = profiles.and_then(|profiles| profiles.end(report.is_some())) {
            observer.event(RunEvent::Note(&note));
        }
        machine.tell_notes(observer);
        let times = machine.times(ready, reported);
        let console = machine.console();
        let performance_mode = machine.performance_mode;
        let release = kernel_release.as_deref();
        facts.take_machine(times, performance_mode, machine.setup(), release, &console);
        Ok(GuestOutcome {
            end: machine.end(report, garbled)?,
            console,
            kernel_release,
            times,
            performance_mode,
        })
    }

    /// Waits for host CPUs for the machine of `request`.
    pub(super) fn reserve(
        &self,
        request: &GuestRequest,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
    ) -> Result<ReservedMachine, RunError> {
        let spec = prepare::machine_spec(
            self.plan,
            limit(request),
            &self.kernel,
            &self.initramfs,
            self.settings,
        );
        prepare::check_memory(&spec, self.initramfs.unpacked_size(), &self.settings.host)?;
        let limits = Limits {
            boot: spec.boot_deadline,
            whole: spec.deadline,
        };
        let setup = MachineSetup {
            memory_mib: spec.memory_mib,
            cpu_model: self.cpu_model(),
            backend_version: None,
        };
        // What cannot run needs no host CPUs.
        let machine =
            Machine::new(spec, self.backend.clone()).map_err(verdict_for_machine_error)?;

        let begin = Instant::now();
        let reserved = placement::reserve(
            self.plan,
            self.backend.backend(),
            self.settings,
            &mut || {
                observer.event(RunEvent::WaitingForHostCpus);
            },
            cancel,
        )?;
        let waited = begin.elapsed();
        let machine = machine
            .with_host_placement(reserved.placement.clone())
            .map_err(verdict_for_machine_error)?
            .with_cancel_token(cancel.clone());
        observer.event(RunEvent::MachineStarting {
            backend: self.backend.backend(),
            performance_mode: reserved.is_alone(),
        });
        Ok(ReservedMachine {
            machine,
            reserved,
            waited,
            setup,
            limits,
        })
    }
}

/// A machine that has its host CPUs and was not started.
pub(super) struct ReservedMachine {
    machine: Machine,
    reserved: Reserved,
    waited: Duration,
    setup: MachineSetup,
    limits: Limits,
}

impl ReservedMachine {
    /// Runs it to its end; the host CPUs are free then.
    pub(super) fn run(self, session: &mut dyn Observer) -> Result<EndedMachine, RunError> {
        let begin = Instant::now();
        let exit = self
            .machine
            .run(session)
            .map_err(verdict_for_machine_error)?;
        Ok(EndedMachine {
            exit,
            whole: begin.elapsed(),
            waited: self.waited,
            performance_mode: self.reserved.is_alone(),
            setup: self.setup,
            limits: self.limits,
        })
    }
}

/// A machine that is gone.
pub(super) struct EndedMachine {
    exit: MachineExit,
    whole: Duration,
    waited: Duration,
    performance_mode: bool,
    setup: MachineSetup,
    limits: Limits,
}

impl EndedMachine {
    pub(super) fn tell_notes(&self, observer: &mut dyn RunObserver) {
        for note in notes(&self.exit) {
            observer.event(RunEvent::Note(&note));
        }
    }

    pub(super) fn times(&self, ready: Option<Duration>, reported: Option<Duration>) -> RunTimes {
        RunTimes {
            waited: self.waited,
            ready,
            reported,
            whole: self.whole,
        }
    }

    /// What its console showed, without carriage returns.
    pub(super) fn console(&self) -> String {
        String::from_utf8_lossy(&self.exit.console).replace('\r', "")
    }

    fn setup(&self) -> MachineSetup {
        MachineSetup {
            backend_version: self.exit.backend_version.clone(),
            ..self.setup.clone()
        }
    }

    /// How it ended, where its guest did not say what it was asked for.
    pub(super) fn end(
        &self,
        report: Option<GuestReport>,
        garbled: Option<String>,
    ) -> Result<MachineEnd, RunError> {
        machine_end(self.exit.reason.clone(), report, garbled, self.limits)
    }
}

/// What the machine's back end had to say, in whatever mode it ran. QEMU warns of processor features that it does not
/// emulate in each run: that tells nobody anything.
fn notes(exit: &MachineExit) -> Vec<String> {
    let is_news = |diagnostic: &&Diagnostic| match diagnostic {
        Diagnostic::Qemu(line) => !line.contains("warning:"),
        _ => true,
    };
    let news = exit.diagnostics.iter().filter(is_news);
    news.map(ToString::to_string).collect()
}

/// The deadlines a machine was given.
#[derive(Clone, Copy)]
struct Limits {
    boot: Duration,
    whole: Duration,
}

fn machine_end(
    reason: ExitReason,
    report: Option<GuestReport>,
    garbled: Option<String>,
    limits: Limits,
) -> Result<MachineEnd, RunError> {
    if let Some(why) = garbled {
        return Ok(MachineEnd::Garbled(why));
    }
    // A report counts however the machine went away after it.
    match report {
        Some(GuestReport::Body(report)) => return Ok(MachineEnd::Reported(Box::new(report))),
        Some(GuestReport::Verifier(report)) => return Ok(MachineEnd::Verified(Box::new(report))),
        None => {}
    }
    Ok(match reason {
        ExitReason::KernelPanic(panic) => MachineEnd::KernelPanic {
            message: panic.message,
            init: panic.init,
        },
        ExitReason::Halted => MachineEnd::Halted,
        ExitReason::BootDeadline(activity) => MachineEnd::BootDeadline(limits.boot, activity),
        ExitReason::Deadline(activity) => MachineEnd::Deadline(limits.whole, activity),
        ExitReason::Cancelled => return Err(RunError::Cancelled),
        ExitReason::Garbled(error) => MachineEnd::Garbled(error.to_string()),
        ExitReason::Crashed(why) => MachineEnd::Crashed(why),
        // Nobody but the session stops it, and that takes a report.
        _ => MachineEnd::Gone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_back_end_says_is_told_in_every_mode_and_as_what_it_is() {
        let exit = MachineExit {
            reason: ExitReason::Stopped,
            console: Vec::new(),
            timings: ktstr_vmm::Timings::default(),
            backend_version: None,
            diagnostics: vec![
                Diagnostic::Performance("no huge pages".to_owned()),
                Diagnostic::Device("queue 3 is too long".to_owned()),
                Diagnostic::Qemu("qemu: warning: TCG doesn't support vme".to_owned()),
                Diagnostic::Qemu("qemu: terminating on signal 15".to_owned()),
            ],
        };
        assert_eq!(
            notes(&exit),
            [
                "performance mode: no huge pages",
                "virtio console: queue 3 is too long",
                "QEMU: qemu: terminating on signal 15",
            ]
        );
    }
}
