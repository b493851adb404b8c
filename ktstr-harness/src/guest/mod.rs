//! The test binary as PID 1 of the guest.
//!
//! Init sets up the system, reports that it is ready, receives what to run, runs the body as a child process, and
//! reports the result. It therefore outlives a body that panics, crashes, is killed or never returns. Nothing before
//! "ready" depends on the test.

mod around;
mod beside;
mod body;
mod bpf;
mod host_root;
mod klog;
mod loopback;
mod map_write;
mod mounts;
mod probe;
mod profiles;
mod run;
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

pub(crate) use around::Around;
pub(crate) use body::{chain, panic_text, run_caught};
pub(crate) use run::run;
pub(crate) use scheduler::sched_ext;
pub(crate) use sys::run_above_schedulers;
pub(crate) use trace::TRACING;

use crate::protocol::{GuestMessage, GuestRequest, from_frame, to_frame};
use crate::{Ctx, TestCase, registry};

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
    // A kernel may have no network.
    let _ = loopback::take_up();
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
            let report = verify::serve(&spec, &mut |message| channel.send(&to_frame(&message)))?;
            profiles::send(&mut |frame| channel.send(&frame))?;
            channel.send(&to_frame(&GuestMessage::Verified(report)))?;
            wait_for_host_close(&mut channel);
            return Ok(());
        }
        GuestRequest::Shell(spec) => return shell::serve(&spec, &release, &mut channel),
    };

    sys::set_env(&spec.env);
    let ctx = Ctx {
        cpus: spec.topology.into(),
        duration: spec.duration,
        checks: spec.checks,
        cgroup_root: PathBuf::from(CGROUP_ROOT),
        include_dir: PathBuf::from(INCLUDE_DIR),
        payload: None,
        workloads: &[],
    };
    let around = Around::guest(spec.topology.cpus());
    let test = find(&spec.test);
    let ctx = ctx.with_programs_of(test);
    let mut send = |message| channel.send(&to_frame(&message));
    let report = run(
        &spec,
        test,
        &ctx,
        &around,
        sys::kill_everyone_else,
        &mut send,
    )?;
    profiles::send(&mut |frame| channel.send(&frame))?;
    channel.send(&to_frame(&GuestMessage::Report(report)))?;
    wait_for_host_close(&mut channel);
    Ok(())
}

/// Waits until the host ends the machine, which it does as soon as it has read everything. Powering off would lose what
/// the port still buffers.
fn wait_for_host_close(channel: &mut GuestChannel) {
    let _ = channel.recv(HOST_CLOSE_LIMIT);
}

fn find(name: &str) -> Option<&'static TestCase> {
    registry::tests()
        .ok()?
        .into_iter()
        .find(|test| test.name == name)
}
