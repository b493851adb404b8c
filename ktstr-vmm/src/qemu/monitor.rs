//! QEMU's monitor (QMP): where it says why the guest ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde_json::Value;

use crate::error::MachineError;
use crate::machine::Ended;
use crate::stream::{self, Got};

/// Longest line QEMU sends; events take a few hundred bytes.
const MAX_LINE: usize = 64 << 10;

/// Our end of the monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: OwnedFd,
    open: bool,
    line: Vec<u8>,
    shutdown: Option<Ended>,
}

impl Monitor {
    /// Asks for events; the answer comes whenever QEMU is up.
    pub(super) fn new(socket: OwnedFd) -> Result<Self, MachineError> {
        let hello = b"{\"execute\":\"qmp_capabilities\"}\n";
        stream::write(&socket, hello).map_err(MachineError::host("writing to QEMU's monitor"))?;
        Ok(Self {
            socket,
            open: true,
            line: Vec::new(),
            shutdown: None,
        })
    }

    /// Readable when QEMU said something.
    pub(super) fn signal(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.socket.as_fd())
    }

    /// Takes in what is there.
    pub(super) fn read(&mut self) -> Result<(), MachineError> {
        let mut buffer = [0; 4096];
        while self.open {
            let got = stream::read(&self.socket, &mut buffer)
                .map_err(MachineError::host("reading QEMU's monitor"))?;
            match got {
                Got::Bytes(count) => self.take(&buffer[..count]),
                Got::Nothing => break,
                Got::End => self.open = false,
            }
        }
        Ok(())
    }

    /// How the guest ended, once it has.
    pub(super) fn shutdown(&self) -> Option<Ended> {
        self.shutdown.clone()
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                if let Some(ended) = shutdown_of(&line) {
                    self.shutdown = Some(ended);
                }
            } else if self.line.len() < MAX_LINE {
                self.line.push(byte);
            }
        }
    }
}

/// The end of the guest that a line tells of, if it is that event.
fn shutdown_of(line: &[u8]) -> Option<Ended> {
    let message: Value = serde_json::from_slice(line).ok()?;
    if message["event"] != "SHUTDOWN" {
        return None;
    }
    match message["data"]["reason"].as_str()? {
        "guest-shutdown" => Some(Ended::PoweredOff),
        "guest-reset" => Some(Ended::Reset),
        // A signal to QEMU, a closed window: nothing the guest did.
        other => Some(Ended::Crashed(format!("QEMU was told to end ({other})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_end_is_read_from_events() {
        let event = |reason: &str| {
            format!(
                r#"{{"timestamp": {{"seconds": 1}}, "event": "SHUTDOWN", "data": {{"guest": true, "reason": "{reason}"}}}}"#
            )
        };
        let ended = |text: String| shutdown_of(text.as_bytes());
        assert_eq!(ended(event("guest-shutdown")), Some(Ended::PoweredOff));
        assert_eq!(ended(event("guest-reset")), Some(Ended::Reset));
        assert!(matches!(
            ended(event("host-signal")),
            Some(Ended::Crashed(_))
        ));
        assert_eq!(ended(r#"{"event": "RESUME"}"#.to_owned()), None);
        assert_eq!(ended(r#"{"return": {}}"#.to_owned()), None);
        assert_eq!(ended("not json".to_owned()), None);
    }
}
