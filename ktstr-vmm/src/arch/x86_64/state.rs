//! The complete state of a vCPU, for snapshots.
//!
//! It is only that of the vCPU: memory, the IOAPIC, the guest's clock and devices belong to the machine. It does not
//! include nested virtualization (`KVM_GET_NESTED_STATE`).
#![allow(unsafe_code)]
#![cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "snapshots come next; until then only tests save vCPUs"
    )
)]

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry,
    kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};

use super::msr;
use crate::error::KvmError;

/// The MSRs that are part of a vCPU's state on this host, as KVM lists them.
#[derive(Debug)]
pub(crate) struct RegisterList {
    msrs: Vec<u32>,
}

impl RegisterList {
    /// Asks KVM.
    pub(crate) fn read(kvm: &Kvm) -> Result<Self, KvmError> {
        let msrs = msr::of_state(kvm)?;
        Ok(Self { msrs })
    }
}

/// The state of a vCPU between two instructions.
#[derive(Debug)]
pub(crate) struct VcpuState {
    cpuid: CpuId,
    tsc_khz: u32,
    mp_state: kvm_mp_state,
    pub(crate) regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: kvm_xsave,
    xcrs: kvm_xcrs,
    debug_regs: kvm_debugregs,
    lapic: kvm_lapic_state,
    msrs: Vec<kvm_msr_entry>,
    events: kvm_vcpu_events,
}

impl VcpuState {
    /// Saves the state of `vcpu`. Its thread must have left the guest without pending I/O: the last `KVM_RUN` returned
    /// `EINTR`.
    pub(crate) fn save(vcpu: &VcpuFd, list: &RegisterList) -> Result<Self, KvmError> {
        // This comes first: KVM then applies pending INIT and SIPI, which changes the rest.
        let mp_state = vcpu
            .get_mp_state()
            .map_err(KvmError::ioctl("KVM_GET_MP_STATE"))?;
        let regs = vcpu.get_regs().map_err(KvmError::ioctl("KVM_GET_REGS"))?;
        let sregs = vcpu.get_sregs().map_err(KvmError::ioctl("KVM_GET_SREGS"))?;
        // It fails if the state is larger than the structure.
        let xsave = vcpu.get_xsave().map_err(KvmError::ioctl("KVM_GET_XSAVE"))?;
        let xcrs = vcpu.get_xcrs().map_err(KvmError::ioctl("KVM_GET_XCRS"))?;
        let debug_regs = vcpu
            .get_debug_regs()
            .map_err(KvmError::ioctl("KVM_GET_DEBUGREGS"))?;
        let lapic = vcpu.get_lapic().map_err(KvmError::ioctl("KVM_GET_LAPIC"))?;
        let tsc_khz = vcpu
            .get_tsc_khz()
            .map_err(KvmError::ioctl("KVM_GET_TSC_KHZ"))?;
        let cpuid = vcpu
            .get_cpuid2(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::ioctl("KVM_GET_CPUID2"))?;
        let msrs = msr::read(vcpu, &list.msrs)?;
        // This comes last, as the calls above may leave an event pending.
        let events = vcpu
            .get_vcpu_events()
            .map_err(KvmError::ioctl("KVM_GET_VCPU_EVENTS"))?;
        Ok(Self {
            cpuid,
            tsc_khz,
            mp_state,
            regs,
            sregs,
            xsave,
            xcrs,
            debug_regs,
            lapic,
            msrs,
            events,
        })
    }

    /// Restores this state to `vcpu` of `vm`, which has the same APIC id and has not run yet.
    pub(crate) fn restore(&self, vm: &VmFd, vcpu: &VcpuFd) -> Result<(), KvmError> {
        // CPUID says which registers exist.
        vcpu.set_cpuid2(&self.cpuid)
            .map_err(KvmError::ioctl("KVM_SET_CPUID2"))?;
        vcpu.set_tsc_khz(self.tsc_khz)
            .map_err(KvmError::ioctl("KVM_SET_TSC_KHZ"))?;
        vcpu.set_mp_state(self.mp_state)
            .map_err(KvmError::ioctl("KVM_SET_MP_STATE"))?;
        vcpu.set_regs(&self.regs)
            .map_err(KvmError::ioctl("KVM_SET_REGS"))?;
        vcpu.set_sregs(&self.sregs)
            .map_err(KvmError::ioctl("KVM_SET_SREGS"))?;
        // XCR0 says which parts of the XSAVE state exist.
        vcpu.set_xcrs(&self.xcrs)
            .map_err(KvmError::ioctl("KVM_SET_XCRS"))?;
        self.restore_xsave(vm, vcpu)?;
        vcpu.set_debug_regs(&self.debug_regs)
            .map_err(KvmError::ioctl("KVM_SET_DEBUGREGS"))?;
        // Its base address is in `sregs`. The timer's deadline is an MSR, which requires the APIC's mode.
        vcpu.set_lapic(&self.lapic)
            .map_err(KvmError::ioctl("KVM_SET_LAPIC"))?;
        msr::write(vcpu, &self.msrs)?;
        // This comes last, as setting registers clears pending exceptions.
        vcpu.set_vcpu_events(&self.events)
            .map_err(KvmError::ioctl("KVM_SET_VCPU_EVENTS"))
    }

    fn restore_xsave(&self, vm: &VmFd, vcpu: &VcpuFd) -> Result<(), KvmError> {
        // 0 if KVM does not know the capability: then it reads only the structure.
        let size = vm.check_extension_int(Cap::Xsave2);
        if usize::try_from(size).unwrap_or(0) > size_of::<kvm_xsave>() {
            return Err(KvmError::Missing("FPU state of 4096 bytes at most"));
        }
        // SAFETY: KVM reads as many bytes as the capability says, and the structure has them.
        unsafe { vcpu.set_xsave(&self.xsave) }.map_err(KvmError::ioctl("KVM_SET_XSAVE"))
    }
}
