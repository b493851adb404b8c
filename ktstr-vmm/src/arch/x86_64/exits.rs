//! Handles exits from the guest.
#![allow(unsafe_code)]

use kvm_ioctls::{VcpuExit, VcpuFd};

use super::layout::{RESET_PORT, RESET_VALUE, SLEEP_CONTROL_PORT, SLEEP_OFF};
use crate::hypervisor::MachineEnd;

/// The keyboard controller of a PC, and its command that resets the CPUs: Linux's last resort.
const KEYBOARD_PORT: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;

/// The devices that the guest accesses. The threads of all vCPUs call it, so that no call may block for long.
pub(crate) trait Devices: Send + Sync {
    /// Reads from an I/O port.
    fn port_read(&self, port: u16, data: &mut [u8]);
    /// Writes to an I/O port.
    fn port_write(&self, port: u16, data: &[u8]);
    /// Reads from a device's MMIO region.
    fn memory_read(&self, address: u64, data: &mut [u8]);
    /// Writes to a device's MMIO region.
    fn memory_write(&self, address: u64, data: &[u8]);
}

/// The result of an exit.
pub(crate) enum Handled {
    /// The guest continues.
    Done,
    /// The guest ended the machine.
    Ended(MachineEnd),
    /// KVM cannot run the guest any further, for this reason.
    Broken(String),
}

/// Handles `exit`.
pub(crate) fn handle(exit: VcpuExit<'_>, devices: &dyn Devices) -> Handled {
    match exit {
        VcpuExit::IoOut(SLEEP_CONTROL_PORT, [SLEEP_OFF]) => {
            return Handled::Ended(MachineEnd::PoweredOff);
        }
        VcpuExit::IoOut(RESET_PORT, [RESET_VALUE])
        | VcpuExit::IoOut(KEYBOARD_PORT, [KEYBOARD_RESET])
        // A triple fault.
        | VcpuExit::Shutdown => return Handled::Ended(MachineEnd::Reset),
        VcpuExit::IoOut(port, data) => devices.port_write(port, data),
        VcpuExit::IoIn(port, data) => devices.port_read(port, data),
        VcpuExit::MmioRead(address, data) => devices.memory_read(address, data),
        VcpuExit::MmioWrite(address, data) => devices.memory_write(address, data),
        VcpuExit::Intr | VcpuExit::Hlt | VcpuExit::IrqWindowOpen => {}
        VcpuExit::FailEntry(reason, _) => {
            return Handled::Broken(format!("it refuses to enter the guest (reason {reason:#x})"));
        }
        VcpuExit::InternalError => return Handled::Broken("internal error".to_owned()),
        other => return Handled::Broken(format!("unexpected exit {other:?}")),
    }
    Handled::Done
}

/// Why KVM cannot run the guest any further, in one line that ends with the address of the instruction.
pub(crate) fn describe_broken(vcpu: &mut VcpuFd, cpu: u32, what: &str) -> String {
    let run = vcpu.get_kvm_run();
    let suberror = match run.exit_reason {
        kvm_bindings::KVM_EXIT_INTERNAL_ERROR => {
            // SAFETY: the exit reason says which member of the union the kernel wrote.
            let internal = unsafe { run.__bindgen_anon_1.internal };
            format!(", suberror {}", internal.suberror)
        }
        _ => String::new(),
    };
    let place = match vcpu.get_regs() {
        Ok(regs) => format!(" at {:#x}", regs.rip),
        Err(_) => String::new(),
    };
    format!("KVM cannot run the guest any further: {what}{suberror} on CPU {cpu}{place}")
}
