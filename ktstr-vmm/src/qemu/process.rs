//! The QEMU process: its end, and what it said.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::MachineError;

/// How much of its standard error is kept.
const MAX_DIAGNOSTICS: usize = 64 << 10;

/// A child that is killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pidfd: OwnedFd,
    stderr: Option<File>,
    said: Vec<u8>,
}

impl Process {
    pub(super) fn new(mut child: Child, stderr: Option<File>) -> Result<Self, MachineError> {
        let open = || {
            let pid = Pid::from_child(&child);
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            if let Some(stderr) = &stderr {
                rustix::io::ioctl_fionbio(stderr, true)?;
            }
            Ok::<_, rustix::io::Errno>(pidfd)
        };
        match open() {
            Ok(pidfd) => Ok(Self {
                child,
                pidfd,
                stderr,
                said: Vec::new(),
            }),
            Err(errno) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(MachineError::host("watching the QEMU process")(errno))
            }
        }
    }

    /// Readable when the process ended or said something.
    pub(super) fn signals(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = vec![self.pidfd.as_fd()];
        fds.extend(self.stderr.as_ref().map(AsFd::as_fd));
        fds
    }

    /// Takes in what it said; of too much, the end is kept.
    pub(super) fn read_diagnostics(&mut self) -> Result<(), MachineError> {
        let mut buffer = [0; 4096];
        // Bounded, so that a process that never stops talking does not keep us here.
        for _ in 0..16 {
            let Some(stderr) = &mut self.stderr else {
                break;
            };
            match stderr.read(&mut buffer) {
                Ok(0) => self.stderr = None,
                Ok(count) => {
                    self.said.extend_from_slice(&buffer[..count]);
                    let excess = self.said.len().saturating_sub(MAX_DIAGNOSTICS);
                    self.said.drain(..excess);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(MachineError::host("reading QEMU's messages")(error));
                }
            }
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub(super) fn try_wait(&mut self) -> Result<Option<ExitStatus>, MachineError> {
        self.child
            .try_wait()
            .map_err(MachineError::host("waiting for the QEMU process"))
    }

    /// Kills and reaps it.
    pub(super) fn kill(&mut self) {
        // Both fail only when the process is gone and reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn diagnostics(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// The last thing it said that is more than a warning.
    pub(super) fn last_line(&self) -> String {
        let text = self.diagnostics();
        let line = text
            .lines()
            .rev()
            .find(|line| !line.contains("warning:") && !line.trim().is_empty());
        line.unwrap_or("it said nothing").trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
