//! Machines on QEMU, emulated in software.

mod args;
mod firmware;
mod monitor;
mod process;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::SocketAddrUnix;

use crate::arch::cmdline;
use crate::arch::cpu_ids::ApicIds;
use crate::backend::{Backend, QemuConfig};
use crate::child::spawn_bound;
use crate::error::MachineError;
use crate::exit::Diagnostic;
use crate::hypervisor::{CpuActivity, Hypervisor, MachineEnd, RunningMachine};
use crate::image::Image;
use crate::placement::HostPlacement;
use crate::spec::MachineSpec;
use crate::stream;
use crate::terminal::Terminal;
use args::Descriptors;
use monitor::Monitor;

/// The CPU model that guests see.
pub(crate) const CPU_MODEL: &str = args::CPU;
use process::Process;

/// Most CPUs that emulation runs in reasonable time: 192 boot within a minute, 240 not in two.
const MAX_CPUS: u32 = 192;

/// Runs machines by starting QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    config: QemuConfig,
    image: Image,
}

impl Qemu {
    pub(crate) fn new(config: QemuConfig, image: Image) -> Self {
        Self { config, image }
    }

    /// The command that starts QEMU for a machine with these descriptors.
    fn command(&self, spec: &MachineSpec, descriptors: &Descriptors) -> Command {
        let mut command = Command::new(&self.config.program);
        command
            .args(args::arguments(
                spec,
                self.config.emulation,
                &self.image.path,
                firmware::fast(&self.config.program).as_deref(),
                descriptors,
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
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
        // Emulation has no x2APIC.
        if apic_ids.needs_x2apic() {
            return Err(MachineError::ApicIds {
                topology: spec.topology,
                backend: Backend::Qemu,
                highest: apic_ids.highest(),
            });
        }
        if spec.host_placement != HostPlacement::Unpinned {
            return Err(MachineError::HostPlacement(Backend::Qemu));
        }
        for shared in &spec.shared_directories {
            shared.check()?;
        }
        if let Some(path) = &spec.gdb {
            check_socket_path(path)?;
        }
        cmdline::check_length(&cmdline::for_qemu(spec))
    }

    fn start(&self, spec: &MachineSpec) -> Result<Box<dyn RunningMachine>, MachineError> {
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
        let mut command = self.command(spec, &descriptors);
        let mut child = spawn_bound(&mut command, &theirs).map_err(|source| {
            let program = self.config.program.clone();
            match source.kind() {
                ErrorKind::NotFound => MachineError::QemuNotFound { program },
                _ => MachineError::Spawn { program, source },
            }
        })?;
        let stderr = child.stderr.take().map(OwnedFd::from).map(File::from);
        let process = Process::new(child, stderr)?;
        Ok(Box::new(QemuMachine {
            process,
            console,
            channel,
            monitor: Monitor::new(monitor)?,
        }))
    }
}

/// Checks that a socket can be made at `path`, and that nothing is there yet: QEMU would replace another socket.
fn check_socket_path(path: &Path) -> Result<(), MachineError> {
    let refuse = |why| {
        Err(MachineError::DebuggerSocket {
            path: path.to_owned(),
            why,
        })
    };
    if SocketAddrUnix::new(path).is_err() {
        return refuse("the path is too long for a socket; choose a shorter directory");
    }
    // QEMU takes options as text.
    if path.to_str().is_none() {
        return refuse("the path is not UTF-8; choose another directory");
    }
    if path.symlink_metadata().is_ok() {
        return refuse("something is there already; choose another place");
    }
    Ok(())
}

/// A QEMU that runs, and our ends of what it was given.
#[derive(Debug)]
struct QemuMachine {
    process: Process,
    console: OwnedFd,
    channel: OwnedFd,
    monitor: Monitor,
}

impl RunningMachine for QemuMachine {
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

    fn poll_end(&mut self) -> Result<Option<MachineEnd>, MachineError> {
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
            MachineEnd::Crashed(process::describe_end(
                status,
                self.process.last_line().as_deref(),
            ))
        })))
    }

    fn cpu_activity(&mut self) -> Result<Option<Vec<CpuActivity>>, MachineError> {
        self.monitor.cpu_activity()
    }

    fn version(&self) -> Option<String> {
        self.monitor.version()
    }

    fn end(mut self: Box<Self>) -> Vec<Diagnostic> {
        self.process.kill();
        // What could not be read is not there to be told.
        let _ = self.process.read_diagnostics();
        let lines = self.process.lines().into_iter();
        lines.map(Diagnostic::Qemu).collect()
    }
}
