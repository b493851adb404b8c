//! The life of a scheduler in the guest: start, be enabled, be watched, go.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::CpuSet;
use ktstr_vmm::BoundedLog;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{CGROUP_ROOT, trace};
use crate::Scheduler;
use crate::protocol::{
    Departure, SchedulerProblem, SchedulerReport, SchedulerSpec, SchedulerStart,
};
use crate::workload::signal_in_words;

/// Loading means verifying, which takes an emulated CPU seconds for a big scheduler.
const ENABLE_LIMIT: Duration = Duration::from_secs(30);

/// From being told to end to being ended.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The kernel moves every task back to its own scheduler.
const DISABLE_LIMIT: Duration = Duration::from_secs(15);

/// How often states are looked at while waiting for them.
const POLL: Duration = Duration::from_millis(5);

/// What is kept of the program's output, from its beginning and its end.
const LOG_LIMITS: (usize, usize) = (64 << 10, 192 << 10);

/// How long a scheduler that may restart is waited for: it is verified again.
const RESTART_LIMIT: Duration = ENABLE_LIMIT;

/// `Documentation/scheduler/sched-ext.rst` of the kernel.
const STATE: &str = "/sys/kernel/sched_ext/state";

/// 1 where all ordinary tasks are the scheduler's, 0 where those are that ask for it (`SCX_OPS_SWITCH_PARTIAL`).
const SWITCH_ALL: &str = "/sys/kernel/sched_ext/switch_all";

/// Tasks that a scheduler in partial mode refused (`p->scx.disallow`).
const NR_REJECTED: &str = "/sys/kernel/sched_ext/nr_rejected";

/// Schedulers that were enabled since the boot.
const ENABLE_SEQ: &str = "/sys/kernel/sched_ext/enable_seq";

/// CPUs that were switched on or off since the boot, while a scheduler was loaded.
const HOTPLUG_SEQ: &str = "/sys/kernel/sched_ext/hotplug_seq";

/// CPUs that are switched on.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// A scheduler in force, or on the way there.
pub(super) struct Loaded {
    start: SchedulerStart,
    program: Option<Program>,
    log: BoundedLog,
    allow_restarts: bool,
    partial: bool,
    /// The kernel's count of enabled schedulers, with it: what is beyond that is a restart.
    enable_seq: Option<u64>,
    /// CPUs that were switched on when it was started, and the kernel's count of changes.
    online: Option<CpuSet>,
    hotplug_seq: Option<u64>,
    /// How often it was enabled again.
    restarts: u64,
    /// Since when it is not in force.
    down: Option<Instant>,
}

struct Program {
    child: Child,
    pidfd: OwnedFd,
    /// Both standard streams; `None` once every writer is gone.
    output: Option<File>,
}

impl Loaded {
    /// Starts a scheduler and waits until the kernel says that it is in force.
    pub(super) fn start(spec: &SchedulerSpec) -> Result<Self, Box<SchedulerReport>> {
        Self::start_watched(spec, LOG_LIMITS, &mut || {})
    }

    /// Likewise; calls `look` again and again meanwhile, and keeps that much of the beginning and the end of the
    /// program's output.
    pub(super) fn start_watched(
        spec: &SchedulerSpec,
        log_limits: (usize, usize),
        look: &mut dyn FnMut(),
    ) -> Result<Self, Box<SchedulerReport>> {
        let mut loaded = Self {
            start: spec.start.clone(),
            program: None,
            log: BoundedLog::with_limits(log_limits.0, log_limits.1),
            allow_restarts: spec.allow_restarts,
            partial: false,
            // One that the kernel has enabled already is not counted again.
            enable_seq: number(ENABLE_SEQ).filter(|_| state().as_deref() != Some("enabled")),
            online: online(),
            hotplug_seq: number(HOTPLUG_SEQ),
            restarts: 0,
            down: None,
        };
        let started = loaded.begin(spec).map_err(SchedulerProblem::NotStarted);
        let enabled = started.and_then(|()| loaded.await_enabled(look));
        match enabled {
            Ok(()) => Ok(loaded),
            Err(problem) => Err(Box::new(loaded.end(Some(problem)))),
        }
    }

