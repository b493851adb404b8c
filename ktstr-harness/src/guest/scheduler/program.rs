//! The program of a scheduler: a process, its output and how it ended.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ktstr_core::host::ProcessStat;
use ktstr_vmm::BoundedLog;
use ktstr_vmm::child::end_with_us;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::protocol::Departure;
use crate::workload::signal_in_words;

pub(super) struct Program {
    child: Child,
    pidfd: OwnedFd,
    /// Both standard streams; `None` once every writer is gone.
    output: Option<File>,
}

impl Program {
    /// Starts it in a process group of its own.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // What it starts itself ends with it.
            .process_group(0);
        end_with_us(command, Signal::KILL);
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

    pub(super) fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// CPU time of the program, without what it started.
    pub(super) fn cpu_time(&self) -> Duration {
        let stat = ProcessStat::read(self.child.id());
        stat.map_or(Duration::ZERO, |stat| stat.cpu_time)
    }

    /// Readable when it has ended or written something.
    pub(super) fn signals(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = vec![self.pidfd.as_fd()];
        fds.extend(self.output.as_ref().map(AsFd::as_fd));
        fds
    }

    /// How it ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok()?
    }

    /// Sends `signal` to it and to what it started.
    pub(super) fn signal(&self, signal: Signal) {
        // It fails when no process of the group is left.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Kills it and what it started, and waits for it.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Moves what it has written to `log`.
    pub(super) fn drain(&mut self, log: &mut BoundedLog) {
        let mut chunk = [0; 16 << 10];
        // Bounded: a program that never stops writing must not keep init from its other work.
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

pub(super) fn departure(status: ExitStatus) -> Departure {
    match status.signal() {
        Some(signal) => Departure::Killed { signal },
        // A child that was waited for has one of the two.
        None => Departure::Exited(status.code().unwrap_or(-1)),
    }
}

/// `exited with status 3`, `was killed by signal 9 (SIGKILL)`.
pub(super) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by {}", signal_in_words(signal)),
        (None, None) => format!("ended ({status})"),
    }
}
