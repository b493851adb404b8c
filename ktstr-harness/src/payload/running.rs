//! A program from its start to what it measured.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ktstr_core::record::{ProgramEnd, ProgramRun};
use ktstr_core::{Outcome, Verdict};
use ktstr_vmm::child::{end_with_us, start_in_cgroup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::error::ProgramError;
use super::output::Output;
use super::stream::Stream;
use super::{MetricCheck, Payload};
use crate::cgroup::Cgroup;
use crate::workload::signal_in_words;

/// How long a program that was killed may take to be gone: it has to be scheduled once more.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// How long a program's children may take to close its output, once they were killed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A program that was started. Dropping it kills it and all of its cgroup.
#[derive(Debug)]
pub(crate) struct Running {
    payload: Payload,
    child: Child,
    pidfd: OwnedFd,
    stdout: Stream,
    stderr: Stream,
    begin: Instant,
    limit: Duration,
    status: Option<ExitStatus>,
    /// When it was seen to have ended.
    ended: Option<Instant>,
    /// The directory of its cgroup.
    cgroup: PathBuf,
}

/// A program that ended as it should.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) run: ProgramRun,
    pub(crate) metrics: BTreeMap<String, f64>,
    /// What its checks say.
    pub(crate) verdict: Verdict,
}

impl Running {
    /// Starts a program in a cgroup that has nothing else in it. `cpus` and `duration` are those of the test.
    pub(crate) fn start(
        payload: &Payload,
        cgroup: &Cgroup,
        cpus: u32,
        duration: Duration,
    ) -> Result<Self, ProgramError> {
        let program = Path::new(Payload::DIR).join(payload.name);
        Self::spawn(payload, &program, cgroup.path(), cpus, duration).map_err(|source| {
            ProgramError::Start {
                program: payload.name,
                source,
            }
        })
    }

    fn spawn(
        payload: &Payload,
        program: &Path,
        cgroup: &Path,
        cpus: u32,
        duration: Duration,
    ) -> io::Result<Self> {
        let procs = OpenOptions::new()
            .write(true)
            .open(cgroup.join("cgroup.procs"))?;
        let (stdout, to_stdout) = io::pipe()?;
        let (stderr, to_stderr) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .args(arguments(payload, cpus, duration))
            .stdin(Stdio::null())
            .stdout(to_stdout)
            .stderr(to_stderr)
            .process_group(0);
        end_with_us(&mut command, Signal::KILL);
        start_in_cgroup(&mut command, procs.into());
        let child = command.spawn()?;
        Ok(Self {
            pidfd: pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?,
            stdout: Stream::new(stdout)?,
            stderr: Stream::new(stderr)?,
            child,
            begin: Instant::now(),
            limit: payload.time_limit(duration),
            payload: *payload,
            status: None,
            ended: None,
            cgroup: cgroup.to_owned(),
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.payload.name
    }

    /// When it must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.begin + self.limit
    }

    /// Readable when it has ended or written something.
    pub(crate) fn signals(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let ended = self.status.is_none().then(|| self.pidfd.as_fd());
        let streams = [&self.stdout, &self.stderr].map(|stream| stream.pipe.as_ref());
        let streams = streams.into_iter().flatten().map(AsFd::as_fd);
        ended.into_iter().chain(streams)
    }

    /// Reads what it has written, and whether it has ended.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        self.stdout.drain()?;
        self.stderr.drain()?;
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                self.ended = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Whether nothing more comes of it.
    pub(crate) fn is_silent(&self) -> bool {
        self.status.is_some() && self.is_closed()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.status.is_some()
    }

    /// An error where it has ended as it should not.
    pub(crate) fn check(&self) -> Result<(), ProgramError> {
        match self.status {
            Some(status) if !self.is_fine(status) => Err(self.bad_end(status)),
            _ => Ok(()),
        }
    }

    fn is_fine(&self, status: ExitStatus) -> bool {
        let code = status.code();
        code.is_some_and(|code| self.payload.exit_codes.contains(&code))
    }

    fn bad_end(&self, status: ExitStatus) -> ProgramError {
        let (program, said) = (self.name(), self.output().ends());
        match (status.code(), status.signal()) {
            (None, Some(signal)) => ProgramError::Killed {
                program,
                signal: signal_in_words(signal),
                why: if ran_out_of_memory(&self.cgroup) {
                    ", as memory ran out"
                } else {
                    ""
                },
                said,
            },
            (code, _) => {
                let codes = self.payload.exit_codes.iter().map(ToString::to_string);
                ProgramError::Exited {
                    program,
                    status: code.unwrap_or(-1),
                    expected: codes.collect::<Vec<_>>().join(" or "),
                    said,
                }
            }
        }
    }

    /// Kills it at its deadline.
    pub(crate) fn give_up(&mut self) -> ProgramError {
        let seconds = self.begin.elapsed().as_secs_f64();
        let processes = fs::read_to_string(self.cgroup.join("cgroup.procs"));
        let processes = processes.map_or(0, |list| list.lines().count());
        let _ = self.kill();
        ProgramError::Hung {
            program: self.name(),
            seconds,
            processes,
            said: self.output().ends(),
        }
    }

    /// Takes what it measured, and kills what it left; or ends it, where it still runs, and takes what it has measured so
    /// far. One that has ended as it should not is an error. `place` ends what its checks say.
    pub(crate) fn finish(mut self, place: &str) -> Result<Finished, ProgramError> {
        // It may have ended a moment ago.
        let _ = self.look();
        self.check()?;
        let end = self.end();
        self.kill()?;
        self.measured(end, place)
    }

    /// How it has ended, where nothing more comes than its being killed.
    fn end(&self) -> ProgramEnd {
        let code = self.status.and_then(|status| status.code());
        code.map_or(ProgramEnd::Stopped, ProgramEnd::Exited)
    }

    fn measured(&self, end: ProgramEnd, place: &str) -> Result<Finished, ProgramError> {
        let output = self.output();
        let mut metrics = BTreeMap::new();
        for metric in self.payload.metrics {
            match output.read(metric) {
                Ok(value) => {
                    metrics.insert(self.payload.metric_name(metric.name), value);
                }
                // It had no time to print it.
                Err(_) if end == ProgramEnd::Stopped => {}
                Err(source) => {
                    return Err(ProgramError::Metric {
                        program: self.name(),
                        metric: metric.name,
                        source: Box::new(source),
                    });
                }
            }
        }
        let ended = self.ended.unwrap_or_else(Instant::now);
        Ok(Finished {
            run: ProgramRun {
                name: self.name().to_owned(),
                end,
                wall_s: ended.duration_since(self.begin).as_secs_f64(),
                cpu_s: cpu_seconds(&self.cgroup),
                output_bytes: output.bytes,
            },
            verdict: judge(&self.payload, &metrics, place),
            metrics,
        })
    }

    /// Kills all of its cgroup, waits until the program is gone, and reads the rest of its output.
    fn kill(&mut self) -> Result<(), ProgramError> {
        // Of a program that has ended there may be children.
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let begin = Instant::now();
        while self.status.is_none() || !self.is_closed() {
            let limit = match self.status {
                None => GONE_LIMIT,
                // Whoever has left the cgroup may keep it open for ever.
                Some(_) => CLOSE_LIMIT,
            };
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break;
            }
            wait_for(self.signals(), left);
            let _ = self.look();
        }
        match self.status {
            Some(_) => Ok(()),
            None => Err(ProgramError::NotGone {
                program: self.name(),
                seconds: GONE_LIMIT.as_secs(),
            }),
        }
    }

