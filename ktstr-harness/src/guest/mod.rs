//! The test binary as PID 1 of the guest.
//!
//! Init sets up the system, reports that it is ready, receives what to run, runs the body as a child process, and
//! reports the result. It therefore outlives a body that panics, crashes, is killed or never returns. Nothing before
//! "ready" depends on the test.

mod body;
mod bpf;
mod host_root;
mod klog;
mod mounts;
mod probe;
mod sample;
mod scheduler;
mod shell;
mod sys;
mod trace;
mod verify;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_vmm::channel::{GuestChannel, PORT_NAME};

pub(crate) use body::run_caught;

use crate::protocol::{
    BodyReport, Departure, Ending, GuestMessage, GuestRequest, KERNEL_LOG_LIMIT, SchedulerProblem,
    SchedulerReport, SchedulerSpec, from_frame, to_frame,
};
use crate::scx_exit::ScxExitKind;
use crate::{Ctx, TestCase, registry};
use probe::Probes;
use sample::Sampler;
use scheduler::Loaded;
use watch::Watch;

/// Set by the kernel command line of our machines: PID 1 of a container is not a guest.
pub(crate) const MARK: &str = ktstr_core::env::GUEST;

/// Where `extra_include_files` are.
pub(crate) const INCLUDE_DIR: &str = "/include-files";

/// Where cgroup2 is mounted.
pub(crate) const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// How long to wait for the host's request, which follows "ready" at once.
const HOST_PATIENCE: Duration = Duration::from_secs(600);

/// How long the host may take to read a report, megabytes at most, and to end the machine.
const HOST_CLOSE_LIMIT: Duration = Duration::from_secs(20);

/// Whether this process is the init of one of our machines.
pub(crate) fn is_guest(mark: Option<&std::ffi::OsStr>) -> bool {
    std::process::id() == 1 && mark.is_some()
}

/// Runs the guest's side of one test, then powers the machine off.
pub(crate) fn init() -> ! {
    if let Err(error) = serve() {
        // Only the console is left to report to.
        eprintln!("ktstr: guest init: {error}");
    }
    sys::power_off()
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    mounts::all()?;
    mounts::enable_controllers(Path::new(CGROUP_ROOT))?;
    let mut channel = GuestChannel::open(PORT_NAME)?;
    let kernel_release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?
        .trim()
        .to_owned();
    let release = kernel_release.clone();
    channel.send(&to_frame(&GuestMessage::Ready { kernel_release }))?;
    let frame = channel.recv(HOST_PATIENCE)?;
    let spec = match from_frame(&frame)? {
        GuestRequest::Run(spec) => spec,
        GuestRequest::Verify(spec) => {
            verify::serve(&spec, &mut |message| channel.send(&to_frame(&message)))?;
            wait_for_host_close(&mut channel);
            return Ok(());
        }
        GuestRequest::Shell(spec) => return shell::serve(&spec, &release, &mut channel),
    };

    sys::set_env(&spec.env);
    let mut watch = Watch::start(&spec.allow_kernel_warnings);
    let ctx = Ctx {
        topology: spec.topology,
        duration: spec.duration,
        checks: spec.checks,
        cgroup_root: PathBuf::from(CGROUP_ROOT),
        include_dir: PathBuf::from(INCLUDE_DIR),
    };
    let cpus = spec.topology.cpus();
    let mut probes = spec.probes.as_ref().map(|plan| Probes::arm(plan, cpus));
    let mut send = |message| channel.send(&to_frame(&message));
    let mut sampled = None;
    let mut body_under_sched_ext = None;
    let (ending, mut scheduler) = if let Some(test) = find(&spec.test) {
        under_scheduler(spec.scheduler.as_ref(), |scheduler| {
            if let Some(probes) = &mut probes {
                probes.note_scheduler(scheduler.as_ref().and_then(|loaded| loaded.pid()));
            }
            let mut sampler = Sampler::start(cpus);
            let watches = (&mut sampler, &mut watch);
            let ended = body::run(test, &ctx, spec.limit, scheduler, watches, &mut send)?;
            sampled = Some(Box::new(sampler.finish()));
            body_under_sched_ext = ended.under_sched_ext;
            Ok::<_, Box<dyn std::error::Error>>(ended.ending)
        })?
    } else {
        let why = format!("this binary has no test called `{}`", spec.test);
        (Ending::NotStarted(why), None)
    };
    sys::kill_everyone_else();
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
    channel.send(&to_frame(&GuestMessage::Report(BodyReport {
        ending,
        kernel_log,
        scheduler,
        sampled,
        probes: probes.map(|probes| Box::new(probes.into_report(!well))),
        kernel: watch.finish(),
        body_under_sched_ext,
    })))?;
    wait_for_host_close(&mut channel);
    Ok(())
}

/// Waits until the host ends the machine, which it does as soon as it has read everything. Powering off would lose what
/// the port still buffers.
fn wait_for_host_close(channel: &mut GuestChannel) {
    let _ = channel.recv(HOST_CLOSE_LIMIT);
}

/// Gives init a real-time priority above the scheduler that is about to be loaded, where the kernel allows it.
fn rise_above_schedulers() {
    if let Err(error) = sys::run_above_schedulers() {
        // Then a scheduler that starves init is ended by the host's deadline.
        klog::write(&format!("ktstr: init stays under the scheduler: {error}"));
    }
}

/// Calls `run` with the scheduler enabled, where there is one to load, and reports how it ended.
fn under_scheduler<E>(
    spec: Option<&SchedulerSpec>,
    run: impl FnOnce(Option<&mut Loaded>) -> Result<Ending, E>,
) -> Result<(Ending, Option<SchedulerReport>), E> {
    let Some(spec) = spec else {
        return Ok((run(None)?, None));
    };
    rise_above_schedulers();
    match Loaded::start(spec) {
        Ok(mut scheduler) => {
            let ending = run(Some(&mut scheduler))?;
            let was_gone = ending == Ending::SchedulerGone || scheduler.is_gone_at_last();
            Ok((ending, Some(scheduler.stop(was_gone))))
        }
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

fn find(name: &str) -> Option<&'static TestCase> {
    registry::tests()
        .ok()?
        .into_iter()
        .find(|test| test.name == name)
}
