//! One run in a machine: everything from a specification to how it ended.

use std::time::{Duration, Instant};

use ktstr_core::record::Timings;
use ktstr_core::{Topology, Verdict};
use ktstr_vmm::initramfs::PackedInitramfs;
use ktstr_vmm::{BackendConfig, Diagnostic, ExitReason, Machine, MachineExit};

use super::conversation::Conversation;
use super::judge::{self, MachineEnd};
use super::kernel;
use super::place;
use super::surroundings::{self, Kernel, PROBE_GRACE, early};
use crate::TestCase;
use crate::dispatch::Settings;
use crate::probe::ProbePlan;
use crate::protocol::{Report, ToGuest, VerifyReport};

/// What machines of a test are made from: each run has one of its own.
pub(super) struct Ground<'a> {
    pub(super) test: &'a TestCase,
    pub(super) topology: Topology,
    pub(super) settings: &'a Settings,
    pub(super) kernel: Kernel,
    pub(super) backend: BackendConfig,
    pub(super) initramfs: PackedInitramfs,
}

/// A run that was made, however it ended.
pub(super) struct Heard {
    pub(super) end: MachineEnd,
    /// What came of a cell of the verifier sweep, where the guest told.
    pub(super) verified: Option<VerifyReport>,
    pub(super) console: String,
    /// Release of the guest's kernel, in its own words.
    pub(super) kernel_release: Option<String>,
    /// When the guest was ready, from the start of the machine.
    pub(super) ready: Option<Duration>,
    /// When it reported, likewise.
    pub(super) reported: Option<Duration>,
    /// When the machine was gone, likewise.
    pub(super) whole: Duration,
    /// Whether it was in performance mode.
    pub(super) performance: bool,
    /// What else there is to know of it, a line each.
    pub(super) notes: Vec<String>,
}

impl Heard {
    /// What the run came to, before the test's own expectations.
    pub(super) fn verdict(&self, test: &TestCase) -> Verdict {
        let mut verdict = judge::verdict(test, &self.end, &self.console, self.ready.is_some());
        if let Some(report) = self.report() {
            judge::add_unjudged(&mut verdict, test, &report.ending);
            judge::add_sampled(
                &mut verdict,
                test,
                &report.ending,
                report.sampled.as_deref(),
            );
            judge::add_under_scheduler(&mut verdict, test, report);
        }
        verdict
    }

    /// What the kernel said against itself, as a verdict.
    pub(super) fn kernel_verdict(&self, test: &TestCase) -> Verdict {
        let report = self.report();
        report.map_or_else(Verdict::pass, |report| {
            kernel::verdict(&report.kernel, &kernel::allowed(test))
        })
    }

    /// Notes where the time went.
    pub(super) fn time(&self, timings: &mut Timings) {
        let seconds = |from: Option<Duration>, to: Option<Duration>| {
            Some(to?.saturating_sub(from?).as_secs_f64())
        };
        timings.boot_s = self.ready.map(|ready| ready.as_secs_f64());
        timings.scenario_s = seconds(self.ready, self.reported);
        timings.teardown_s = seconds(self.reported, Some(self.whole));
    }

    /// What the guest reported, where it did.
    pub(super) fn report(&self) -> Option<&Report> {
        match &self.end {
            MachineEnd::Reported(report) => Some(report),
            _ => None,
        }
    }
}

impl Ground<'_> {
    /// Runs the test once, watched by `probes`; notes in `wait_s` how long it waited for its place.
    ///
    /// The output of a watched run is not shown: it would be there twice.
    pub(super) fn run(
        &self,
        probes: Option<ProbePlan>,
        wait_s: &mut Option<f64>,
    ) -> Result<Heard, Verdict> {
        let mut run = surroundings::run_spec(self.test, self.topology, self.settings);
        run.probes = probes;
        let watching = run.probes.as_ref().map_or(Duration::ZERO, |_| PROBE_GRACE);
        let limit = run.limit + watching;
        self.talk(ToGuest::Run(Box::new(run)), limit, wait_s)
    }

    /// Has a guest do `request`, for which it may take that long.
    pub(super) fn talk(
        &self,
        request: ToGuest,
        limit: Duration,
        wait_s: &mut Option<f64>,
    ) -> Result<Heard, Verdict> {
        let settings = self.settings;
        let spec = surroundings::machine_spec(
            self.test,
            self.topology,
            limit,
            &self.kernel,
            &self.initramfs,
            settings,
        );
        let limits = Limits {
            boot: spec.boot_deadline,
            whole: spec.deadline,
        };
        // What cannot run needs no place.
        let machine = Machine::new(spec, self.backend.clone()).map_err(early)?;

        let begin = Instant::now();
        let place = place::take(self.test, self.topology, self.backend.backend(), settings)?;
        *wait_s = Some(begin.elapsed().as_secs_f64());
        let performance = place.is_alone();
        let machine = machine
            .with_host_placement(place.placement.clone())
            .map_err(early)?;

        let mut heard = Conversation::new(request, settings.verbose);
        let begin = Instant::now();
        let exit = machine.run(&mut heard).map_err(early)?;
        drop(place);
        let console = String::from_utf8_lossy(&exit.console).replace('\r', "");
        let notes = notes(&exit);
        Ok(Heard {
            performance,
            notes,
            end: machine_end(exit, heard.report, heard.garbled, limits),
            verified: heard.verified,
            console,
            kernel_release: heard.kernel_release,
            ready: heard.ready,
            reported: heard.reported,
            whole: begin.elapsed(),
        })
    }
}

/// What the machine's backend had to say, in whatever mode it ran. QEMU warns of processor features that it does not
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
        return MachineEnd::Reported(Box::new(report));
    }
    match exit.reason {
        ExitReason::KernelPanic(panic) => MachineEnd::KernelPanic {
            message: panic.message,
            init: panic.init,
        },
        ExitReason::Halted => MachineEnd::Halted,
        ExitReason::BootDeadline(activity) => MachineEnd::BootDeadline(limits.boot, activity),
        ExitReason::Deadline(activity) => MachineEnd::Deadline(limits.whole, activity),
        ExitReason::Garbled(error) => MachineEnd::Garbled(error.to_string()),
        ExitReason::Crashed(why) => MachineEnd::Crashed(why),
        // Nobody but the observer stops or cancels it, and that takes a report.
        _ => MachineEnd::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_says_is_told_in_every_mode_and_as_what_it_is() {
        let exit = MachineExit {
            reason: ExitReason::Stopped,
            console: Vec::new(),
            timings: ktstr_vmm::Timings::default(),
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
