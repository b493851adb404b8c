//! The segments at the kernel's entry, in registers and in descriptor tables.

use kvm_bindings::kvm_segment;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::layout::{GDT, IDT};
use crate::error::KvmError;

/// Selectors of the boot protocol: `__BOOT_CS`, `__BOOT_DS`.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;

/// The limit of a GDT whose last entry is that of [`BOOT_DS`].
pub(super) const GDT_LIMIT: u16 = BOOT_DS + 7;

/// Segment types: code that is readable and accessed, data that is writable and accessed.
const CODE: u8 = 0xb;
const DATA: u8 = 0x3;

/// Writes the descriptor tables into `memory`; the IDT is empty.
pub(super) fn write(memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    let write = |value: u64, at: u64| {
        memory
            .write_slice(&value.to_le_bytes(), GuestAddress(at))
            .map_err(KvmError::memory)
    };
    for segment in [code(), data()] {
        write(descriptor(&segment), GDT + u64::from(segment.selector))?;
    }
    write(0, IDT)
}

/// 64-bit code.
pub(super) fn code() -> kvm_segment {
    segment(BOOT_CS, CODE)
}

/// Data.
pub(super) fn data() -> kvm_segment {
    segment(BOOT_DS, DATA)
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
        // 32-bit; code is 64-bit.
        db: 1 - is_code,
        // Code or data, not a system segment.
        s: 1,
        l: is_code,
        // Limits count pages.
        g: 1,
        avl: 0,
        unusable: 0,
        padding: 0,
    }
}

/// An entry of the IDT: an interrupt gate to `handler` (Intel SDM, volume 3, 6.14.1).
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

/// A segment as an entry of the GDT (Intel SDM, volume 3, 3.4.5).
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
        assert_eq!(descriptor(&code()), 0x00af_9b00_0000_ffff);
        assert_eq!(descriptor(&data()), 0x00cf_9300_0000_ffff);
    }
}
