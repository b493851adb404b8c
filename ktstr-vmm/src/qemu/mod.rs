//! Machines on QEMU, emulated in software.

mod args;
mod firmware;
mod monitor;
mod process;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use crate::apic::ApicIds;
use crate::child::spawn_bound;
use crate::cmdline;
use crate::error::MachineError;
use crate::exit::Diagnostic;
use crate::image::Image;
use crate::machine::{Backend, Ended, Hypervisor, MAX_CMDLINE, Vm};
use crate::spec::{HostShare, MachineSpec};
use crate::stream;
use crate::terminal::Terminal;
use crate::watch::CpuState;
use args::Descriptors;
use monitor::Monitor;
use process::Process;

pub(crate) use args::MAX_CPUS;

/// The command that brings QEMU where it is missing.
pub(crate) const INSTALL: &str = "apt-get install qemu-system-x86";

/// Carries machines by starting QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    image: Image,
}

impl Qemu {
    pub(crate) fn new(image: Image) -> Self {
        Self { image }
    }
}

impl Hypervisor for Qemu {
    fn check(&self, spec: &MachineSpec) -> Result<(), MachineError> {
        if spec.topology.cpus() > MAX_CPUS {
            return Err(MachineError::TooLarge {
                topology: spec.topology,
                backend: Backend::Qemu,
                max: MAX_CPUS,
            });
        }
        let apic_ids = ApicIds::new(spec.topology);
        // An emulated processor has none.
        if apic_ids.needs_x2apic() {
            return Err(MachineError::ApicIds {
                topology: spec.topology,
                backend: Backend::Qemu,
                highest: apic_ids.highest(),
            });
        }
        if spec.host != HostShare::Anywhere {
            return Err(MachineError::HostShare(Backend::Qemu));
        }
        let length = cmdline::for_qemu(spec).len();
        if length > MAX_CMDLINE {
            return Err(MachineError::CmdlineTooLong(length));
        }
        Ok(())
    }

    fn start(&self, spec: &MachineSpec) -> Result<Box<dyn Vm>, MachineError> {
        let pair = || stream::pair().map_err(MachineError::host("socketpair"));
        let (console, guest_console) = pair()?;
        let (channel, guest_channel) = pair()?;
        let (monitor, guest_monitor) = pair()?;
        let mut theirs = vec![guest_console, guest_channel, guest_monitor];
        theirs.extend(spec.terminal.as_ref().map(Terminal::open).transpose()?);
        let descriptors = Descriptors {
            console: theirs[0].as_raw_fd(),
            channel: theirs[1].as_raw_fd(),
            monitor: theirs[2].as_raw_fd(),
            terminal: theirs.get(3).map(AsRawFd::as_raw_fd),
        };
        let mut command = Command::new(&spec.qemu);
        command
            .args(args::arguments(
                spec,
                &self.image.path,
                firmware::fast(&spec.qemu).as_deref(),
                &descriptors,
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = spawn_bound(&mut command, &theirs).map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                MachineError::Unavailable(format!(
                    "{}: not found; run: {INSTALL}",
                    spec.qemu.display()
                ))
            } else {
                let program = spec.qemu.clone();
                MachineError::Spawn { program, source }
            }
        })?;
        let stderr = child.stderr.take().map(OwnedFd::from).map(File::from);
        let process = Process::new(child, stderr)?;
        Ok(Box::new(Running {
            process,
            console,
            channel,
            monitor: Monitor::new(monitor)?,
        }))
    }
}

/// A QEMU that runs, and our ends of what it was given.
#[derive(Debug)]
struct Running {
    process: Process,
    console: OwnedFd,
    channel: OwnedFd,
    monitor: Monitor,
}

impl Vm for Running {
    fn console(&self) -> BorrowedFd<'_> {
        self.console.as_fd()
    }

    fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    fn signals(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = self.process.signals();
        fds.extend(self.monitor.signal());
        fds
    }

    fn check(&mut self) -> Result<Option<Ended>, MachineError> {
        self.monitor.read()?;
        self.process.read_diagnostics()?;
        // What the guest did is only reported once the process is gone: then nothing it said is still on
        // its way.
        let Some(status) = self.process.try_wait()? else {
            return Ok(None);
        };
        self.monitor.read()?;
        self.process.read_diagnostics()?;
        Ok(Some(self.monitor.shutdown().unwrap_or_else(|| {
            Ended::Crashed(process::epitaph(
                status,
                self.process.last_line().as_deref(),
            ))
        })))
    }

    fn look(&mut self) -> Result<Option<Vec<CpuState>>, MachineError> {
        self.monitor.processors()
    }

    fn end(mut self: Box<Self>) -> Vec<Diagnostic> {
        self.process.kill();
        // What could not be read is not there to be told.
        let _ = self.process.read_diagnostics();
        let lines = self.process.lines().into_iter();
        lines.map(Diagnostic::Qemu).collect()
    }
}
