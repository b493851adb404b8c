//! Creates the vCPUs of a machine.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::GuestMemoryMmap;

use super::cpu_ids::ApicIds;
use super::{cpuid, registers};
use crate::error::KvmError;

/// Creates the vCPUs: the first one at the kernel's `entry`, the others waiting for it to start them. Writes into
/// `memory` the tables that the first one needs to enter the kernel.
///
/// `realtime` tells the guest that its CPUs are never preempted for long.
pub(crate) fn create_all(
    kvm: &Kvm,
    vm: &VmFd,
    memory: &GuestMemoryMmap,
    ids: ApicIds,
    entry: u64,
    realtime: bool,
) -> Result<Vec<VcpuFd>, KvmError> {
    registers::write_tables(memory)?;
    let supported = supported_cpuid(kvm)?;
    let features = cpuid::Features {
        tsc_deadline: kvm.check_extension(Cap::TscDeadlineTimer),
        realtime,
    };
    let mut vcpus = Vec::new();
    for cpu in 0..ids.topology().cpus() {
        // KVM uses the id of a vCPU as its APIC id.
        let vcpu = create(vm, ids.id_of(cpu))?;
        let entries = cpuid::vcpu(supported.as_slice(), ids, cpu, features);
        let entries = CpuId::from_entries(&entries).map_err(KvmError::memory)?;
        vcpu.set_cpuid2(&entries)
            .map_err(KvmError::ioctl("KVM_SET_CPUID2"))?;
        registers::reset(&vcpu, ids.needs_x2apic())?;
        if cpu == 0 {
            registers::enter(&vcpu, entry)?;
        }
        vcpus.push(vcpu);
    }
    Ok(vcpus)
}

/// Creates a vCPU in KVM's initial state.
pub(super) fn create(vm: &VmFd, id: u32) -> Result<VcpuFd, KvmError> {
    vm.create_vcpu(u64::from(id))
        .map_err(KvmError::ioctl("KVM_CREATE_VCPU"))
}

/// The CPUID leaves that this host supports.
pub(super) fn supported_cpuid(kvm: &Kvm) -> Result<CpuId, KvmError> {
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(KvmError::ioctl("KVM_GET_SUPPORTED_CPUID"))
}