    fn begin(&mut self, spec: &SchedulerSpec) -> Result<(), String> {
        if state().is_none() {
            return Err(format!(
                "this kernel has no sched_ext ({STATE} is missing); build it with CONFIG_SCHED_CLASS_EXT"
            ));
        }
        for (path, content) in &spec.files {
            let path = Path::new(path);
            let written = path.parent().map_or(Ok(()), fs::create_dir_all);
            written
                .and_then(|()| fs::write(path, content))
                .map_err(|error| format!("config {}: {error}", path.display()))?;
        }
        for (name, value) in &spec.sysctls {
            let path = format!("/proc/sys/{name}");
            fs::write(&path, value).map_err(|error| format!("sysctl {path} = {value}: {error}"))?;
        }
        trace::enable_dump();
        match &spec.start {
            SchedulerStart::Program(args) => {
                let mut command = Command::new(Scheduler::PROGRAM);
                command.args(args);
                self.program = Some(Program::spawn(&mut command).map_err(|e| e.to_string())?);
            }
            SchedulerStart::Builtin { enable, .. } => self.shell(enable)?,
        }
        if let (Some(name), Some(program)) = (&spec.cgroup, &self.program) {
            let dir = Path::new(CGROUP_ROOT).join(name.trim_start_matches('/'));
            fs::create_dir_all(&dir)
                .and_then(|()| fs::write(dir.join("cgroup.procs"), program.child.id().to_string()))
                .map_err(|error| format!("cgroup {}: {error}", dir.display()))?;
        }
        Ok(())
    }

    fn await_enabled(&mut self, look: &mut dyn FnMut()) -> Result<(), SchedulerProblem> {
        let begin = Instant::now();
        loop {
            self.drain();
            look();
            let state = state().unwrap_or_default();
            // The kernel says so a moment before it counts it, and between the two which tasks it takes.
            let counted = number(ENABLE_SEQ).zip(self.enable_seq);
            if state == "enabled" && counted.is_none_or(|(now, before)| now > before) {
                self.enable_seq = counted.map(|(now, _)| now);
                self.partial = number(SWITCH_ALL) == Some(0);
                return Ok(());
            }
            if let Some(how) = self.ended() {
                return Err(SchedulerProblem::NotEnabled(format!(
                    "its program {how} before it was in force"
                )));
            }
            if begin.elapsed() >= ENABLE_LIMIT {
                return Err(SchedulerProblem::NotEnabled(format!(
                    "it was not in force after {} s (state: {state})",
                    ENABLE_LIMIT.as_secs()
                )));
            }
            sleep(POLL);
        }
    }

    /// Its program, where it has one.
    pub(super) fn pid(&self) -> Option<i32> {
        let program = self.program.as_ref()?;
        Some(Pid::from_child(&program.child).as_raw_nonzero().get())
    }

