//! Guest memory: host memory, mapped at guest physical addresses.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

use crate::arch::layout::Ram;
use crate::error::KvmError;

/// Size of a huge page.
const HUGE: usize = 2 << 20;

/// Requirements for guest memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MemoryPolicy<'a> {
    /// Back it with 2 MiB pages.
    pub(super) hugepages: bool,
    /// The host nodes that each guest node is bound to. A guest node without an entry, or with an empty one, is not
    /// bound.
    pub(super) nodes: &'a [BTreeSet<u32>],
}

/// Guest memory, and where it deviates from the policy.
#[derive(Debug)]
pub(super) struct Allocated {
    pub(super) memory: GuestMemoryMmap,
    pub(super) note: Option<String>,
}

/// Allocates memory for `ram`. The kernel allocates its pages at the first access, as transparent huge pages if the
/// host provides them.
pub(super) fn allocate(ram: &[Ram]) -> Result<GuestMemoryMmap, KvmError> {
    allocate_as(ram, MemoryPolicy::default()).map(|allocated| allocated.memory)
}

/// Like [`allocate`], as close to `policy` as the host allows. Huge pages are allocated immediately, or not at all.
pub(super) fn allocate_as(ram: &[Ram], policy: MemoryPolicy<'_>) -> Result<Allocated, KvmError> {
    let mut note = None;
    let mut regions = Vec::with_capacity(ram.len());
    for piece in ram {
        let none = BTreeSet::new();
        let nodes = policy.nodes.get(piece.node as usize).unwrap_or(&none);
        let size = piece.size as usize;
        let huge = if policy.hugepages {
            huge(size, nodes)?
        } else {
            None
        };
        let mapping = if let Some(mapping) = huge {
            mapping
        } else {
            let mapping = map(size, libc::MAP_NORESERVE).map_err(KvmError::memory)?;
            bind(&mapping, nodes)?;
            // Transparent huge pages cause fewer page faults in host and guest. Most hosts require this advice for
            // them.
            let asked = advise(&mapping, libc::MADV_HUGEPAGE);
            if policy.hugepages {
                note.get_or_insert_with(|| not_huge(asked.err()));
            }
            mapping
        };
        let region = GuestRegionMmap::new(mapping, GuestAddress(piece.start));
        regions.push(region.ok_or_else(|| KvmError::Memory("it ends beyond any address".into()))?);
    }
    let memory = GuestMemoryMmap::from_regions(regions).map_err(KvmError::memory)?;
    Ok(Allocated { memory, note })
}

fn not_huge(error: Option<io::Error>) -> String {
    let instead = match error {
        None => "transparent ones were asked for".to_owned(),
        Some(error) => format!("and none transparently: {error}"),
    };
    format!(
        "guest memory has too few free 2 MiB pages on its nodes, {instead}; reserve some by vm.nr_hugepages"
    )
}

/// A mapping of huge pages, all of them allocated and on `nodes`; `None` if too few are free.
fn huge(size: usize, nodes: &BTreeSet<u32>) -> Result<Option<MmapRegion>, KvmError> {
    // The kernel would not unmap it.
    if !size.is_multiple_of(HUGE) {
        return Ok(None);
    }
    let Ok(mapping) = map(size, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB) else {
        return Ok(None);
    };
    bind(&mapping, nodes)?;
    // Reserved pages may be on other nodes, and an access to them would raise SIGBUS. This call fails instead.
    let filled = advise(&mapping, libc::MADV_POPULATE_WRITE);
    Ok(filled.is_ok().then_some(mapping))
}

fn map(size: usize, flags: i32) -> Result<MmapRegion, MmapRegionError> {
    MmapRegionBuilder::new(size)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_ANONYMOUS | libc::MAP_PRIVATE | flags)
        .build()
}

