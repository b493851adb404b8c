//! The layout of the guest's physical address space.
//!
//! ```text
//! 0x0000_0000  RAM: page tables, zero page and command line; ACPI tables in the last 128 KiB below 1 MiB
//! 0x0010_0000  RAM: the kernel; the initramfs at its end
//! 0xc000_0000  devices: virtio at 0xd000_0000, IOAPIC, local APICs
//! 0x1_0000_0000  RAM that does not fit below
//! ```

use ktstr_core::Topology;

// Before and after the zero page: tables for the kernel's entry, in memory that the kernel may overwrite once it has
// its own tables.

/// The segment descriptors (GDT).
pub(crate) const GDT: u64 = 0x500;

/// The interrupt descriptor table (IDT), which is empty.
pub(crate) const IDT: u64 = 0x520;

/// The zero page: `struct boot_params`.
pub(crate) const ZERO_PAGE: u64 = 0x7000;

/// The end of the stack at the kernel's entry.
pub(crate) const BOOT_STACK: u64 = 0x8ff0;

/// The page tables: one for each of the two upper levels, and the directory that maps the first GiB.
pub(crate) const PML4: u64 = 0x9000;
/// See [`PML4`].
pub(crate) const PDPT: u64 = 0xa000;
/// See [`PML4`].
pub(crate) const PAGE_DIRECTORY: u64 = 0xb000;

/// Address of the ACPI tables, the root pointer first: Linux looks for it here (`acpi_find_root_pointer`).
pub(crate) const ACPI_START: u64 = 0xe_0000;

/// The end of the space for ACPI tables.
pub(crate) const ACPI_END: u64 = 0x10_0000;

/// The start of memory above 1 MiB.
pub(crate) const HIGH_MEMORY: u64 = 0x10_0000;

/// The start of the device hole in RAM.
pub(crate) const DEVICES_START: u64 = 0xc000_0000;

/// The end of the device hole.
pub(crate) const DEVICES_END: u64 = 0x1_0000_0000;

/// The virtio console's registers.
pub(crate) const VIRTIO_MMIO: u64 = 0xd000_0000;

/// Size of a virtio device's registers.
pub(crate) const VIRTIO_MMIO_SIZE: u64 = 0x1000;

/// The IOAPIC pin of the virtio console's interrupt.
pub(crate) const VIRTIO_GSI: u32 = 5;

/// The first serial port.
pub(crate) const COM1: u16 = 0x3f8;

/// Its interrupt.
pub(crate) const COM1_GSI: u32 = 4;

/// Writing [`SLEEP_OFF`] here turns the machine off: the sleep control register of ACPI, 4.8.3.7.
pub(crate) const SLEEP_CONTROL_PORT: u16 = 0x600;

/// The sleep status register beside it.
pub(crate) const SLEEP_STATUS_PORT: u16 = 0x601;

/// Sleep type 5 and the enable bit, in their places in the sleep control register.
pub(crate) const SLEEP_OFF: u8 = 5 << 2 | 1 << 5;

/// Writing [`RESET_VALUE`] here resets the machine.
pub(crate) const RESET_PORT: u16 = 0x602;

/// See [`RESET_PORT`].
pub(crate) const RESET_VALUE: u8 = 1;

/// Physical address of the IOAPIC.
pub(crate) const IOAPIC: u64 = 0xfec0_0000;

/// Physical address of the local APICs.
pub(crate) const LOCAL_APIC: u64 = 0xfee0_0000;

/// A contiguous range of RAM, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ram {
    /// The NUMA node it belongs to.
    pub(crate) node: u32,
    /// Its start address.
    pub(crate) start: u64,
    /// Its size, which is never zero.
    pub(crate) size: u64,
}

/// The RAM of a machine, ordered by address: one node after the other, with a hole for the devices.
///
/// The first node gets the remainder of the division; a node across the hole has two ranges.
pub(crate) fn ram(topology: Topology, memory_mib: u32) -> Vec<Ram> {
    let nodes = topology.numa_nodes();
    let share = memory_mib / nodes;
    let mut pieces = Vec::new();
    let mut start = 0;
    for node in 0..nodes {
        let mib = if node == 0 {
            memory_mib - share * (nodes - 1)
        } else {
            share
        };
        let mut left = u64::from(mib) << 20;
        while left > 0 {
            if start == DEVICES_START {
                start = DEVICES_END;
            }
            let room = if start < DEVICES_START {
                DEVICES_START - start
            } else {
                u64::MAX
            };
            let size = left.min(room);
            pieces.push(Ram { node, start, size });
            start += size;
            left -= size;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(nodes: u32, mib: u32) -> Vec<(u32, u64, u64)> {
        let topology = Topology::constant(nodes, nodes, 2, 1);
        let pieces = ram(topology, mib).into_iter();
        pieces
            .map(|ram| (ram.node, ram.start >> 20, ram.size >> 20))
            .collect()
    }

    #[test]
    fn nodes_follow_each_other_and_leave_room_for_devices() {
        assert_eq!(pieces(1, 256), [(0, 0, 256)]);
        assert_eq!(
            pieces(4, 1023),
            [(0, 0, 258), (1, 258, 255), (2, 513, 255), (3, 768, 255)]
        );
        assert_eq!(
            pieces(2, 4096),
            [(0, 0, 2048), (1, 2048, 1024), (1, 4096, 1024)]
        );
        assert_eq!(pieces(2, 6144), [(0, 0, 3072), (1, 4096, 3072)]);
    }
}
