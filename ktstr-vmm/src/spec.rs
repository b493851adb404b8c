//! What a machine is made of.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ktstr_core::{CpuSet, Topology};

use crate::terminal::Terminal;

/// Distance of a NUMA node to itself, as firmware tables count it (ACPI 6.5, 5.2.17).
pub(crate) const LOCAL_DISTANCE: u8 = 10;

/// Distance to every other node.
pub(crate) const REMOTE_DISTANCE: u8 = 20;

/// A machine to be run: plain data, nothing is opened before [`crate::Machine::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The kernel: a bzImage, or an ELF `vmlinux` with a PVH entry.
    pub kernel: PathBuf,
    /// The initramfs, see [`crate::Initramfs`].
    pub initramfs: Option<PathBuf>,
    /// CPUs, caches and NUMA nodes as the guest shall see them.
    pub topology: Topology,
    /// Guest memory in MiB; [`guest_memory_mib`] gives what a topology needs.
    pub memory_mib: u32,
    /// Timer frequency the kernel was configured with (`CONFIG_HZ`), where it is known. It spares every
    /// CPU but the first some 50 ms of calibration under emulation.
    pub kernel_hz: Option<u32>,
    /// Kernel arguments after the defaults, one per entry.
    pub cmdline: Vec<String>,
    /// From the start to the guest's first frame.
    pub boot_deadline: Duration,
    /// From the start to the end, whatever happens.
    pub deadline: Duration,
    /// Whether the kernel shows everything it has to say, not just trouble.
    pub verbose_console: bool,
    /// How emulation uses host threads; other back ends ignore it.
    pub emulation: Emulation,
    /// A terminal beside the console that is only read: `hvc0` in the guest, whose port has the name
    /// [`crate::channel::TERMINAL_NAME`].
    pub terminal: Option<Terminal>,
    /// What of the host it runs on. Back ends other than KVM refuse anything but the default.
    pub host: HostShare,
    /// The QEMU to use: a path, or a name to be found in `PATH`; other back ends ignore it. With an
    /// absolute path, such as [`crate::Probe`] gives, its faster firmware is found too.
    pub qemu: PathBuf,
}

/// How emulation uses the host's CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Emulation {
    /// All guest CPUs take turns on one host thread.
    #[default]
    SingleThreaded,
    /// A host thread per guest CPU. It loses races in the kernel's code patching: kernels panic now and then
    /// for no fault of theirs.
    MultiThreaded,
}

/// What of the host a machine runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostShare {
    /// Wherever the host's scheduler puts its threads.
    #[default]
    Anywhere,
    /// On these CPUs.
    Within(CpuSet),
    /// On CPUs that are its own: performance mode.
    Alone(Performance),
}

/// Performance mode: the guest's CPUs behave like hardware of its own.
///
/// Beside what is said here, KVM takes no exit for a guest that halts or spins, and the guest is told so
/// (`KVM_HINTS_REALTIME`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performance {
    /// The host CPU that each vCPU is pinned to.
    pub vcpus: Vec<u32>,
    /// The host CPU for all other threads of the machine, and for the one that runs it.
    pub service: u32,
    /// The host's NUMA nodes that the memory of each of the guest's is bound to; an empty set binds nothing.
    pub nodes: Vec<BTreeSet<u32>>,
    /// Whether guest memory shall be of 2 MiB pages. Where none are free the kernel is asked for transparent ones, and
    /// [`crate::MachineExit::diagnostics`] says so. Pieces of memory whose size is odd in MiB have none.
    pub hugepages: bool,
    /// Priority of the vCPU threads under `SCHED_FIFO`, 1 to 99.
    pub priority: u8,
}

/// Least memory of any machine, in MiB.
const MIN_MEMORY_MIB: u32 = 256;

/// Memory per CPU, in MiB.
const MEMORY_PER_CPU_MIB: u32 = 64;

/// What a kernel takes before userspace has anything, in MiB.
const KERNEL_MIB: u64 = 96;

impl MachineSpec {
    /// A machine with the memory its topology needs, two minutes to boot and ten to live.
    pub fn new(kernel: impl Into<PathBuf>, topology: Topology) -> Self {
        Self {
            kernel: kernel.into(),
            initramfs: None,
            topology,
            memory_mib: guest_memory_mib(topology, 0, 0),
            kernel_hz: None,
            cmdline: Vec::new(),
            boot_deadline: Duration::from_secs(120),
            deadline: Duration::from_secs(600),
            verbose_console: false,
            emulation: Emulation::default(),
            terminal: None,
            host: HostShare::default(),
            qemu: PathBuf::from("qemu-system-x86_64"),
        }
    }
}

/// Guest memory in MiB: the largest of 64 per CPU, 256 and `wanted_mib`, raised so that an initramfs of
/// `initramfs_bytes` fits.
///
/// While the kernel unpacks an uncompressed initramfs both copies are in memory, and a root file system
/// in memory may take half of it.
pub fn guest_memory_mib(topology: Topology, wanted_mib: u32, initramfs_bytes: u64) -> u32 {
    let initramfs_mib = initramfs_bytes.div_ceil(1 << 20);
    let to_unpack = if initramfs_mib == 0 {
        0
    } else {
        initramfs_mib.saturating_mul(3).saturating_add(KERNEL_MIB)
    };
    (MEMORY_PER_CPU_MIB * topology.cpus())
        .max(MIN_MEMORY_MIB)
        .max(wanted_mib)
        .max(u32::try_from(to_unpack).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_cpus_wishes_and_the_initramfs() {
        let small = Topology::constant(1, 1, 2, 1);
        assert_eq!(guest_memory_mib(small, 0, 0), 256);
        assert_eq!(guest_memory_mib(small, 1000, 0), 1000);
        assert_eq!(guest_memory_mib(Topology::constant(1, 4, 4, 2), 0, 0), 2048);
        assert_eq!(guest_memory_mib(small, 0, 30 << 20), 256);
        assert_eq!(guest_memory_mib(small, 0, (100 << 20) - 1), 396);
        assert_eq!(guest_memory_mib(small, 0, u64::MAX), u32::MAX);
    }
}
