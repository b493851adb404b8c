//! What can go wrong with KVM.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

/// A machine that KVM could not make.
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
    /// Guest memory could not be had or reached.
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
    /// The machine cannot be described to the guest.
    #[error(transparent)]
    Acpi(#[from] super::acpi::AcpiError),
    /// The host does not grant a machine what performance mode is: a reason to skip.
    #[error("performance mode: {what}: {why}; run with --no-perf-mode, or {remedy}")]
    Performance {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        why: String,
        /// What would help.
        remedy: &'static str,
    },
    /// The machine cannot run on the host CPUs it shall run on.
    #[error("host CPUs {cpus}: {source}; see taskset -p and the cpuset of this process's cgroup")]
    Affinity {
        /// The CPUs.
        cpus: ktstr_core::CpuSet,
        /// What the system said.
        source: io::Error,
    },
    /// The thread of a vCPU ended before it could run the vCPU: a bug, and its message is on standard error.
    #[error(
        "the thread of vCPU {0} panicked before the machine started; report its message above as a bug"
    )]
    VcpuThread(usize),
    /// Something else of the host's failed.
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
    pub(super) fn ioctl(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |error| Self::Ioctl {
            call,
            source: io::Error::from_raw_os_error(error.errno()),
        }
    }

    /// Wraps an error of guest memory; for `map_err`.
    pub(super) fn memory(error: impl Display) -> Self {
        Self::Memory(error.to_string())
    }

    /// Wraps an error of the host's system; for `map_err`.
    pub(super) fn host(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { what, source }
    }
}