    fn is_closed(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    fn output(&self) -> Output {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        Output {
            stdout: stdout.text(),
            stderr: stderr.text(),
            bytes: stdout.bytes + stderr.bytes,
            is_cut: stdout.is_cut() || stderr.is_cut(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.kill();
        }
    }
}

/// Waits until one of these can be read, for `limit` at most.
pub(crate) fn wait_for<'f>(fds: impl Iterator<Item = BorrowedFd<'f>>, limit: Duration) {
    let mut fds: Vec<PollFd<'_>> = fds
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    let limit = Timespec::try_from(limit).ok();
    // On an error as after a signal, whoever waits looks and comes back.
    let _ = poll(&mut fds, limit.as_ref());
}

fn arguments(payload: &Payload, cpus: u32, duration: Duration) -> impl Iterator<Item = String> {
    let (seconds, cpus) = (duration.as_secs().to_string(), cpus.to_string());
    payload.args.iter().map(move |arg| {
        arg.replace("{duration_s}", &seconds)
            .replace("{cpus}", &cpus)
    })
}

/// Holds the metrics against the declaration's bounds and the test's, which take the place of the former.
fn judge(payload: &Payload, metrics: &BTreeMap<String, f64>, place: &str) -> Verdict {
    let mut verdict = Verdict::pass();
    let replaced = |check: &MetricCheck| {
        let mut own = payload.test_checks.iter();
        own.any(|own| own.metric == check.metric && own.is_upper == check.is_upper)
    };
    let declared = payload.checks.iter().filter(|check| !replaced(check));
    for check in declared.chain(payload.test_checks) {
        let name = payload.metric_name(check.metric);
        match metrics.get(&name) {
            Some(value) if check.is_upper => verdict.at_most(&name, *value, check.limit, place),
            Some(value) => verdict.at_least(&name, *value, check.limit, place),
            None => {
                let why = "the test ended the program before it had printed the value";
                verdict.record(Outcome::Inconclusive, &name, why);
            }
        }
    }
    verdict
}

/// CPU time of a cgroup: `usage_usec` of its `cpu.stat`.
fn cpu_seconds(cgroup: &Path) -> Option<f64> {
    let stat = fs::read_to_string(cgroup.join("cpu.stat")).ok()?;
    let line = stat.lines().find_map(|it| it.strip_prefix("usage_usec "))?;
    let usec: f64 = line.trim().parse().ok()?;
    Some(usec / 1e6)
}

/// Whether the kernel killed something there for lack of memory: `oom_kill` of its `memory.events`.
fn ran_out_of_memory(cgroup: &Path) -> bool {
    let events = fs::read_to_string(cgroup.join("memory.events")).unwrap_or_default();
    let count = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count.is_some_and(|count| count.trim() != "0")
}
