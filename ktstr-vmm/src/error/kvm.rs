//! Why KVM could not create or run a machine.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ktstr_core::{CpuSet, Topology};

/// A machine that KVM could not create or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// The device does not open.
    #[error("{path}: {source}; load kvm_intel or kvm_amd, and see that you may read and write it")]
    Open {
        /// The device.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call of KVM failed.
    #[error("{call}: {source}; check `dmesg` of the host")]
    Ioctl {
        /// Its name.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The host's KVM lacks something that machines need.
    #[error("KVM of this host has no {0}; it came with Linux 5.4 at the latest")]
    Missing(&'static str),
    /// Guest memory could not be allocated or accessed.
    #[error("guest memory: {0}; use less, or free some")]
    Memory(String),
    /// The kernel could not be loaded.
    #[error("kernel {path}: {why}; build or copy it again")]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Kernel and initramfs do not fit into the memory.
    #[error(
        "guest memory: the kernel and an initramfs of {bytes} bytes do not fit below 3 GiB; give it more"
    )]
    NoRoom {
        /// Size of the initramfs.
        bytes: u64,
    },
    /// The firmware tables of the machine do not fit: the distances between NUMA nodes alone are their number squared.
    #[error("ACPI tables of {topology}: {size} bytes where {max} fit; take fewer NUMA nodes")]
    FirmwareTables {
        /// The machine's shape.
        topology: Topology,
        /// Size of its tables in bytes.
        size: usize,
        /// The room for them in bytes.
        max: usize,
    },
    /// The host does not grant what performance mode needs: a reason to skip.
    #[error("performance mode: {what}: {why}; run without it, or {remedy}")]
    Performance {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        why: String,
        /// What would help.
        remedy: &'static str,
    },
    /// A thread of the machine cannot run on its host CPUs.
    #[error("host CPUs {cpus}: {source}; see taskset -p and the cpuset of this process's cgroup")]
    Affinity {
        /// The CPUs.
        cpus: CpuSet,
        /// What the system said.
        source: io::Error,
    },
    /// The thread of a vCPU panicked: a bug, whose message is on standard error.
    #[error("the thread of vCPU {0} panicked; report its message above as a bug")]
    VcpuThread(u32),
    /// The vCPU has exited: it takes no more commands.
    #[error("vCPU {0} has exited; the machine is about to end")]
    VcpuExited(u32),
    /// The vCPU did not take a command in time: its thread waits for the host.
    #[error("vCPU {cpu} did not react within {} s; read the guest's console, or end the machine", .limit.as_secs())]
    VcpuStuck {
        /// Its number.
        cpu: u32,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The state of a vCPU can be saved and set only while it is paused.
    #[error("vCPU {0} runs; pause it first")]
    VcpuNotPaused(u32),
    /// KVM lists a model-specific register that it does not read or write.
    #[error("KVM does not {what} MSR {index:#x}, which it lists; check `dmesg` of the host")]
    Msr {
        /// `read` or `write`.
        what: &'static str,
        /// The register's number.
        index: u32,
    },
    /// A system call on the host failed, usually for want of a resource.
    #[error("{what}: {source}; check the host's limits on open files, threads and memory")]
    Host {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl KvmError {
    /// Wraps an error of a KVM call; for `map_err`.
    pub(crate) fn ioctl(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |error| Self::Ioctl {
            call,
            source: io::Error::from_raw_os_error(error.errno()),
        }
    }

    /// Wraps an error of guest memory; for `map_err`.
    pub(crate) fn memory(error: impl Display) -> Self {
        Self::Memory(error.to_string())
    }

    /// Wraps an error of a system call on the host; for `map_err`.
    pub(crate) fn host(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { what, source }
    }
}
