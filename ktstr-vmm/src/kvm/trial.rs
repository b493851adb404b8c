//! Whether this KVM can run Linux: a throw-away guest that executes what half-working virtualization fails at.
//!
//! `/dev/kvm` may open, make VMs and run little guests where it cannot run a kernel: in a VM whose own hypervisor
//! interprets its guests. The instructions here are those that unmodified kernels die of there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_regs};
use kvm_ioctls::VcpuFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vm_memory::GuestMemoryMmap;

use super::error::KvmError;
use super::host::{open, prepare};
use super::layout::{Ram, SLEEP_CONTROL_PORT, SLEEP_OFF};
use super::vcpu::{Devices, End, Vcpus};
use super::{memory, registers};
use crate::machine::Ended;

const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x1_1000;
const HANDLER: u64 = 0x1_3000;
const IDT: u64 = 0x1_4000;
const STACK: u64 = 0x1_8000;

/// Far beyond what a KVM needs that works; it takes a few milliseconds in all.
const LIMIT: Duration = Duration::from_millis(500);

/// `OSFXSR`, `OSXMMEXCPT` and `OSXSAVE` of CR4.
const CR4_VECTORS: u64 = 1 << 9 | 1 << 10 | 1 << 18;

/// The instructions, each with its name.
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

/// Runs the guest on the KVM at `device`; an error says in one line why no kernel can run there.
pub(crate) fn run(device: &Path) -> Result<(), String> {
    let ended = attempt(device).map_err(|error| error.to_string())?;
    let why = match ended {
        Some(Ended::PoweredOff) => return Ok(()),
        Some(Ended::Reset) => "a plain guest crashes".to_owned(),
        Some(Ended::Crashed(why)) => why,
        None => format!(
            "a plain guest does not get anywhere within {} ms",
            LIMIT.as_millis()
        ),
    };
    Err(why)
}

fn attempt(device: &Path) -> Result<Option<Ended>, KvmError> {
    let device = open(device)?;
    let vm = device
        .create_vm()
        .map_err(KvmError::ioctl("KVM_CREATE_VM"))?;
    let ram = [Ram {
        node: 0,
        start: 0,
        size: 1 << 20,
    }];
    let memory = memory::allocate(&ram)?;
    prepare(&device, &vm, &memory, false)?;
    registers::write_tables(&memory)?;
    write_guest(&memory)?;
    let vcpu = vm
        .create_vcpu(0)
        .map_err(KvmError::ioctl("KVM_CREATE_VCPU"))?;
    let supported: CpuId = device
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(KvmError::ioctl("KVM_GET_SUPPORTED_CPUID"))?;
    vcpu.set_cpuid2(&supported)
        .map_err(KvmError::ioctl("KVM_SET_CPUID2"))?;
    enter(&vcpu)?;

    let end = Arc::new(End::new().map_err(KvmError::host("eventfd"))?);
    let nothing: Arc<dyn Devices> = Arc::new(Nothing);
    let mut vcpus = Vcpus::start(vec![vcpu], &memory, &nothing, &end, &[])?;
    let mut fds = [PollFd::from_borrowed_fd(end.event(), PollFlags::IN)];
    // Interrupted or not, what counts is whether it ended.
    let _ = poll(&mut fds, Timespec::try_from(LIMIT).ok().as_ref());
    vcpus.stop();
    Ok(end.how().map(name_instruction))
}

fn write_guest(memory: &GuestMemoryMmap) -> Result<(), KvmError> {
    let write = |bytes: &[u8], at: u64| memory::write(memory, bytes, at);
    let code: Vec<u8> = instructions()
        .into_iter()
        .flat_map(|(_, code)| code)
        .collect();
    write(&code, CODE)?;
    // iretq
    write(&[0x48, 0xcf], HANDLER)?;
    write(&registers::interrupt_gate(HANDLER), IDT + 3 * 16)
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
        rflags: 2,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs)
        .map_err(KvmError::ioctl("KVM_SET_REGS"))
}

/// Names the instruction at which a guest crashed, where that is known.
fn name_instruction(ended: Ended) -> Ended {
    let Ended::Crashed(why) = &ended else {
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
            return Ended::Crashed(format!(
                "it fails at an instruction that kernels use: {name}"
            ));
        }
    }
    ended
}

/// A guest without devices.
#[derive(Debug)]
struct Nothing;

impl Devices for Nothing {
    fn port_read(&self, _: u16, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn port_write(&self, _: u16, _: &[u8]) {}

    fn memory_read(&self, _: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn memory_write(&self, _: u64, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::host::DEVICE;
    use super::*;

    #[test]
    fn crashes_are_told_with_the_instruction() {
        let at = |address: &str| {
            let why = format!("KVM cannot run the guest any further: x on CPU 0 at {address}");
            match name_instruction(Ended::Crashed(why)) {
                Ended::Crashed(why) => why,
                other => panic!("{other:?}"),
            }
        };
        assert!(at("0x10000").ends_with(": cmpxchg16b"));
        assert!(at("0x10011").ends_with(": xrstor"), "{}", at("0x10011"));
        assert!(at("0xfff0").ends_with("0xfff0"));
    }

    #[test]
    fn it_comes_to_an_answer_in_no_time() {
        let begin = Instant::now();
        let answer = run(Path::new(DEVICE));
        println!("{answer:?} in {:?}", begin.elapsed());
        assert!(begin.elapsed() < 4 * LIMIT, "{:?}", begin.elapsed());
    }
}
