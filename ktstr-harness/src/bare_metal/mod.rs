//! Runs one test on the machine that this process is on, as a `.run` of `cargo ktstr export` asks for: no guest.
//!
//! The machine has other work to do, so everything is put back: processes, cgroups, kernel settings, the scheduler. What
//! the test finds is what it finds in a guest: `/scheduler`, `/include-files`, `/programs`, a cgroup root of its own and the CPUs of
//! its topology, chosen among those of the machine.

mod cgroup;
mod cpus;
mod os;
mod root;
mod settings;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use ktstr_core::Topology;
use ktstr_core::host::{HostCpus, HostCpusError};
use rustix::process::Pid;

use crate::cases::Case;
use crate::cpu_map::CpuMap;
use crate::guest::{self, Around, TRACING, sched_ext};
use crate::protocol::{BODY_MARK, GuestMessage};
use crate::runner::{CaseResult, bare_metal_result, run_spec};
use crate::{Ctx, TestCase};
use cgroup::RunCgroup;
use os::Signals;
use settings::ChangedSettings;

/// What the program of a `.run` tells the test binary.
#[derive(Debug)]
pub(crate) struct Options {
    /// The directory that was unpacked: `scheduler/`, `include-files/`, `programs/`.
    pub(crate) dir: PathBuf,
    /// The process that it must not outlive.
    pub(crate) parent: Option<Pid>,
    /// How long the scenario runs, in place of what the test says.
    pub(crate) duration_s: Option<u32>,
    /// Likewise, its `watchdog_timeout_s`.
    pub(crate) watchdog_timeout_s: Option<u32>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It was judged.
    Judged(Box<CaseResult>),
    /// This signal ended it.
    Interrupted(i32),
}

/// A test that cannot run here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BareMetalError {
    /// It is one of the host.
    #[error("{0} runs on the host without a machine; run its test binary")]
    OnHost(String),
    /// The machine is too small, or has another shape.
    #[error(
        "topology: {0} is needed, and this machine has no CPUs of that shape; run it on a machine with as many NUMA nodes, last-level caches, cores and threads"
    )]
    Topology(Topology),
    /// The machine's CPUs could not be read.
    #[error(transparent)]
    Cpus(#[from] HostCpusError),
    /// A scheduler is there already.
    #[error("a sched_ext scheduler is attached already ({state}); stop it first")]
    Attached {
        /// What the kernel says.
        state: String,
    },
    /// Something that the run needs could not be made.
    #[error("{what}: {source}")]
    SetUp {
        /// What.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something of the run is left.
    #[error("{0}")]
    Left(String),
}

/// Wraps an error of the system.
fn set_up(what: impl Into<String>) -> impl FnOnce(io::Error) -> BareMetalError {
    let what = what.into();
    move |source| BareMetalError::SetUp { what, source }
}

/// The file in the unpacked directory that is there while the scheduler may be attached.
const ATTACHED: &str = "attached";

/// Runs `case` here; what its body says goes to `output` as it comes.
pub(crate) fn run(
    case: &Case,
    options: &Options,
    output: &mut dyn FnMut(&str),
) -> Result<End, BareMetalError> {
    let started = SystemTime::now();
    let signals = Signals::watch().map_err(set_up("signal handlers"))?;
    os::end_with(options.parent).map_err(set_up("the process that started this one"))?;
    // For whoever cleans up where this process or its parent is killed.
    let pid = options.dir.join("pid");
    fs::write(&pid, format!("{}\n", std::process::id()))
        .map_err(set_up(pid.display().to_string()))?;
    let topology = case
        .topology()
        .ok_or_else(|| BareMetalError::OnHost(case.name.to_string()))?;
    let machine = HostCpus::read(Path::new("/"))?;
    let chosen = cpus::choose(&machine, topology).ok_or(BareMetalError::Topology(topology))?;
    let online = cpus::online(&machine);
    os::run_on(&online).map_err(set_up("CPU affinity"))?;
    if let Some(state) = sched_ext::state().filter(|state| state != "disabled") {
        return Err(BareMetalError::Attached { state });
    }
    let test = overridden(case.test, options);
    let spec = run_spec(&test, topology, Vec::new(), None);
    let name = run_name(&options.dir);
    let mut cgroup = RunCgroup::create(&name, &chosen.cpus, &online)?;
    let files = spec.scheduler.iter().flat_map(|it| &it.files);
    let files: Vec<&Path> = files.map(|(path, _)| Path::new(path.as_str())).collect();
    root::enter(&options.dir, &files)?;
    let trace = Trace::new(&name);
    let changed = ChangedSettings::new(options.dir.join("settings"));
    let ctx = Ctx {
        cpus: CpuMap::new(topology, chosen.vcpus, chosen.nodes),
        duration: test.duration(),
        checks: test.checks,
        cgroup_root: cgroup.path().to_owned(),
        include_dir: PathBuf::from(guest::INCLUDE_DIR),
        payload: test.payload,
        workloads: test.workloads,
    };
    let cgroup_root = cgroup.path().to_owned();
    let around = Around {
        cgroup_root: &cgroup_root,
        tracing: &trace.dir,
        cpus: online.iter().max().unwrap_or(0) + 1,
        interrupt: Some(signals.as_fd()),
        in_body: os::become_body,
        before_setting: &|path| changed.note(path),
    };
    cgroup.enter()?;
    let attached = options.dir.join(ATTACHED);
    if spec.scheduler.is_some() {
        fs::write(&attached, "").map_err(set_up(attached.display().to_string()))?;
    }
    let mut send = |message| {
        if let GuestMessage::Output(text) = message {
            output(&text);
        }
        Ok::<_, io::Error>(())
    };
    let mut left = Vec::new();
    let end_others = || left.extend(cgroup.end_all().err());
    let report = guest::run(&spec, Some(&test), &ctx, &around, end_others, &mut send);
    left.extend(changed.restore());
    left.extend(cgroup.remove().err());
    if spec.scheduler.is_some() {
        left.extend(detach().err());
        let _ = fs::remove_file(&attached);
    }
    drop(trace);
    if let Some(what) = left.into_iter().next() {
        return Err(BareMetalError::Left(what));
    }
    if let Some(signal) = os::first_signal() {
        return Ok(End::Interrupted(signal));
    }
    let mut report = report.map_err(set_up("the test's process"))?;
    let log = since_this_start(&report.kernel_log).to_owned();
    report.kernel_log = log;
    let result = bare_metal_result(case, &test, report, started);
    Ok(End::Judged(Box::new(result)))
}

/// The part of a kernel log that is of this run: others may have left theirs before.
fn since_this_start(log: &str) -> &str {
    let at = log.rfind(BODY_MARK).unwrap_or(0);
    &log[log[..at].rfind('\n').map_or(0, |end| end + 1)..]
}

/// The test with what the options say in place of its own.
fn overridden(test: &TestCase, options: &Options) -> TestCase {
    TestCase {
        duration_s: options.duration_s.unwrap_or(test.duration_s),
        watchdog_timeout_s: options.watchdog_timeout_s.or(test.watchdog_timeout_s),
        // There is no second machine.
        auto_repro: false,
        ..*test
    }
}

/// The name of the run's cgroup: the directory's own, which nobody else has.
fn run_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().filter(|c| is_fine(*c)).collect()
}

