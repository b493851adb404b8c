//! Model-specific registers: their reset values, and access to those of a vCPU.

use kvm_bindings::{KVM_MAX_MSR_ENTRIES, Msrs, kvm_msr_entry};
use kvm_ioctls::{Kvm, VcpuFd};

use crate::error::KvmError;

// All memory is cached: the default type is write-back, and MTRRs are enabled (Intel SDM, volume 3, 12.11.2.1).
const MTRR_DEF_TYPE: u32 = 0x2ff;
const MTRR_ON_WRITE_BACK: u64 = 1 << 11 | 6;

/// The TSC deadline of the local APIC's timer.
const TSC_DEADLINE: u32 = 0x6e0;

/// Sets the registers that firmware sets.
pub(super) fn reset(vcpu: &VcpuFd) -> Result<(), KvmError> {
    write(vcpu, &[entry(MTRR_DEF_TYPE, MTRR_ON_WRITE_BACK)])
}

/// A register and its value.
pub(super) fn entry(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry {
        index,
        data,
        ..kvm_msr_entry::default()
    }
}

/// The registers of a vCPU's state, in the order in which they must be written.
pub(super) fn of_state(kvm: &Kvm) -> Result<Vec<u32>, KvmError> {
    let list = kvm
        .get_msr_index_list()
        .map_err(KvmError::ioctl("KVM_GET_MSR_INDEX_LIST"))?;
    let mut indices = list.as_slice().to_vec();
    // The TSC must be set before the deadline.
    indices.sort_by_key(|index| *index == TSC_DEADLINE);
    Ok(indices)
}

/// Reads `indices`.
pub(super) fn read(vcpu: &VcpuFd, indices: &[u32]) -> Result<Vec<kvm_msr_entry>, KvmError> {
    let mut values = Vec::with_capacity(indices.len());
    for chunk in indices.chunks(KVM_MAX_MSR_ENTRIES) {
        let entries: Vec<_> = chunk.iter().map(|index| entry(*index, 0)).collect();
        let mut msrs = Msrs::from_entries(&entries).map_err(KvmError::memory)?;
        let count = vcpu
            .get_msrs(&mut msrs)
            .map_err(KvmError::ioctl("KVM_GET_MSRS"))?;
        all_done("read", count, &entries)?;
        values.extend_from_slice(msrs.as_slice());
    }
    Ok(values)
}

/// Writes `values`.
pub(super) fn write(vcpu: &VcpuFd, values: &[kvm_msr_entry]) -> Result<(), KvmError> {
    for chunk in values.chunks(KVM_MAX_MSR_ENTRIES) {
        let msrs = Msrs::from_entries(chunk).map_err(KvmError::memory)?;
        let count = vcpu
            .set_msrs(&msrs)
            .map_err(KvmError::ioctl("KVM_SET_MSRS"))?;
        all_done("write", count, chunk)?;
    }
    Ok(())
}

/// KVM stops at the first register that it refuses, and returns the number of those before it.
fn all_done(what: &'static str, count: usize, entries: &[kvm_msr_entry]) -> Result<(), KvmError> {
    match entries.get(count) {
        None => Ok(()),
        Some(refused) => Err(KvmError::Msr {
            what,
            index: refused.index,
        }),
    }
}
