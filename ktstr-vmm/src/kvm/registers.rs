//! The state in which a processor enters the kernel.
//!
//! Protected mode with paging and 64 bit code, as the 64-bit boot protocol wants it; the other processors start by
//! the first one's word and need none of this.

use kvm_bindings::{Msrs, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::GuestMemoryMmap;

use super::boot::ZERO_PAGE;
use super::error::KvmError;
use super::memory;

// Below the zero page and behind it, all of it memory that the kernel may overwrite once it has tables of its own.
const GDT: u64 = 0x500;
const IDT: u64 = 0x520;
const PML4: u64 = 0x9000;
const PDPT: u64 = 0xa000;
const PAGE_DIRECTORIES: u64 = 0xb000;
const STACK: u64 = 0x8ff0;

/// Gigabytes that are mapped one to one, with pages of 2 MiB.
const MAPPED_GIB: u64 = 1;

// Intel SDM, volume 3, 2.5 and 4.5; bits of the entries of page tables.
const CR0_PE: u64 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 1 << 7;

/// Selectors of the boot protocol: `__BOOT_CS`, `__BOOT_DS`.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;

/// `EXTD` of `IA32_APIC_BASE` (Intel SDM, volume 3, 11.12.1).
const APIC_BASE_X2APIC: u64 = 1 << 10;

// All memory is cached: the type is write-back, and the registers are on (Intel SDM, volume 3, 12.11.2.1).
const MTRR_DEF_TYPE: u32 = 0x2ff;
const MTRR_ON_WRITE_BACK: u64 = 1 << 11 | 6;

/// Types of segments: code that was executed and may be read, data that was accessed and may be written.
const CODE: u8 = 0xb;
const DATA: u8 = 0x3;

/// Writes descriptor and page tables into `memory`.
pub(super) fn write_tables(memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    let write = |values: &[u64], at: u64| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        memory::write(memory, &bytes, at)
    };
    write(&[PDPT | PRESENT_WRITABLE], PML4)?;
    for gib in 0..MAPPED_GIB {
        let directory = PAGE_DIRECTORIES + gib * 0x1000;
        write(&[directory | PRESENT_WRITABLE], PDPT + gib * 8)?;
        let pages = (0..512).map(|page| (gib << 30) + (page << 21));
        let entries: Vec<u64> = pages
            .map(|address| address | PRESENT_WRITABLE | LARGE_PAGE)
            .collect();
        write(&entries, directory)?;
    }
    for segment in [segment(BOOT_CS, CODE), segment(BOOT_DS, DATA)] {
        write(&[descriptor(&segment)], GDT + u64::from(segment.selector))?;
    }
    write(&[0], IDT)
}

/// Has the first processor enter at `entry`.
pub(super) fn enter(vcpu: &VcpuFd, entry: u64) -> Result<(), KvmError> {
    let mut sregs = vcpu.get_sregs().map_err(KvmError::ioctl("KVM_GET_SREGS"))?;
    set_long_mode(&mut sregs);
    vcpu.set_sregs(&sregs)
        .map_err(KvmError::ioctl("KVM_SET_SREGS"))?;
    let regs = kvm_regs {
        rip: entry,
        rsi: ZERO_PAGE,
        rsp: STACK,
        rbp: STACK,
        // The bit that is always set.
        rflags: 2,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs)
        .map_err(KvmError::ioctl("KVM_SET_REGS"))
}

/// What every processor has after its reset; `x2apic` for one whose local APIC has a wide id from the start.
///
/// Linux passes over ids above 254 in firmware's tables otherwise (`acpi_parse_x2apic`).
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
    let msrs = [kvm_msr_entry {
        index: MTRR_DEF_TYPE,
        data: MTRR_ON_WRITE_BACK,
        ..kvm_msr_entry::default()
    }];
    let msrs = Msrs::from_entries(&msrs).map_err(|error| KvmError::Memory(format!("{error:?}")))?;
    vcpu.set_msrs(&msrs)
        .map(drop)
        .map_err(KvmError::ioctl("KVM_SET_MSRS"))
}

/// 64 bit code, everything mapped by [`write_tables`].
pub(super) fn set_long_mode(sregs: &mut kvm_sregs) {
    sregs.cs = segment(BOOT_CS, CODE);
    let data = segment(BOOT_DS, DATA);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, BOOT_DS + 7);
    (sregs.idt.base, sregs.idt.limit) = (IDT, 7);
    sregs.cr0 |= CR0_PE | CR0_PG;
    sregs.cr3 = PML4;
    sregs.cr4 |= CR4_PAE;
    sregs.efer |= EFER_LME | EFER_LMA;
}

/// A flat segment of 4 GiB.
fn segment(selector: u16, kind: u8) -> kvm_segment {
    let is_code = u8::from(kind == CODE);
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_: kind,
        present: 1,
        dpl: 0,
        // Of 32 bits; code has 64.
        db: 1 - is_code,
        // Code or data, not of the system's.
        s: 1,
        l: is_code,
        // Limits count pages.
        g: 1,
        avl: 0,
        unusable: 0,
        padding: 0,
    }
}

/// An entry of the interrupt table that leads to `handler`, with interrupts off (Intel SDM, volume 3, 6.14.1).
pub(super) fn interrupt_gate(handler: u64) -> [u8; 16] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e;
    let low = handler & 0xffff
        | u64::from(BOOT_CS) << 16
        | PRESENT_INTERRUPT_GATE << 40
        | (handler >> 16 & 0xffff) << 48;
    let mut gate = [0; 16];
    gate[..8].copy_from_slice(&low.to_le_bytes());
    gate[8..12].copy_from_slice(&((handler >> 32) as u32).to_le_bytes());
    gate
}

/// The same as an entry of the GDT (Intel SDM, volume 3, 3.4.5).
fn descriptor(segment: &kvm_segment) -> u64 {
    let limit: u64 = 0xf_ffff;
    let flags = u64::from(segment.type_)
        | u64::from(segment.s) << 4
        | u64::from(segment.dpl) << 5
        | u64::from(segment.present) << 7
        | u64::from(segment.l) << 13
        | u64::from(segment.db) << 14
        | u64::from(segment.g) << 15;
    (limit & 0xf_0000) << 32 | flags << 40 | limit & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_the_boot_protocol() {
        // `boot_gdt` of the kernel's arch/x86/boot/pm.c, with the accessed bit, and 64 bit code.
        assert_eq!(descriptor(&segment(BOOT_CS, CODE)), 0x00af_9b00_0000_ffff);
        assert_eq!(descriptor(&segment(BOOT_DS, DATA)), 0x00cf_9300_0000_ffff);
    }
}
