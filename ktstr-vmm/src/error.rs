//! Why a machine could not be run.

use std::io;
use std::path::PathBuf;

use ktstr_core::Topology;

use crate::channel::FrameError;
use crate::image::ImageError;

/// A machine that could not be made or run; how a guest ends is no error, see [`crate::ExitReason`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The kernel cannot be booted.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The initramfs cannot be read.
    #[error("initramfs {path}: {source}; build it again")]
    Initramfs {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A kernel argument would break the kernel's command line.
    #[error(
        "kernel argument {0:?}: it holds a line break or NUL; pass one plain argument per entry"
    )]
    KernelArgument(String),
    /// The kernel's command line is longer than kernels take.
    #[error("kernel command line: {0} bytes; at most {max} fit, pass fewer kernel arguments", max = crate::machine::MAX_CMDLINE)]
    CmdlineTooLong(usize),
    /// Less memory than anything boots with.
    #[error("guest memory: {mib} MiB for {topology}; at least {least} MiB are needed")]
    TooLittleMemory {
        /// What was asked for.
        mib: u32,
        /// The machine's shape.
        topology: Topology,
        /// What it takes.
        least: u32,
    },
    /// The back end cannot carry this topology in reasonable time: a reason to skip, not a failure.
    #[error("topology {topology} has {} CPUs; {backend} carries at most {max}, use KVM for more", topology.cpus())]
    TooLarge {
        /// The machine's shape.
        topology: Topology,
        /// Which back end was asked.
        backend: crate::Backend,
        /// Most CPUs it carries.
        max: u32,
    },
    /// The back end's processors cannot be numbered that high: a reason to skip as well.
    #[error(
        "topology {topology} needs APIC ids up to {highest}; {backend} has them up to 254, use KVM for more"
    )]
    ApicIds {
        /// The machine's shape.
        topology: Topology,
        /// Which back end was asked.
        backend: crate::Backend,
        /// Highest APIC id that the shape takes.
        highest: u32,
    },
    /// The back end leaves it to the host where machines run: a reason to skip as well.
    #[error(
        "{0} cannot give a machine host CPUs of its own, as performance mode does; it needs KVM"
    )]
    HostShare(crate::Backend),
    /// The terminal leads nowhere.
    #[error("terminal {what}: {source}; {remedy}")]
    Terminal {
        /// The socket.
        what: String,
        /// What the system said.
        source: io::Error,
        /// What would help.
        remedy: &'static str,
    },
    /// The back end is not there.
    #[error("{0}")]
    Unavailable(String),
    /// The back end's program could not be started.
    #[error("{program}: {source}; check that it can be executed")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host ran out of something.
    #[error("{what}: {source}; check the host's limits on open files, processes and memory")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// KVM could not make it.
    #[error(transparent)]
    Kvm(#[from] crate::kvm::KvmError),
    /// The observer sent something that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl MachineError {
    /// Wraps an error of the host's system; for `map_err`.
    pub(crate) fn host<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Host {
            what,
            source: source.into(),
        }
    }
}