/// Makes the kernel let go of a scheduler that is still there. It is the run's: none was there before.
fn detach() -> Result<(), String> {
    const LIMIT: Duration = Duration::from_secs(10);
    let is_attached = || sched_ext::state().is_some_and(|state| state != "disabled");
    if !is_attached() {
        return Ok(());
    }
    // `Documentation/scheduler/sched-ext.rst` of the kernel: every task goes back to the default scheduler.
    let asked = fs::write("/proc/sysrq-trigger", "S");
    let begin = Instant::now();
    while is_attached() {
        if begin.elapsed() >= LIMIT {
            let why = asked.err().map(|e| format!(" ({e})")).unwrap_or_default();
            return Err(format!(
                "the scheduler is still attached, and SysRq-S does not end it{why}; reboot"
            ));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A trace directory of the run's own, where the kernel has tracefs.
struct Trace {
    dir: PathBuf,
}

impl Trace {
    fn new(name: &str) -> Self {
        let dir = Path::new(TRACING).join("instances").join(name);
        // Without one there are no dumps.
        let _ = fs::create_dir(&dir);
        Self { dir }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("events/sched_ext/sched_ext_dump/enable"), "0");
        let _ = fs::remove_dir(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_runs_left_in_the_log_is_left_out() {
        let log = format!("[1] {BODY_MARK}\n[2] BUG: old\n[3] {BODY_MARK}\n[4] new\n");
        assert_eq!(
            since_this_start(&log),
            format!("[3] {BODY_MARK}\n[4] new\n")
        );
        assert_eq!(since_this_start("[4] new\n"), "[4] new\n");
        assert_eq!(since_this_start(""), "");
    }

    #[test]
    fn a_cgroup_is_called_as_the_directory_is() {
        assert_eq!(run_name(Path::new("/tmp/ktstr-run.Ab3")), "ktstr-run.Ab3");
        assert_eq!(run_name(Path::new("/x/a b;c")), "abc");
    }
}
