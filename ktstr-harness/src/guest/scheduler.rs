//! Runs the scheduler under test: starts it, waits until it is enabled, watches it, stops it.

mod program;
pub(crate) mod sched_ext;

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_vmm::BoundedLog;
use rustix::process::Signal;

use self::program::{Program, departure, ending};
use self::sched_ext::OnlineCpus;
use super::around::Around;
use super::trace;
use crate::Scheduler;
use crate::protocol::{
    Departure, SchedulerProblem, SchedulerReport, SchedulerSpec, SchedulerStart,
};

/// How long its program may stand still before it is enabled. While the program runs, the kernel verifies it: that takes
/// an emulated CPU seconds, and one of a busy host ten times that.
const ENABLE_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to be enabled in all.
const WORK_LIMIT: Duration = Duration::from_secs(90);

/// Time for the program to exit after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Time for the kernel to move every task back to its own scheduler.
const DISABLE_LIMIT: Duration = Duration::from_secs(15);

/// How often states are polled.
const POLL: Duration = Duration::from_millis(5);

/// What is kept of the program's output, from its beginning and its end.
const LOG_LIMITS: (usize, usize) = (64 << 10, 192 << 10);

/// How long a scheduler that may restart is waited for: it is verified again.
const RESTART_LIMIT: Duration = ENABLE_LIMIT;

/// Whether a scheduler whose program ran for `ran` should have been enabled by now.
fn is_overdue(elapsed: Duration, ran: Duration) -> bool {
    elapsed >= WORK_LIMIT.min(ENABLE_LIMIT + ran)
}

/// A scheduler that is enabled, or about to be.
pub(super) struct Loaded {
    start: SchedulerStart,
    program: Option<Program>,
    log: BoundedLog,
    allow_restarts: bool,
    partial: bool,
    /// The kernel's count of enabled schedulers including this one: anything above is a restart.
    enable_seq: Option<u64>,
    /// CPUs when it was started.
    cpus: OnlineCpus,
    /// How often it was enabled again.
    restarts: u64,
    /// Since when it is not enabled.
    down: Option<Instant>,
    /// Where the kernel writes its dumps.
    tracing: PathBuf,
}

impl Loaded {
    /// Starts a scheduler and waits until the kernel reports it as enabled.
    pub(super) fn start(
        spec: &SchedulerSpec,
        around: &Around<'_>,
    ) -> Result<Self, Box<SchedulerReport>> {
        Self::start_watched(spec, around, LOG_LIMITS, &mut || {})
    }

