//! The guest's memory: host memory, mapped where the guest expects it.
#![allow(unsafe_code)]

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use super::error::KvmError;
use super::layout::Ram;

/// Takes memory for `ram` from the host. Pages come into being when they are first touched.
pub(super) fn allocate(ram: &[Ram]) -> Result<GuestMemoryMmap, KvmError> {
    let ranges: Vec<(GuestAddress, usize)> = ram
        .iter()
        .map(|piece| (GuestAddress(piece.start), piece.size as usize))
        .collect();
    GuestMemoryMmap::from_ranges(&ranges).map_err(|error| KvmError::Memory(error.to_string()))
}

/// Shows it to the guest.
pub(super) fn register(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let host = region
            .get_host_address(vm_memory::MemoryRegionAddress(0))
            .map_err(|error| KvmError::Memory(error.to_string()))?;
        let piece = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: host as u64,
        };
        // SAFETY: the region is a mapping of exactly that size, which `memory` owns; whoever owns the VM keeps a
        // clone of `memory` until the VM is gone (`Running` in `vm.rs`, whose fields are dropped in that order).
        unsafe { vm.set_user_memory_region(piece) }
            .map_err(KvmError::ioctl("KVM_SET_USER_MEMORY_REGION"))?;
    }
    Ok(())
}
