//! The initial registers of a vCPU.
//!
//! The first vCPU enters the kernel as the 64-bit boot protocol requires: in protected mode with paging and 64-bit
//! code. It starts the others, which need none of this.

use kvm_bindings::{kvm_fpu, kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::GuestMemoryMmap;

use super::layout::{BOOT_STACK, GDT, IDT, PML4, ZERO_PAGE};
use super::{msr, page_tables, segments};
use crate::error::KvmError;

// Intel SDM, volume 3, 2.5.
const CR0_PE: u64 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// The bit of RFLAGS that is always set.
pub(super) const RFLAGS: u64 = 1 << 1;

/// `EXTD` of `IA32_APIC_BASE` (Intel SDM, volume 3, 11.12.1).
const APIC_BASE_X2APIC: u64 = 1 << 10;

/// Writes into `memory` the tables that the registers of [`set_long_mode`] point to.
pub(super) fn write_tables(memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    page_tables::write(memory)?;
    segments::write(memory)
}

/// Sets the registers of the first vCPU to enter the kernel at `entry`.
pub(super) fn enter(vcpu: &VcpuFd, entry: u64) -> Result<(), KvmError> {
    let mut sregs = vcpu.get_sregs().map_err(KvmError::ioctl("KVM_GET_SREGS"))?;
    set_long_mode(&mut sregs);
    vcpu.set_sregs(&sregs)
        .map_err(KvmError::ioctl("KVM_SET_SREGS"))?;
    let regs = kvm_regs {
        rip: entry,
        rsi: ZERO_PAGE,
        rsp: BOOT_STACK,
        rbp: BOOT_STACK,
        rflags: RFLAGS,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs)
        .map_err(KvmError::ioctl("KVM_SET_REGS"))
}

/// Sets the reset state of every vCPU; `x2apic` if its local APIC starts in x2APIC mode.
///
/// Without x2APIC mode, Linux ignores ids above 254 in the firmware's tables (`acpi_parse_x2apic`).
pub(super) fn reset(vcpu: &VcpuFd, x2apic: bool) -> Result<(), KvmError> {
    if x2apic {
        let mut sregs = vcpu.get_sregs().map_err(KvmError::ioctl("KVM_GET_SREGS"))?;
        sregs.apic_base |= APIC_BASE_X2APIC;
        vcpu.set_sregs(&sregs)
            .map_err(KvmError::ioctl("KVM_SET_SREGS"))?;
    }
    let fpu = kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..kvm_fpu::default()
    };
    vcpu.set_fpu(&fpu).map_err(KvmError::ioctl("KVM_SET_FPU"))?;
    msr::reset(vcpu)
}

/// Sets 64-bit mode with the tables of [`write_tables`].
pub(super) fn set_long_mode(sregs: &mut kvm_sregs) {
    sregs.cs = segments::code();
    let data = segments::data();
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, segments::GDT_LIMIT);
    (sregs.idt.base, sregs.idt.limit) = (IDT, 7);
    sregs.cr0 |= CR0_PE | CR0_PG;
    sregs.cr3 = PML4;
    sregs.cr4 |= CR4_PAE;
    sregs.efer |= EFER_LME | EFER_LMA;
}
