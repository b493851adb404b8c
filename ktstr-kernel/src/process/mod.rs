//! Running a build's commands: bounded, logged, and never left behind.

mod failure;
mod group;
mod output;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::group::Group;
use self::output::Output;

pub(crate) use self::failure::RunError;
pub use self::failure::{BuildFailure, Ending};

/// Runs the commands of one build, in one directory.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    /// Where they run.
    pub(crate) dir: &'a Path,
    /// Locked until the last of their processes is gone.
    pub(crate) lock: &'a File,
    /// What they said; made anew by [`Runner::start_log`].
    pub(crate) log: PathBuf,
    /// Where they write, if that is elsewhere.
    pub(crate) out: Option<&'a Path>,
    /// Advice where that is full.
    pub(crate) full_hint: &'static str,
    /// When a command that is not done is ended.
    pub(crate) limit: Duration,
    /// How long a command may print nothing: it is ended then.
    pub(crate) silence: Duration,
}

impl Runner<'_> {
    /// Empties the log.
    pub(crate) fn start_log(&self) -> Result<(), RunError> {
        File::create(&self.log)
            .map(drop)
            .map_err(|error| RunError::io(&self.log, "write", error))
    }

    /// Runs `command` to its end; `on_line` sees every line it says. `name` is what a person would type.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        name: &str,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), RunError> {
        let log_error = |error| RunError::io(&self.log, "write", error);
        let mut log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.log)
            .map_err(log_error)?;
        writeln!(log, "$ {name}").map_err(log_error)?;
        let program = PathBuf::from(command.get_program());
        let run_error = |error| RunError::io(&program, "run", error);
        let (mut reader, writer) = io::pipe().map_err(run_error)?;
        command
            .current_dir(self.dir)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(run_error)?)
            .stderr(writer);
        let mut group = Group::start(command, self.lock).map_err(run_error)?;
        // The command holds ends to write to: without them the output would not end.
        command.stdout(Stdio::null()).stderr(Stdio::null());

        let start = Instant::now();
        let mut heard = start;
        let mut output = Output::default();
        let mut buffer = [0; 16 << 10];
        while start.elapsed() < self.limit && heard.elapsed() < self.silence {
            if !readable(&reader).map_err(run_error)? {
                // A service it started may hold the pipe open for ever.
                if group.status().map_err(run_error)?.is_some() {
                    break;
                }
                continue;
            }
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    heard = Instant::now();
                    log.write_all(&buffer[..n]).map_err(log_error)?;
                    output.take(&buffer[..n], on_line);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(run_error(error)),
            }
        }
        output.finish(on_line);
        let is_over = || start.elapsed() >= self.limit || heard.elapsed() >= self.silence;
        let status = wait(&mut group, is_over).map_err(run_error)?;
        let ending = match status {
            // It waited for its own.
            Some(status) if status.code().is_some() => {
                group.finish();
                if status.success() {
                    return Ok(());
                }
                ending(status)
            }
            Some(status) => ending(status),
            None if heard.elapsed() >= self.silence => Ending::Silent {
                silence: self.silence,
                programs: group.busy_programs(),
            },
            None => Ending::TimedOut(self.limit.as_secs()),
        };
        Err(self.failure(name, ending, &output))
    }

    fn failure(&self, name: &str, ending: Ending, output: &Output) -> RunError {
        if output.device_full() {
            return RunError::NoSpace {
                dir: self.out.unwrap_or(self.dir).to_owned(),
                hint: self.full_hint,
            };
        }
        RunError::Failed(Box::new(BuildFailure {
            command: name.to_owned(),
            tree: self.dir.to_owned(),
            ending,
            cause: output.cause(),
            tail: output.tail(),
            log: self.log.clone(),
        }))
    }
}

/// The first line that `command` prints, when it succeeds within `patience`; else one clause saying why not. Neither it
/// nor what it started is left when this returns.
pub(crate) fn first_line(mut command: Command, patience: Duration) -> Result<String, String> {
    // More than any version line has, less than a program gone wild may cost.
    const LIMIT: usize = 4096;
    let deadline = Instant::now() + patience;
    let why = |error: io::Error| format!("it does not start: {error}");
    let null = File::open("/dev/null").map_err(why)?;
    let (mut reader, writer) = io::pipe().map_err(why)?;
    command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null());
    let mut group = Group::start(&mut command, &null).map_err(why)?;
    // It holds an end to write to.
    drop(command);
    let mut text = Vec::new();
    let mut buffer = [0; LIMIT];
    let mut status = None;
    while Instant::now() < deadline && text.len() < LIMIT {
        if readable(&reader).map_err(why)? {
            match reader.read(&mut buffer).map_err(why)? {
                0 => break,
                count => text.extend(&buffer[..count]),
            }
        } else if status.is_some() {
            break;
        } else {
            status = group.status().map_err(why)?;
        }
    }
    while status.is_none() && Instant::now() < deadline && text.len() < LIMIT {
        status = group.status().map_err(why)?;
        sleep(Duration::from_millis(2));
    }
    group.finish();
    match status {
        None => Err(format!("it did not answer within {patience:?}")),
        Some(status) if !status.success() => Err(format!("it fails: {status}")),
        Some(_) => {
            let text = String::from_utf8_lossy(&text);
            let line = text.lines().map(str::trim).find(|line| !line.is_empty());
            line.map(str::to_owned)
                .ok_or_else(|| "it says nothing".to_owned())
        }
    }
}

/// Whether there is something to read, or nothing ever again; waits a moment for it.
fn readable(reader: &io::PipeReader) -> io::Result<bool> {
    let moment = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    match poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&moment)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the command until `is_over`; `None` where it still runs then.
fn wait(group: &mut Group, is_over: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    loop {
        let status = group.status()?;
        if status.is_some() || is_over() {
            return Ok(status);
        }
        sleep(Duration::from_millis(2));
    }
}

fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(code),
        (None, signal) => Ending::Killed(signal.unwrap_or(0)),
    }
}
