//! QEMU's monitor (QMP), which reports why the guest ended and what its CPUs are doing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde_json::Value;

use crate::error::MachineError;
use crate::hypervisor::{CpuActivity, MachineEnd};
use crate::stream::{self, Got};

/// Maximum length of a line; events take a few hundred bytes, the registers of a CPU three thousand.
const MAX_LINE: usize = 2 << 20;

/// Our end of the monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: OwnedFd,
    open: bool,
    line: Vec<u8>,
    shutdown: Option<MachineEnd>,
    /// Whether an answer about the CPUs is pending, and the last answer.
    asked: bool,
    activity: Option<Vec<CpuActivity>>,
    version: Option<String>,
}

impl Monitor {
    /// Enables events; QEMU answers once it is up.
    pub(super) fn new(socket: OwnedFd) -> Result<Self, MachineError> {
        let hello = b"{\"execute\":\"qmp_capabilities\"}\n";
        stream::write(&socket, hello).map_err(MachineError::host("writing to QEMU's monitor"))?;
        Ok(Self {
            socket,
            open: true,
            line: Vec::new(),
            shutdown: None,
            asked: false,
            activity: None,
            version: None,
        })
    }

    /// Readable when QEMU has sent something.
    pub(super) fn signal(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.socket.as_fd())
    }

    /// Reads what QEMU has sent.
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

    /// How the guest ended; `None` while it runs.
    pub(super) fn shutdown(&self) -> Option<MachineEnd> {
        self.shutdown.clone()
    }

    /// QEMU's version, once it has greeted.
    pub(super) fn version(&self) -> Option<String> {
        self.version.clone()
    }

    /// Asks what the CPUs are doing, and returns each answer once.
    pub(super) fn cpu_activity(&mut self) -> Result<Option<Vec<CpuActivity>>, MachineError> {
        self.read()?;
        if self.open && !self.asked {
            let ask = b"{\"execute\":\"human-monitor-command\",\
                \"arguments\":{\"command-line\":\"info registers -a\"}}\n";
            let sent = stream::write(&self.socket, ask)
                .map_err(MachineError::host("writing to QEMU's monitor"))?;
            // If the socket is full, QEMU is not reading, and the question is skipped.
            self.asked = sent == Some(ask.len());
            self.open &= matches!(sent, Some(0)) || self.asked;
        }
        Ok(self.activity.take())
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let Ok(message) = serde_json::from_slice::<Value>(&line) else {
                    continue;
                };
                if let Some(ended) = shutdown_of(&message) {
                    self.shutdown = Some(ended);
                } else if let Some(registers) = message["return"].as_str() {
                    self.activity = Some(states(registers));
                    self.asked = false;
                } else if self.version.is_none() {
                    self.version = version_of(&message);
                }
            } else if self.line.len() < MAX_LINE {
                self.line.push(byte);
            }
        }
    }
}

/// The version in the greeting, QEMU's first message.
fn version_of(message: &Value) -> Option<String> {
    let version = &message["QMP"]["version"]["qemu"];
    let part = |name: &str| version[name].as_u64();
    Some(format!(
        "{}.{}.{}",
        part("major")?,
        part("minor")?,
        part("micro")?
    ))
}

/// Parses what the CPUs are doing from QEMU's dump of their registers, which has a line for each:
/// `RIP=ffffffff81a5d0fb RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1`.
fn states(registers: &str) -> Vec<CpuActivity> {
    let of_line = |line: &str| {
        let value = |name: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix(name))
        };
        let halted = value("HLT=")? == "1";
        let privilege = value("CPL=")?;
        let flags = u64::from_str_radix(value("RFL=").or_else(|| value("EFL="))?, 16).ok()?;
        Some(match (halted, flags & INTERRUPTS != 0) {
            (true, true) => CpuActivity::Idle,
            (true, false) => CpuActivity::Stopped,
            (false, _) if privilege == "3" => CpuActivity::Program,
            (false, _) => CpuActivity::Kernel,
        })
    };
    registers.lines().filter_map(of_line).collect()
}

/// The interrupt flag.
const INTERRUPTS: u64 = 1 << 9;

