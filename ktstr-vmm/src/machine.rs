//! A machine, as a value.

use std::fs::File;

use crate::backend::BackendConfig;
use crate::cancel::CancelToken;
use crate::error::MachineError;
use crate::exit::MachineExit;
use crate::hypervisor::Hypervisor;
use crate::image::Image;
use crate::kvm::Kvm;
use crate::observer::Observer;
use crate::placement::HostPlacement;
use crate::qemu::Qemu;
use crate::run;
use crate::spec::{MachineSpec, guest_memory_mib};

/// A machine that can be run any number of times.
#[derive(Debug)]
pub struct Machine {
    spec: MachineSpec,
    hypervisor: Box<dyn Hypervisor>,
    cancel: CancelToken,
}

impl Machine {
    /// Checks `spec` against the files it names and against what the backend can do. Nothing is started.
    ///
    /// `backend` is a [`crate::Backend`], or a [`BackendConfig`] with options.
    pub fn new(spec: MachineSpec, backend: impl Into<BackendConfig>) -> Result<Self, MachineError> {
        let image = Image::inspect(&spec.kernel)?;
        let hypervisor = hypervisor(backend.into(), image);
        check(&spec)?;
        hypervisor.check(&spec)?;
        let cancel = CancelToken::new().map_err(MachineError::host("eventfd"))?;
        Ok(Self {
            spec,
            hypervisor,
            cancel,
        })
    }

    /// The same machine on these host CPUs, after a check that the backend supports them.
    pub fn with_host_placement(mut self, placement: HostPlacement) -> Result<Self, MachineError> {
        self.spec.host_placement = placement;
        self.hypervisor.check(&self.spec)?;
        Ok(self)
    }

    /// What the machine consists of.
    pub fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    /// The same machine, whose runs `token` ends.
    #[must_use]
    pub fn with_cancel_token(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    /// A token that ends this machine's run from another thread or from a signal handler.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Boots the machine and runs it until the observer stops it, the guest ends, it is cancelled or a deadline passes.
    ///
    /// However it ends, even by an error, nothing of it is left on the host. It does not outlive the calling thread,
    /// even if that is killed.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<MachineExit, MachineError> {
        run::run(&self.spec, self.hypervisor.as_ref(), &self.cancel, observer)
    }
}

fn hypervisor(backend: BackendConfig, image: Image) -> Box<dyn Hypervisor> {
    match backend {
        BackendConfig::Kvm(config) => Box::new(Kvm::new(config, image)),
        BackendConfig::Qemu(config) => Box::new(Qemu::new(config, image)),
    }
}

/// What is the same for all backends.
fn check(spec: &MachineSpec) -> Result<(), MachineError> {
    let mut initramfs_bytes = 0;
    if let Some(path) = &spec.initramfs {
        // The file is opened, as the backend must be able to read it.
        initramfs_bytes = File::open(path)
            .and_then(|file| file.metadata())
            .map_err(|source| MachineError::Initramfs {
                path: path.clone(),
                source,
            })?
            .len();
    }
    let least = guest_memory_mib(spec.topology, 0, initramfs_bytes);
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