    /// The same; also calls `look` repeatedly until then, and keeps that many bytes of the beginning and the end of the
    /// program's output.
    pub(super) fn start_watched(
        spec: &SchedulerSpec,
        around: &Around<'_>,
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
            enable_seq: sched_ext::enable_seq().filter(|_| !sched_ext::is_enabled()),
            cpus: OnlineCpus::now(),
            restarts: 0,
            down: None,
            tracing: around.tracing.to_owned(),
        };
        let started = loaded
            .begin(spec, around)
            .map_err(SchedulerProblem::NotStarted);
        let enabled = started.and_then(|()| loaded.await_enabled(around, look));
        match enabled {
            Ok(()) => Ok(loaded),
            Err(problem) => Err(Box::new(loaded.end(Some(problem)))),
        }
    }

    fn begin(&mut self, spec: &SchedulerSpec, around: &Around<'_>) -> Result<(), String> {
        sched_ext::check_present()?;
        for (path, content) in &spec.files {
            let path = Path::new(path);
            let written = path.parent().map_or(Ok(()), fs::create_dir_all);
            written
                .and_then(|()| fs::write(path, content))
                .map_err(|error| format!("config {}: {error}", path.display()))?;
        }
        for (name, value) in &spec.sysctls {
            let path = format!("/proc/sys/{name}");
            (around.before_setting)(Path::new(&path))
                .and_then(|()| fs::write(&path, value))
                .map_err(|error| format!("sysctl {path} = {value}: {error}"))?;
        }
        trace::enable_dump(&self.tracing);
        match &spec.start {
            SchedulerStart::Program(args) => {
                let mut command = Command::new(Scheduler::PROGRAM);
                command.args(args);
                self.program = Some(Program::spawn(&mut command).map_err(|e| e.to_string())?);
            }
            SchedulerStart::Builtin { enable, .. } => self.shell(enable)?,
        }
        if let (Some(name), Some(program)) = (&spec.cgroup, &self.program) {
            let dir = around.cgroup_root.join(name.trim_start_matches('/'));
            fs::create_dir_all(&dir)
                .and_then(|()| fs::write(dir.join("cgroup.procs"), program.pid().to_string()))
                .map_err(|error| format!("cgroup {}: {error}", dir.display()))?;
        }
        Ok(())
    }

    fn await_enabled(
        &mut self,
        around: &Around<'_>,
        look: &mut dyn FnMut(),
    ) -> Result<(), SchedulerProblem> {
        let begin = Instant::now();
        loop {
            self.drain();
            look();
            if around.is_interrupted() {
                let why = "the run was interrupted".to_owned();
                return Err(SchedulerProblem::NotEnabled(why));
            }
            let state = sched_ext::state().unwrap_or_default();
            // The kernel changes the state a moment before the count, and `switch_all` in between.
            let counted = sched_ext::enable_seq().zip(self.enable_seq);
            if state == "enabled" && counted.is_none_or(|(now, before)| now > before) {
                self.enable_seq = counted.map(|(now, _)| now);
                self.partial = sched_ext::is_partial();
                return Ok(());
            }
            if let Some(how) = self.status().map(ending) {
                return Err(SchedulerProblem::NotEnabled(format!(
                    "its program {how} before the kernel enabled it"
                )));
            }
            let elapsed = begin.elapsed();
            let ran = || {
                self.program
                    .as_ref()
                    .map_or(Duration::ZERO, Program::cpu_time)
            };
            if elapsed >= ENABLE_LIMIT && is_overdue(elapsed, ran()) {
                return Err(SchedulerProblem::NotEnabled(format!(
                    "the state of sched_ext was still `{state}` after {} s, in {:.1} s of which its program ran",
                    elapsed.as_secs(),
                    ran().as_secs_f64()
                )));
            }
            sleep(POLL);
        }
    }

    /// Process id of its program; `None` for one that is built into the kernel.
    pub(super) fn pid(&self) -> Option<i32> {
        self.program.as_ref().map(Program::pid)
    }

    /// Readable when [`Loaded::is_gone`] has something to look at.
    pub(super) fn signals(&self) -> Vec<BorrowedFd<'_>> {
        self.program
            .as_ref()
            .map_or_else(Vec::new, Program::signals)
    }

    /// Whether it takes only tasks that ask for it.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// Whether it is disabled, or was enabled again. One that may restart is given the time to do so. Also reads its
    /// output.
    pub(super) fn is_gone(&mut self) -> bool {
        self.drain();
        if self.status().is_some() {
            return true;
        }
        if sched_ext::is_enabled() {
            let was_down = u64::from(self.down.take().is_some());
            let counted = sched_ext::enable_seq().zip(self.enable_seq);
            let again = counted.map_or(0, |(now, last)| now.saturating_sub(last));
            let again = again.max(was_down);
            self.restarts += again;
            self.enable_seq = self.enable_seq.map(|last| last.saturating_add(again));
            return self.restarts > 0 && !self.allow_restarts;
        }
        let down = *self.down.get_or_insert_with(Instant::now);
        !self.allow_restarts || down.elapsed() >= RESTART_LIMIT
    }

    /// [`Loaded::is_gone`] at the end of a body: waits for one that is restarting.
    pub(super) fn is_gone_at_last(&mut self) -> bool {
        loop {
            let gone = self.is_gone();
            if gone || self.down.is_none() {
                return gone;
            }
            sleep(POLL);
        }
    }

    /// Makes the kernel dump the state of run queues and tasks, which shows who waits for whom.
    pub(super) fn request_dump() {
        // A kernel without that SysRq key makes no dump.
        let _ = fs::write("/proc/sysrq-trigger", "D");
    }

    /// Stops it and reports how it ended; `was_gone` says that it ended before it was stopped.
    pub(super) fn stop(mut self, was_gone: bool) -> SchedulerReport {
        let problem = was_gone.then(|| {
            if self.is_restarted() {
                return SchedulerProblem::Restarted(self.restarts);
            }
            // A program that learns of the ejection reports it and exits.
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

    /// Whether it is enabled again, after the kernel ended it.
    fn is_restarted(&mut self) -> bool {
        self.is_gone() && self.status().is_none() && self.down.is_none() && self.restarts > 0
    }

    fn end(mut self, problem: Option<SchedulerProblem>) -> SchedulerReport {
        let rejected = sched_ext::rejected();
        let hotplug = self.cpus.changes();
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
        let ignored = self.program.is_some() && self.status().is_none();
        if let Some(program) = &mut self.program {
            program.kill();
        }
        let begin = Instant::now();
        while let Some(state) = sched_ext::state().filter(|state| state != "disabled") {
            if begin.elapsed() >= DISABLE_LIMIT {
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
            dump: trace::dump(&self.tracing),
            partial: self.partial,
            rejected,
            restarts: self.restarts,
            hotplug,
        }
    }

    /// How the program ended, if it has.
    fn status(&mut self) -> Option<ExitStatus> {
        self.program.as_mut()?.status()
    }

    fn await_program(&mut self, limit: Duration) {
        let begin = Instant::now();
        while self.program.is_some() && self.status().is_none() && begin.elapsed() < limit {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_works_has_more_time_than_one_that_waits() {
        let overdue =
            |elapsed, ran| is_overdue(Duration::from_secs(elapsed), Duration::from_secs(ran));
        assert!(!overdue(29, 0) && overdue(30, 0));
        assert!(!overdue(34, 5) && overdue(35, 5));
        assert!(!overdue(89, 80) && overdue(90, 90));
    }
}
