//! Why a machine could not be created or run.

mod kvm;

use std::io;
use std::path::PathBuf;

use ktstr_core::Topology;

use crate::backend::{Backend, KvmAccess, QEMU, QEMU_INSTALL};
use crate::channel::frame::FrameError;
use crate::image::ImageError;
pub use kvm::KvmError;

/// A machine that could not be created or run. How a guest ends is not an error, see [`crate::ExitReason`].
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
    /// The kernel's command line is longer than kernels accept.
    #[error("kernel command line: {length} bytes; at most {max} fit, pass fewer kernel arguments")]
    CmdlineTooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that kernels accept.
        max: usize,
    },
    /// Less memory than any kernel boots with.
    #[error("guest memory: {mib} MiB for {topology}; at least {least} MiB are needed")]
    TooLittleMemory {
        /// What was asked for.
        mib: u32,
        /// The machine's shape.
        topology: Topology,
        /// What the machine needs.
        least: u32,
    },
    /// The backend cannot run this many CPUs in reasonable time: a reason to skip a test, not a failure.
    #[error("topology {topology} has {} CPUs; {backend} runs at most {max}, use KVM for more", topology.cpus())]
    TooLarge {
        /// The machine's shape.
        topology: Topology,
        /// The backend.
        backend: Backend,
        /// Most CPUs that it runs.
        max: u32,
    },
    /// The topology needs higher APIC ids than the backend's CPUs have: a reason to skip as well.
    #[error(
        "topology {topology} needs APIC ids up to {highest}; {backend} has ids up to 254, use KVM for more"
    )]
    ApicIds {
        /// The machine's shape.
        topology: Topology,
        /// The backend.
        backend: Backend,
        /// Highest APIC id that the topology needs.
        highest: u32,
    },
    /// The backend cannot place machines on host CPUs: a reason to skip as well.
    #[error("{0} cannot place a machine on host CPUs, as performance mode does; it needs KVM")]
    HostPlacement(Backend),
    /// A feature of emulated machines was asked for on another backend.
    #[error("{what} needs the qemu backend, and this machine runs on {backend}; choose qemu")]
    QemuOnly {
        /// What was asked for.
        what: &'static str,
        /// The backend.
        backend: Backend,
    },
    /// A directory cannot be shared with the guest.
    #[error("shared directory {path}: {why}; name a directory and a tag of letters and digits")]
    SharedDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The debugger's socket cannot be made there.
    #[error("debugger's socket {path}: {why}")]
    DebuggerSocket {
        /// Where it was to be.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The terminal's socket cannot be used.
    #[error("terminal {what}: {source}; {remedy}")]
    Terminal {
        /// The socket.
        what: String,
        /// What the system said.
        source: io::Error,
        /// What would help.
        remedy: &'static str,
    },
    /// The backend that was asked for is KVM, which does not work on this host.
    #[error("the kvm backend does not work here: {0}; use qemu, or name no backend")]
    KvmUnavailable(KvmAccess),
    /// QEMU is not installed.
    #[error("{program}: not found; run: {QEMU_INSTALL}")]
    QemuNotFound {
        /// What was looked for.
        program: PathBuf,
    },
    /// Neither backend works on this host.
    #[error("{kvm}, and {QEMU}: not found in PATH; run: {QEMU_INSTALL}")]
    NoBackend {
        /// Why not KVM.
        kvm: KvmAccess,
    },
    /// The backend's program could not be started.
    #[error("{program}: {source}; check that it can be executed")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call on the host failed, usually for want of a resource.
    #[error("{what}: {source}; check the host's limits on open files, processes and memory")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// KVM could not create or run it.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// The observer sent something that is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl MachineError {
    /// Wraps an error of a system call on the host; for `map_err`.
    pub(crate) fn host<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Host {
            what,
            source: source.into(),
        }
    }
}
