//! Derives from its registers what a vCPU is doing.

use kvm_bindings::{KVM_MP_STATE_HALTED, KVM_MP_STATE_RUNNABLE};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::hypervisor::CpuActivity;

/// The instruction `hlt`.
const HALT: u8 = 0xf4;

/// The interrupt flag.
const INTERRUPTS: u64 = 1 << 9;

/// What `vcpu` does in the guest, asked while it is not there. If KVM does not answer, it counts as running a program.
pub(crate) fn of(vcpu: &VcpuFd, memory: &GuestMemoryMmap) -> CpuActivity {
    let (Ok(regs), Ok(sregs), Ok(mp)) = (vcpu.get_regs(), vcpu.get_sregs(), vcpu.get_mp_state())
    else {
        return CpuActivity::Program;
    };
    let halted = match mp.mp_state {
        KVM_MP_STATE_RUNNABLE => {
            if sregs.ss.dpl == 3 {
                return CpuActivity::Program;
            }
            // In performance mode the guest halts without an exit to KVM.
            is_behind_halt(vcpu, memory, regs.rip)
        }
        KVM_MP_STATE_HALTED => true,
        // It was never started, or its own reset stopped it.
        _ => return CpuActivity::Stopped,
    };
    match (halted, regs.rflags & INTERRUPTS != 0) {
        (false, _) => CpuActivity::Kernel,
        (true, true) => CpuActivity::Idle,
        (true, false) => CpuActivity::Stopped,
    }
}

/// Whether the instruction before `rip` halts the CPU.
fn is_behind_halt(vcpu: &VcpuFd, memory: &GuestMemoryMmap, rip: u64) -> bool {
    let Ok(place) = vcpu.translate_gva(rip.wrapping_sub(1)) else {
        return false;
    };
    let byte = memory.read_obj::<u8>(GuestAddress(place.physical_address));
    place.valid != 0 && byte.is_ok_and(|byte| byte == HALT)
}
