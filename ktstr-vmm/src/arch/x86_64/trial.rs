//! A guest that executes instructions at which incomplete virtualization fails.
//!
//! `/dev/kvm` may open, create VMs and run small guests although it cannot run a kernel: in a VM whose hypervisor
//! interprets nested guests. These are the instructions at which unmodified kernels crash there.

use kvm_bindings::kvm_regs;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::layout::{Ram, SLEEP_CONTROL_PORT, SLEEP_OFF};
use super::{registers, segments, vcpu};
use crate::error::KvmError;
use crate::hypervisor::MachineEnd;

/// The guest's memory.
pub(crate) const RAM: [Ram; 1] = [Ram {
    node: 0,
    start: 0,
    size: 1 << 20,
}];

const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x1_1000;
const HANDLER: u64 = 0x1_3000;
const IDT: u64 = 0x1_4000;
const STACK: u64 = 0x1_8000;

/// `OSFXSR`, `OSXMMEXCPT` and `OSXSAVE` of CR4.
const CR4_VECTORS: u64 = 1 << 9 | 1 << 10 | 1 << 18;

/// The instructions with their names.
fn instructions() -> Vec<(&'static str, Vec<u8>)> {
    let absolute = |code: &[u8]| [code, &(DATA as u32).to_le_bytes()].concat();
    let [port_low, port_high] = SLEEP_CONTROL_PORT.to_le_bytes();
    vec![
        (
            "cmpxchg16b",
            absolute(&[0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x25]),
        ),
        // mov eax, 3; xor edx, edx; xrstor [data]
        ("mov", vec![0xb8, 3, 0, 0, 0, 0x31, 0xd2]),
        ("xrstor", absolute(&[0x0f, 0xae, 0x2c, 0x25])),
        ("int3", vec![0xcc]),
        // mov dx, port; mov al, off; out dx, al
        (
            "out",
            vec![0x66, 0xba, port_low, port_high, 0xb0, SLEEP_OFF, 0xee],
        ),
    ]
}

/// Creates the guest's vCPU, and writes the guest into `memory`. The guest turns the machine off at its end.
pub(crate) fn create(kvm: &Kvm, vm: &VmFd, memory: &GuestMemoryMmap) -> Result<VcpuFd, KvmError> {
    registers::write_tables(memory)?;
    write_guest(memory)?;
    let vcpu = vcpu::create(vm, 0)?;
    vcpu.set_cpuid2(&vcpu::supported_cpuid(kvm)?)
        .map_err(KvmError::ioctl("KVM_SET_CPUID2"))?;
    enter(&vcpu)?;
    Ok(vcpu)
}

fn write_guest(memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    let write = |bytes: &[u8], at: u64| {
        memory
            .write_slice(bytes, GuestAddress(at))
            .map_err(KvmError::memory)
    };
    let code: Vec<u8> = instructions()
        .into_iter()
        .flat_map(|(_, code)| code)
        .collect();
    write(&code, CODE)?;
    // iretq
    write(&[0x48, 0xcf], HANDLER)?;
    write(&segments::interrupt_gate(HANDLER), IDT + 3 * 16)
}

fn enter(vcpu: &VcpuFd) -> Result<(), KvmError> {
    registers::reset(vcpu, false)?;
    let mut sregs = vcpu.get_sregs().map_err(KvmError::ioctl("KVM_GET_SREGS"))?;
    registers::set_long_mode(&mut sregs);
    sregs.cr4 |= CR4_VECTORS;
    (sregs.idt.base, sregs.idt.limit) = (IDT, 0xfff);
    vcpu.set_sregs(&sregs)
        .map_err(KvmError::ioctl("KVM_SET_SREGS"))?;
    let regs = kvm_regs {
        rip: CODE,
        rsp: STACK,
        rflags: registers::RFLAGS,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs)
        .map_err(KvmError::ioctl("KVM_SET_REGS"))
}

/// Adds the name of the instruction at which a guest crashed, if it is known.
pub(crate) fn name_instruction(ended: MachineEnd) -> MachineEnd {
    let MachineEnd::Crashed(why) = &ended else {
        return ended;
    };
    let address = why
        .rsplit_once(" at 0x")
        .and_then(|(_, at)| u64::from_str_radix(at, 16).ok());
    let Some(offset) = address.and_then(|at| at.checked_sub(CODE)) else {
        return ended;
    };
    let mut start = 0;
    for (name, code) in instructions() {
        start += code.len() as u64;
        if offset < start {
            return MachineEnd::Crashed(format!(
                "it fails at an instruction that kernels use: {name}"
            ));
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_are_told_with_the_instruction() {
        let at = |address: &str| {
            let why = format!("KVM cannot run the guest any further: x on CPU 0 at {address}");
            match name_instruction(MachineEnd::Crashed(why)) {
                MachineEnd::Crashed(why) => why,
                other => panic!("{other:?}"),
            }
        };
        assert!(at("0x10000").ends_with(": cmpxchg16b"));
        assert!(at("0x10011").ends_with(": xrstor"), "{}", at("0x10011"));
        assert!(at("0xfff0").ends_with("0xfff0"));
    }
}