fn advise(mapping: &MmapRegion, advice: i32) -> io::Result<()> {
    // SAFETY: the range is a mapping that `mapping` owns, and none of these advices changes what it holds.
    let code = unsafe { libc::madvise(mapping.as_ptr().cast(), mapping.size(), advice) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Binds the pages of `mapping` to the host nodes `nodes` by `mbind`.
fn bind(mapping: &MmapRegion, nodes: &BTreeSet<u32>) -> Result<(), KvmError> {
    let Some(&highest) = nodes.last() else {
        return Ok(());
    };
    let mut mask = vec![0_u64; highest as usize / 64 + 1];
    for node in nodes {
        mask[*node as usize / 64] |= 1 << (node % 64);
    }
    // SAFETY: the range is a mapping that `mapping` owns; the kernel reads the mask, which has one bit less than
    // `maxnode` says (`get_nodes` in mm/mempolicy.c subtracts one).
    let code = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            mapping.as_ptr(),
            mapping.size(),
            libc::MPOL_BIND,
            mask.as_ptr(),
            mask.len() * 64 + 1,
            0,
        )
    };
    if code == 0 {
        return Ok(());
    }
    Err(KvmError::Performance {
        what: "binding guest memory to its NUMA nodes (mbind)",
        why: io::Error::last_os_error().to_string(),
        remedy: "allow the nodes in the cpuset of this process's cgroup",
    })
}

/// Maps the memory into the guest.
pub(super) fn register(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let host = region
            .get_host_address(vm_memory::MemoryRegionAddress(0))
            .map_err(KvmError::memory)?;
        let piece = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: host as u64,
        };
        // SAFETY: the region is a mapping of exactly that size, which `memory` owns; whoever owns the VM keeps a
        // clone of `memory` until the VM is gone (`KvmMachine` in `vm.rs`, whose fields are dropped in that order).
        unsafe { vm.set_user_memory_region(piece) }
            .map_err(KvmError::ioctl("KVM_SET_USER_MEMORY_REGION"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram(sizes: &[u64]) -> Vec<Ram> {
        let mut start = 0;
        let piece = |&size| {
            let ram = Ram {
                node: 0,
                start,
                size,
            };
            start += size;
            ram
        };
        sizes.iter().map(piece).collect()
    }

    /// The value of the line `name:`, in kB, for the mapping of the first region of `memory`.
    fn kib_of(memory: &GuestMemoryMmap, name: &str) -> u64 {
        let region = memory.iter().next().unwrap();
        let at = region.get_host_address(vm_memory::MemoryRegionAddress(0));
        let start = format!("{:x}-", at.unwrap() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (_, ours) = maps.split_once(&format!("\n{start}")).unwrap();
        let line = ours.lines().find(|line| line.starts_with(name)).unwrap();
        let value = line.split_whitespace().nth(1).unwrap();
        value.parse().unwrap()
    }

    #[test]
    fn huge_pages_are_there_or_it_is_said() {
        let odd = (HUGE + (1 << 20)) as u64;
        for sizes in [vec![2 * HUGE as u64], vec![odd]] {
            let policy = MemoryPolicy {
                hugepages: true,
                nodes: &[],
            };
            let Allocated { memory, note } = allocate_as(&ram(&sizes), policy).unwrap();
            let page = kib_of(&memory, "KernelPageSize:");
            match note {
                None => assert_eq!(page, 2048),
                Some(note) => {
                    assert_eq!(page, 4);
                    assert!(note.contains("vm.nr_hugepages"), "{note}");
                }
            }
            assert!(page == 4 || sizes[0] != odd);
        }
    }

    #[test]
    fn memory_is_bound_to_nodes_that_are_there() {
        let policy = |nodes| MemoryPolicy {
            hugepages: false,
            nodes,
        };
        let nodes = [BTreeSet::from([0])];
        match allocate_as(&ram(&[1 << 20]), policy(&nodes)) {
            Ok(allocated) => assert_eq!(allocated.memory.num_regions(), 1),
            // A kernel without NUMA.
            Err(error) => assert!(error.to_string().contains("not implemented"), "{error}"),
        }
        let nodes = [BTreeSet::from([1000])];
        let error = allocate_as(&ram(&[1 << 20]), policy(&nodes)).unwrap_err();
        assert!(error.to_string().contains("mbind"), "{error}");
        // Memory without an entry is not bound.
        assert!(allocate_as(&ram(&[1 << 20]), policy(&[])).is_ok());
    }
}
