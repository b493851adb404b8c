//! What a machine consists of.

use std::path::PathBuf;
use std::time::Duration;

use ktstr_core::Topology;

use crate::error::MachineError;
use crate::placement::HostPlacement;
use crate::terminal::Terminal;

/// Distance of a NUMA node to itself, as firmware tables count it (ACPI 6.5, 5.2.17).
pub(crate) const LOCAL_DISTANCE: u8 = 10;

/// Distance to every other node.
pub(crate) const REMOTE_DISTANCE: u8 = 20;

/// What a machine consists of: plain data, nothing is opened before [`crate::Machine::new`].
///
/// ```
/// use ktstr_core::Topology;
/// use ktstr_vmm::MachineSpec;
///
/// let spec = MachineSpec {
///     cmdline: vec!["nokaslr".to_owned()],
///     ..MachineSpec::new("/boot/vmlinuz", "1n2l2c2t".parse::<Topology>()?)
/// };
/// assert_eq!(spec.memory_mib, 512);
/// # Ok::<(), ktstr_core::ParseTopologyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The kernel: a bzImage, or an ELF `vmlinux` with a PVH entry.
    pub kernel: PathBuf,
    /// The initramfs, see [`crate::initramfs`]; the guest boots without one where this is `None`.
    pub initramfs: Option<PathBuf>,
    /// CPUs, caches and NUMA nodes as the guest sees them.
    pub topology: Topology,
    /// Guest memory in MiB; [`guest_memory_mib`] gives what a topology needs.
    pub memory_mib: u32,
    /// Timer frequency of the kernel (`CONFIG_HZ`), where it is known. Emulated machines then boot without calibrating
    /// the kernel's delay loop, which takes some 50 ms on each CPU but the first. On a busy host the calibration is also
    /// wrong: delays become too short by a factor of up to 600.
    pub kernel_hz: Option<u32>,
    /// Kernel arguments, one per entry; they follow those that every machine gets.
    pub cmdline: Vec<String>,
    /// Longest time from the start to the guest's first frame.
    pub boot_deadline: Duration,
    /// Longest time from the start to the end of the run, whether or not the guest responds.
    pub deadline: Duration,
    /// Whether the kernel prints all of its messages to the console; otherwise it is booted with `quiet`.
    pub verbose_console: bool,
    /// A terminal besides the console, which is output only: `hvc0` in the guest, on the virtio port
    /// [`crate::channel::TERMINAL_NAME`].
    pub terminal: Option<Terminal>,
    /// Host directories that the guest can mount. Only [`crate::Backend::Qemu`] supports them.
    pub shared_directories: Vec<SharedDirectory>,
    /// Path of a Unix socket to create, which gdb connects to with `target remote`. The machine does not wait for a
    /// debugger. Only [`crate::Backend::Qemu`] supports it.
    pub gdb: Option<PathBuf>,
    /// Which host CPUs it runs on. [`crate::Backend::Qemu`] accepts only [`HostPlacement::Unpinned`].
    pub host_placement: HostPlacement,
}

/// A host directory that the guest can mount read-only: file system `9p`, option `trans=virtio`, device `tag`. The guest
/// can read what the user who runs the machine can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDirectory {
    /// The name that the guest mounts it by: 1 to 31 of `A-Z`, `a-z`, `0-9`, `-` and `_`.
    pub tag: String,
    /// The directory.
    pub path: PathBuf,
}

impl SharedDirectory {
    /// Longest tag (`MAX_TAG_LEN` of QEMU, without its NUL).
    const MAX_TAG: usize = 31;

    pub(crate) fn check(&self) -> Result<(), MachineError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let is_tag =
            (1..=Self::MAX_TAG).contains(&self.tag.len()) && self.tag.chars().all(is_plain);
        let refuse = |why: String| MachineError::SharedDirectory {
            path: self.path.clone(),
            why,
        };
        if !is_tag {
            return Err(refuse(format!("`{}` is not a tag", self.tag)));
        }
        let metadata = self
            .path
            .metadata()
            .map_err(|error| refuse(error.to_string()))?;
        if !metadata.is_dir() {
            return Err(refuse("it is not a directory".to_owned()));
        }
        Ok(())
    }
}

/// Minimum memory of a machine, in MiB.
const MIN_MEMORY_MIB: u32 = 256;

/// Memory per CPU, in MiB.
const MEMORY_PER_CPU_MIB: u32 = 64;

/// Memory that the kernel uses before userspace starts, in MiB.
const KERNEL_MIB: u64 = 96;

impl MachineSpec {
    /// Creates a machine with the memory that its topology needs, two minutes to boot and ten minutes in total.
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
            terminal: None,
            shared_directories: Vec::new(),
            gdb: None,
            host_placement: HostPlacement::default(),
        }
    }
}

/// Guest memory in MiB: the largest of 64 per CPU, 256 and `wanted_mib`, raised so that an initramfs of
/// `initramfs_bytes` fits.
///
/// While the kernel unpacks an uncompressed initramfs both copies are in memory, and a root file system in memory may
/// take half of what the archive leaves. Many small files take more than their archive:
/// [`PackedInitramfs::unpacked_size`](crate::initramfs::PackedInitramfs::unpacked_size) counts that.
pub fn guest_memory_mib(topology: Topology, wanted_mib: u32, initramfs_bytes: u64) -> u32 {
    let initramfs_mib = initramfs_bytes.div_ceil(1 << 20);
    let to_unpack = if initramfs_mib == 0 {
        0
    } else {
        let needed = initramfs_mib.saturating_mul(3).saturating_add(KERNEL_MIB);
        // The kernel's page descriptors take 64 bytes for each page of 4096.
        needed.saturating_add(needed / 32)
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
    fn shared_directories_have_tags_that_mount_takes() {
        let of = |tag: &str, path: &str| {
            let shared = SharedDirectory {
                tag: tag.to_owned(),
                path: path.into(),
            };
            shared.check().map_err(|error| error.to_string())
        };
        assert_eq!(of("host-root_1", "/"), Ok(()));
        let long = "x".repeat(32);
        for tag in ["", "a,b", "a b", "ä", long.as_str()] {
            assert!(of(tag, "/").unwrap_err().contains("is not a tag"), "{tag}");
        }
        assert!(
            of("a", "/proc/version")
                .unwrap_err()
                .contains("not a directory")
        );
        assert!(of("a", "/no/such").unwrap_err().contains("No such file"));
    }

    #[test]
    fn memory_follows_cpus_wishes_and_the_initramfs() {
        let small = Topology::constant(1, 1, 2, 1);
        assert_eq!(guest_memory_mib(small, 0, 0), 256);
        assert_eq!(guest_memory_mib(small, 1000, 0), 1000);
        assert_eq!(guest_memory_mib(Topology::constant(1, 4, 4, 2), 0, 0), 2048);
        assert_eq!(guest_memory_mib(small, 0, 30 << 20), 256);
        assert_eq!(guest_memory_mib(small, 0, (100 << 20) - 1), 408);
        assert_eq!(guest_memory_mib(small, 0, u64::MAX), u32::MAX);
    }
}