/// The end of the guest, if the message is a shutdown event.
fn shutdown_of(message: &Value) -> Option<MachineEnd> {
    if message["event"] != "SHUTDOWN" {
        return None;
    }
    match message["data"]["reason"].as_str()? {
        "guest-shutdown" => Some(MachineEnd::PoweredOff),
        "guest-reset" => Some(MachineEnd::Reset),
        // A signal to QEMU, a closed window: the guest did not cause it.
        other => Some(MachineEnd::Crashed(format!(
            "QEMU was ended from outside ({other})"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use CpuActivity::{Idle, Kernel, Program, Stopped};

    #[test]
    fn the_guests_end_is_read_from_events() {
        let event = |reason: &str| {
            format!(
                r#"{{"timestamp": {{"seconds": 1}}, "event": "SHUTDOWN", "data": {{"guest": true, "reason": "{reason}"}}}}"#
            )
        };
        let ended = |text: String| shutdown_of(&serde_json::from_str(&text).unwrap());
        assert_eq!(ended(event("guest-shutdown")), Some(MachineEnd::PoweredOff));
        assert_eq!(ended(event("guest-reset")), Some(MachineEnd::Reset));
        assert!(matches!(
            ended(event("host-signal")),
            Some(MachineEnd::Crashed(_))
        ));
        assert_eq!(ended(r#"{"event": "RESUME"}"#.to_owned()), None);
        assert_eq!(ended(r#"{"return": {}}"#.to_owned()), None);
    }

    #[test]
    fn the_greeting_has_the_version() {
        let (mut monitor, mut qemu) = monitor();
        assert_eq!(monitor.version(), None);
        let greeting = r#"{"QMP": {"version": {"qemu": {"micro": 19, "minor": 2, "major": 7},
            "package": "Debian"}, "capabilities": ["oob"]}}"#;
        let greeting = greeting.replace('\n', " ");
        qemu.write_all(format!("{greeting}\n{{\"return\": {{}}}}\n").as_bytes())
            .unwrap();
        monitor.read().unwrap();
        assert_eq!(monitor.version().as_deref(), Some("7.2.19"));
    }

    /// A monitor, and the other end of its socket, from which it has read its first words.
    fn monitor() -> (Monitor, UnixStream) {
        let (ours, theirs) = stream::pair().unwrap();
        let mut theirs = UnixStream::from(theirs);
        let monitor = Monitor::new(ours).unwrap();
        let mut hello = [0; 64];
        let count = theirs.read(&mut hello).unwrap();
        assert!(hello[..count].ends_with(b"\n"));
        (monitor, theirs)
    }

    #[test]
    fn cpus_are_asked_for_one_answer_at_a_time() {
        let (mut monitor, mut qemu) = monitor();
        assert_eq!(monitor.cpu_activity().unwrap(), None);
        assert_eq!(monitor.cpu_activity().unwrap(), None);
        let mut asked = [0; 512];
        let count = qemu.read(&mut asked).unwrap();
        let asked: Value = serde_json::from_slice(&asked[..count]).unwrap();
        assert_eq!(asked["execute"], "human-monitor-command");
        // Not what was asked for, and not JSON.
        qemu.write_all(b"{\"return\": {}}\nnonsense\n").unwrap();
        assert_eq!(monitor.cpu_activity().unwrap(), None);
        let registers = "\r\nCPU#0\r\nRAX=0 RBX=0\r\n\
            RIP=ffffffff81a5d0fb RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
            CPU#1\r\nEIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
            CPU#2\r\nRIP=1 RFL=00000202 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\r\n\
            CPU#3\r\nRIP=1 RFL=00000202 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n";
        let answer = serde_json::json!({ "return": registers }).to_string() + "\n";
        let (first, rest) = answer.split_at(100);
        qemu.write_all(first.as_bytes()).unwrap();
        assert_eq!(monitor.cpu_activity().unwrap(), None);
        qemu.write_all(rest.as_bytes()).unwrap();
        let states = monitor.cpu_activity().unwrap();
        assert_eq!(states, Some(vec![Idle, Stopped, Program, Kernel]));
        assert_eq!(monitor.cpu_activity().unwrap(), None);
        drop(qemu);
        assert_eq!(monitor.cpu_activity().unwrap(), None);
        assert!(monitor.signal().is_none());
    }
}
