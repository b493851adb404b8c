//! The host CPUs and the host memory of a machine.

use std::collections::BTreeSet;

use ktstr_core::CpuSet;

/// The host CPUs of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostPlacement {
    /// Any: the host's scheduler places the threads.
    #[default]
    Unpinned,
    /// All threads of the machine run on these CPUs, which others may use as well.
    Affinity(CpuSet),
    /// Each vCPU has a host CPU of its own: performance mode.
    Dedicated(Performance),
}

impl HostPlacement {
    /// The settings of performance mode, if the machine runs in it.
    pub fn performance(&self) -> Option<&Performance> {
        match self {
            Self::Dedicated(performance) => Some(performance),
            Self::Unpinned | Self::Affinity(_) => None,
        }
    }
}

/// Performance mode: the guest's CPUs behave like physical ones.
///
/// In addition, a guest that halts or spins does not exit to KVM, and CPUID says so (`KVM_HINTS_REALTIME`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performance {
    /// The host CPU that each vCPU is pinned to, in order of the guest's CPU numbers.
    pub vcpus: Vec<u32>,
    /// The host CPU for all other threads of the machine, including the one that runs it.
    pub emulator_cpu: u32,
    /// The host's NUMA nodes that the memory of each guest node is bound to; an empty set binds nothing.
    pub nodes: Vec<BTreeSet<u32>>,
    /// Whether to back guest memory with 2 MiB pages. If too few are free, transparent huge pages are requested, and
    /// [`crate::MachineExit::diagnostics`] says so. A memory region of an odd number of MiB gets none.
    pub hugepages: bool,
    /// `SCHED_FIFO` priority of the vCPU threads, 1 to 99.
    pub priority: u8,
}
