//! A machine as a value, and what comes of running it.

use std::fmt;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

use crate::cancel::CancelToken;
use crate::channel::{Frame, FrameEncoder, FrameError};
use crate::error::MachineError;
use crate::exit::{Diagnostic, MachineExit};
use crate::image::Image;
use crate::kvm::Kvm;
use crate::qemu::Qemu;
use crate::spec::{HostShare, MachineSpec};
use crate::watch::CpuState;
use crate::{run, spec};

/// What carries a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// ktstr's own microVM on the host's KVM.
    Kvm,
    /// QEMU, emulating in software.
    Qemu,
}

impl Backend {
    /// Its name, as in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// A name that no back end has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown back end `{0}`: use kvm or qemu")]
pub struct ParseBackendError(String);

impl FromStr for Backend {
    type Err = ParseBackendError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "kvm" => Ok(Self::Kvm),
            "qemu" => Ok(Self::Qemu),
            _ => Err(ParseBackendError(text.to_owned())),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// The observer has what it wanted: end the machine now.
    Stop,
}

/// Watches a machine while it runs, and speaks to its guest.
pub trait Observer {
    /// The console said something.
    fn console(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// The guest sent a frame; answers go into `outbox`.
    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow;
}

/// Frames on their way to the guest. Sending never blocks: they leave as the guest takes them.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(crate) encoder: FrameEncoder,
    pub(crate) refused: Option<FrameError>,
}

impl Outbox {
    /// Sends `frame`; one that is too large ends the run with an error.
    pub fn send(&mut self, frame: &Frame) {
        if let Err(error) = self.encoder.push(frame) {
            self.refused.get_or_insert(error);
        }
    }
}

/// Longest command line an x86-64 kernel takes, without the final NUL.
pub(crate) const MAX_CMDLINE: usize = 2047;

/// A machine that can be run, as often as one likes.
#[derive(Debug)]
pub struct Machine {
    spec: MachineSpec,
    backend: Box<dyn Hypervisor>,
    cancel: CancelToken,
}

impl Machine {
    /// Checks `spec` against the files it names and what `backend` can do.
    pub fn new(spec: MachineSpec, backend: Backend) -> Result<Self, MachineError> {
        let backend: Box<dyn Hypervisor> = match backend {
            Backend::Qemu => Box::new(Qemu::new(Image::inspect(&spec.kernel)?)),
            Backend::Kvm => Box::new(Kvm::new(Image::inspect(&spec.kernel)?)),
        };
        check(&spec)?;
        backend.check(&spec)?;
        let cancel = CancelToken::new().map_err(MachineError::host("eventfd"))?;
        Ok(Self {
            spec,
            backend,
            cancel,
        })
    }

    /// The same machine with that share of the host, checked against what the back end can do.
    pub fn on(mut self, host: HostShare) -> Result<Self, MachineError> {
        self.spec.host = host;
        self.backend.check(&self.spec)?;
        Ok(self)
    }

    /// What the machine is made of.
    pub fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    /// Something that ends this machine's run from another thread or a signal handler.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Boots the machine and runs it until the observer is satisfied, the guest ends or time is up.
    ///
    /// However it ends, and also on an error, nothing of it is left on the host afterwards. It does
    /// not outlive the calling thread either, should that be killed.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<MachineExit, MachineError> {
        run::run(&self.spec, self.backend.as_ref(), &self.cancel, observer)
    }
}

fn check(spec: &MachineSpec) -> Result<(), MachineError> {
    let mut initramfs_bytes = 0;
    if let Some(path) = &spec.initramfs {
        // Opened, not just looked up: the back end must be able to read it.
        initramfs_bytes = File::open(path)
            .and_then(|file| file.metadata())
            .map_err(|source| MachineError::Initramfs {
                path: path.clone(),
                source,
            })?
            .len();
    }
    let least = spec::guest_memory_mib(spec.topology, 0, initramfs_bytes);
    if spec.memory_mib < least {
        return Err(MachineError::TooLittleMemory {
            mib: spec.memory_mib,
            topology: spec.topology,
            least,
        });
    }
    if let Some(terminal) = &spec.terminal {
        terminal.check()?;
    }
    for argument in &spec.cmdline {
        if argument.contains(['\n', '\r', '\0']) {
            return Err(MachineError::KernelArgument(argument.clone()));
        }
    }
    Ok(())
}

/// A way to carry machines.
pub(crate) trait Hypervisor: fmt::Debug {
    /// Whether it can carry this one, before anything is started.
    fn check(&self, spec: &MachineSpec) -> Result<(), MachineError>;

    /// Starts it.
    fn start(&self, spec: &MachineSpec) -> Result<Box<dyn Vm>, MachineError>;
}

/// A machine that runs. Dropping it ends it.
///
/// Back ends bring descriptors; reading, framing, deadlines and cancelling are the same for all.
pub(crate) trait Vm {
    /// A non-blocking stream socket with the console's output.
    fn console(&self) -> BorrowedFd<'_>;

    /// A non-blocking stream socket with the guest's port at its other end.
    fn channel(&self) -> BorrowedFd<'_>;

    /// Descriptors that become readable when [`Vm::check`] has something to look at.
    fn signals(&self) -> Vec<BorrowedFd<'_>>;

    /// Whether the machine ended by itself; console and channel then hold all there will be.
    fn check(&mut self) -> Result<Option<Ended>, MachineError>;

    /// Asks what the guest's processors are doing, and gives the answer to the last time, where it has come. It never
    /// waits: a signal tells of an answer.
    fn look(&mut self) -> Result<Option<Vec<CpuState>>, MachineError>;

    /// Ends the machine if it has not ended, waits until nothing of it is left, and gives what is worth knowing of it.
    fn end(self: Box<Self>) -> Vec<Diagnostic>;
}

/// How a machine ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The guest turned it off.
    PoweredOff,
    /// The guest reset it.
    Reset,
    /// What carried it died.
    Crashed(String),
}
