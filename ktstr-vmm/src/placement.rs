//! Which host CPUs and host memory a machine runs on.

use std::collections::BTreeSet;

use ktstr_core::CpuSet;

/// Which host CPUs a machine runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostPlacement {
    /// Wherever the host's scheduler puts its threads.
    #[default]
    Unpinned,
    /// All of its threads on these CPUs, which others may use too.
    Affinity(CpuSet),
    /// Each vCPU on a host CPU of its own: performance mode.
    Dedicated(Performance),
}

impl HostPlacement {
    /// The terms of performance mode, where the machine runs in it.
    pub fn performance(&self) -> Option<&Performance> {
        match self {
            Self::Dedicated(performance) => Some(performance),
            Self::Unpinned | Self::Affinity(_) => None,
        }
    }
}

/// Performance mode: the guest's CPUs behave like hardware of its own.
///
/// Besides what is given here, a guest that halts or spins does not exit to KVM, and is told so
/// (`KVM_HINTS_REALTIME`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performance {
    /// The host CPU that each vCPU is pinned to, in order of the guest's CPU numbers.
    pub vcpus: Vec<u32>,
    /// The host CPU for all other threads of the machine, and for the one that runs it.
    pub emulator_cpu: u32,
    /// The host's NUMA nodes that the memory of each of the guest's nodes is bound to; an empty set binds nothing.
    pub nodes: Vec<BTreeSet<u32>>,
    /// Whether guest memory is to consist of 2 MiB pages. Where too few are free, transparent huge pages are requested
    /// and [`crate::MachineExit::diagnostics`] says so. Memory regions of an odd number of MiB get none.
    pub hugepages: bool,
    /// Priority of the vCPU threads under `SCHED_FIFO`, 1 to 99.
    pub priority: u8,
}
