//! The test binary as PID 1 of the guest.
//!
//! Init sets the system up, says it is ready, gets told what to run, runs the body as a child of its
//! own, and reports. A body that panics, crashes, is killed or never returns is therefore an
//! observation of init's, not the end of it. Nothing before "ready" depends on the test.

mod body;
pub(crate) use body::run_caught;
mod klog;
mod mounts;
mod sys;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_vmm::channel::{GuestChannel, PORT_NAME};

use crate::protocol::{
    BODY_MARK, Ending, FromGuest, KERNEL_LOG_LIMIT, Report, ToGuest, from_frame, to_frame,
};
use crate::{Ctx, TestCase, registry};

/// Set by the kernel command line of our machines: PID 1 of a container is not a guest.
pub(crate) const MARK: &str = "KTSTR_GUEST";

/// Where `extra_include_files` are.
pub(crate) const INCLUDE_DIR: &str = "/include-files";

/// Where cgroup2 is mounted.
pub(crate) const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The host speaks right after "ready"; a silent one is gone.
const HOST_PATIENCE: Duration = Duration::from_secs(600);

/// Whether this process is the init of one of our machines.
pub(crate) fn is_guest(mark: Option<&std::ffi::OsStr>) -> bool {
    std::process::id() == 1 && mark.is_some()
}

/// Runs the guest's side of one test, then powers the machine off.
pub(crate) fn init() -> ! {
    if let Err(error) = serve() {
        // Nobody but the console is left to tell.
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
    channel.send(&to_frame(&FromGuest::Ready { kernel_release }))?;
    let frame = channel.recv(HOST_PATIENCE)?;
    let ToGuest::Run(spec) = from_frame(&frame)?;

    sys::set_env(&spec.env);
    klog::write(BODY_MARK);
    let ctx = Ctx {
        topology: spec.topology,
        duration: spec.duration,
        checks: spec.checks,
        cgroup_root: PathBuf::from(CGROUP_ROOT),
        include_dir: PathBuf::from(INCLUDE_DIR),
    };
    let ending = match find(&spec.test) {
        Some(test) => body::run(test, &ctx, spec.limit, &mut |message| {
            channel.send(&to_frame(&message))
        })?,
        None => Ending::NotStarted(format!("this binary has no test called `{}`", spec.test)),
    };
    sys::kill_everyone_else();
    let passed = matches!(&ending, Ending::Returned(result)
        if result.verdict.outcome() <= ktstr_core::Outcome::Pass);
    let kernel_log = if passed {
        String::new()
    } else {
        klog::tail(KERNEL_LOG_LIMIT)
    };
    channel.send(&to_frame(&FromGuest::Report(Report { ending, kernel_log })))?;
    Ok(())
}

fn find(name: &str) -> Option<&'static TestCase> {
    registry::tests()
        .ok()?
        .into_iter()
        .find(|test| test.name == name)
}