    /// Readable when [`Loaded::is_gone`] has something to look at.
    pub(super) fn signals(&self) -> Vec<BorrowedFd<'_>> {
        let Some(program) = &self.program else {
            return Vec::new();
        };
        let mut fds = vec![program.pidfd.as_fd()];
        fds.extend(program.output.as_ref().map(AsFd::as_fd));
        fds
    }

    /// Whether it takes only tasks that ask for it.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Whether it is no longer in force, or another time in force; one that may restart is given the time to. Takes
    /// in its output on the way.
    pub(super) fn is_gone(&mut self) -> bool {
        self.drain();
        if self.ended().is_some() {
            return true;
        }
        if state().as_deref() == Some("enabled") {
            let was_down = u64::from(self.down.take().is_some());
            let counted = number(ENABLE_SEQ).zip(self.enable_seq);
            let again = counted.map_or(0, |(now, last)| now.saturating_sub(last));
            let again = again.max(was_down);
            self.restarts += again;
            self.enable_seq = self.enable_seq.map(|last| last.saturating_add(again));
            return self.restarts > 0 && !self.allow_restarts;
        }
        let down = *self.down.get_or_insert_with(Instant::now);
        !self.allow_restarts || down.elapsed() >= RESTART_LIMIT
    }

    /// The same at the end of a body: one that is on its way back is waited for.
    pub(super) fn is_gone_at_last(&mut self) -> bool {
        loop {
            let gone = self.is_gone();
            if gone || self.down.is_none() {
                return gone;
            }
            sleep(POLL);
        }
    }

    /// Has the kernel dump the state of queues and tasks: who waits for whom, should the test hang.
    pub(super) fn request_dump() {
        // Without that key in the kernel there is just no dump.
        let _ = fs::write("/proc/sysrq-trigger", "D");
    }

    /// Ends it and tells what became of it; `was_gone` when it went before it was told to.
    pub(super) fn stop(mut self, was_gone: bool) -> SchedulerReport {
        let problem = was_gone.then(|| {
            if self.is_restarted() {
                return SchedulerProblem::Restarted(self.restarts);
            }
            // A program that is told of the ejection writes that down and ends.
            self.await_program(STOP_LIMIT);
            // It may have come back meanwhile.
            if self.is_restarted() {
                return SchedulerProblem::Restarted(self.restarts);
            }
            SchedulerProblem::Gone(match self.status() {
                Some(status) => departure(status),
                None => Departure::ProgramRuns,
            })
        });
        self.end(problem)
    }

    /// Whether it is in force, and was ended meanwhile.
    fn is_restarted(&mut self) -> bool {
        self.is_gone() && self.ended().is_none() && self.down.is_none() && self.restarts > 0
    }

    /// Which CPUs were switched on or off since it was started.
    fn hotplug(&self) -> Option<String> {
        if let (Some(before), Some(after)) = (&self.online, online()) {
            let gone = before.difference(&after);
            let come = after.difference(before);
            let told = [(gone, "offline"), (come, "online")];
            let told: Vec<String> = told
                .iter()
                .filter(|(cpus, _)| !cpus.is_empty())
                .map(|(cpus, how)| match cpus.len() {
                    1 => format!("CPU {cpus} went {how}"),
                    _ => format!("CPUs {cpus} went {how}"),
                })
                .collect();
            if !told.is_empty() {
                return Some(told.join(", "));
            }
        }
        let changes = number(HOTPLUG_SEQ)?.checked_sub(self.hotplug_seq?)?;
        (changes > 0).then(|| "a CPU went offline or online meanwhile".to_owned())
    }

    fn end(mut self, problem: Option<SchedulerProblem>) -> SchedulerReport {
        let rejected = number(NR_REJECTED).unwrap_or(0);
        let hotplug = self.hotplug();
        let mut left = None;
        if let SchedulerStart::Builtin { disable, .. } = self.start.clone()
            && let Err(why) = self.shell(&disable)
        {
            left = Some(why);
        }
        if let Some(program) = &self.program {
            program.signal(Signal::TERM);
        }
        self.await_program(STOP_LIMIT);
        let ignored = self.program.is_some() && self.ended().is_none();
        if let Some(program) = &mut self.program {
            program.signal(Signal::KILL);
            let _ = program.child.wait();
        }
        let begin = Instant::now();
        while state().is_some_and(|state| state != "disabled") {
            if begin.elapsed() >= DISABLE_LIMIT {
                let state = state().unwrap_or_default();
                let limit = DISABLE_LIMIT.as_secs();
                left = Some(format!("it is still {state} after {limit} s"));
                break;
            }
            sleep(POLL);
        }
        if ignored {
            let limit = STOP_LIMIT.as_secs();
            let note = format!("ktstr: the program ignored SIGTERM for {limit} s and was killed\n");
            self.log.push(note.as_bytes());
        }
        self.drain();
        SchedulerReport {
            problem: problem.or(left.map(SchedulerProblem::NotDisabled)),
            log: String::from_utf8_lossy(&self.log.into_bytes()).into_owned(),
            dump: trace::dump(),
            partial: self.partial,
            rejected,
            restarts: self.restarts,
            hotplug,
        }
    }

    /// How the program ended, if it has.
    fn ended(&mut self) -> Option<String> {
        self.status().map(ending)
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.program.as_mut()?.child.try_wait().ok()?
    }

    fn await_program(&mut self, limit: Duration) {
        let begin = Instant::now();
        while self.program.is_some() && self.ended().is_none() && begin.elapsed() < limit {
            self.drain();
            sleep(POLL);
        }
    }

    fn drain(&mut self) {
        if let Some(program) = &mut self.program {
            program.drain(&mut self.log);
        }
    }

    fn shell(&mut self, commands: &[String]) -> Result<(), String> {
        for command in commands {
            let output = Command::new("/bin/sh").args(["-c", command]).output();
            let output = output.map_err(|error| format!("/bin/sh: {error}"))?;
            self.log.push(&output.stdout);
            self.log.push(&output.stderr);
            if !output.status.success() {
                return Err(format!("`{command}` {}", ending(output.status)));
            }
        }
        Ok(())
    }
}

impl Program {
    fn spawn(command: &mut Command) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // What it starts itself ends with it.
            .process_group(0);
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let reader = OwnedFd::from(reader);
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self {
            pidfd: pidfd_open(pid, PidfdFlags::empty())?,
            output: Some(File::from(reader)),
            child,
        })
    }

    fn signal(&self, signal: Signal) {
        // It fails when nobody of the group is left.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    fn drain(&mut self, log: &mut BoundedLog) {
        let mut chunk = [0; 16 << 10];
        // Bounded: a program that never stops talking must not keep init from its other work.
        for _ in 0..64 {
            let Some(output) = &mut self.output else {
                return;
            };
            match output.read(&mut chunk) {
                Ok(0) => self.output = None,
                Ok(length) => log.push(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

fn state() -> Option<String> {
    let state = fs::read_to_string(STATE).ok()?;
    Some(state.trim().to_owned())
}

/// The number that a file of the kernel's holds.
fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn online() -> Option<CpuSet> {
    fs::read_to_string(ONLINE).ok()?.trim().parse().ok()
}

fn departure(status: ExitStatus) -> Departure {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(signal) => Departure::Killed { signal },
        // A child that was waited for has one of the two.
        None => Departure::Exited(status.code().unwrap_or(-1)),
    }
}

/// `exited with status 3`, `was killed by signal 9 (SIGKILL)`.
fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by {}", signal_in_words(signal)),
        (None, None) => format!("ended ({status})"),
    }
}
