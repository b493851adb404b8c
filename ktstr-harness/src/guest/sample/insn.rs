//! BPF instructions: the few that ktstr needs.
//!
//! `Documentation/bpf/standardization/instruction-set.rst` of the kernel.

/// One instruction: `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Insn {
    code: u8,
    /// The destination in the low half, the source in the high.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The register that points behind the end of the stack.
pub(super) const FRAME: u8 = 10;

const fn insn(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Insn {
    Insn {
        code,
        registers: from << 4 | to,
        offset,
        immediate,
    }
}

/// `to = from`
pub(super) const fn copy(to: u8, from: u8) -> Insn {
    insn(0xbf, to, from, 0, 0)
}

/// `to = value`
pub(super) const fn set(to: u8, value: i32) -> Insn {
    insn(0xb7, to, 0, 0, value)
}

/// `to += value`
pub(super) const fn add(to: u8, value: i32) -> Insn {
    insn(0x07, to, 0, 0, value)
}

/// `to = value` of 64 bits: two instructions long.
pub(super) const fn set_wide(to: u8, value: u64) -> [Insn; 2] {
    wide(to, 0, value)
}

/// `to = &variable`, by its number in the kernel's type information: `BPF_PSEUDO_BTF_ID`.
pub(super) const fn variable(to: u8, id: u32) -> [Insn; 2] {
    wide(to, 3, id as u64)
}

const fn wide(to: u8, kind: u8, value: u64) -> [Insn; 2] {
    let (low, high) = (value as u32, (value >> 32) as u32);
    [
        insn(0x18, to, kind, 0, low.cast_signed()),
        insn(0, 0, 0, 0, high.cast_signed()),
    ]
}

/// `to = *(u32 *)(from + offset)`
pub(super) const fn load(to: u8, from: u8, offset: i16) -> Insn {
    insn(0x61, to, from, offset, 0)
}

/// `*(u32 *)(to + offset) = from`
pub(super) const fn store(to: u8, offset: i16, from: u8) -> Insn {
    insn(0x63, to, from, offset, 0)
}

/// `*(u64 *)(to + offset) = from`
pub(super) const fn store_wide(to: u8, offset: i16, from: u8) -> Insn {
    insn(0x7b, to, from, offset, 0)
}

/// Passes over `insns` where `register == value`.
pub(super) const fn skip_if_equal(register: u8, value: i32, insns: i16) -> Insn {
    insn(0x15, register, 0, insns, value)
}

/// Passes over `insns` where `register != value`.
pub(super) const fn skip_unless_equal(register: u8, value: i32, insns: i16) -> Insn {
    insn(0x55, register, 0, insns, value)
}

/// Calls a helper by its number: `___BPF_FUNC_MAPPER` in `include/uapi/linux/bpf.h`.
pub(super) const fn call(helper: i32) -> Insn {
    insn(0x85, 0, 0, 0, helper)
}

/// Returns register 0.
pub(super) const fn exit() -> Insn {
    insn(0x95, 0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_and_wide_values_are_where_the_kernel_looks() {
        assert_eq!(copy(6, 1).registers, 0x16);
        let [low, high] = set_wide(1, 0x1122_3344_5566_7788);
        assert_eq!((low.immediate, high.immediate), (0x5566_7788, 0x1122_3344));
        assert_eq!(variable(1, 7)[0].registers, 0x31);
        assert_eq!(size_of::<Insn>(), 8);
    }
}
