//! The QEMU process: its end, and what it said.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use ktstr_core::{signal, text};
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

    /// The lines it said, without empty ones and control characters.
    pub(super) fn lines(&self) -> Vec<String> {
        let said = String::from_utf8_lossy(&self.said);
        let lines = said.lines().map(|line| text::line(line).trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }

    /// The last thing it said that is more than a warning.
    pub(super) fn last_line(&self) -> Option<String> {
        let lines = self.lines().into_iter().rev();
        let mut lines = lines.filter(|line| !line.contains("warning:"));
        lines.next()
    }
}

/// How a QEMU ended that nobody ended, and the last line it said.
pub(super) fn describe_end(status: ExitStatus, said: Option<&str>) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = signal::name_or_number(signal);
            format!("QEMU was killed by {name}")
        }
        (None, code) => format!("QEMU exited with status {}", code.unwrap_or_default()),
    };
    match said {
        Some(line) => format!("{how}; it printed: {line}"),
        None => format!("{how} and printed nothing"),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_one_sentence() {
        let of = |raw| ExitStatus::from_raw(raw);
        assert_eq!(
            describe_end(of(9), None),
            "QEMU was killed by SIGKILL and printed nothing"
        );
        assert_eq!(
            describe_end(of(1 << 8), Some("cannot set up guest memory")),
            "QEMU exited with status 1; it printed: cannot set up guest memory"
        );
    }
}
