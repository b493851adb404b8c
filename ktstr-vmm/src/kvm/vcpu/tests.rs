//! vCPUs with a few instructions to run, on this host's KVM. No kernel is involved: what half-working virtualization
//! fails at (see `trial.rs`) is not in them.

use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::thread::sleep;

use ktstr_core::Topology;
use kvm_ioctls::VmFd;
use vm_memory::{Bytes, GuestAddress};

use super::super::host::{open, prepare};
use super::super::memory;
use super::*;
use crate::arch::cpu_ids::ApicIds;
use crate::arch::layout::{SLEEP_CONTROL_PORT, SLEEP_OFF, ram};
use crate::arch::state::{RegisterList, VcpuState};
use crate::arch::vcpu::create_all;
use crate::hypervisor::MachineEnd;

/// Where the guest's code is, and what it reads and writes.
const CODE: u64 = 0x2_0000;
const STARTS: u64 = 0x3_0000;
const COUNTER: u64 = 0x3_0008;
const FINISH: u64 = 0x3_0010;
const VECTOR_IN: u64 = 0x3_0020;
const VECTOR_OUT: u64 = 0x3_0030;
const MSR_OUT: u64 = 0x3_0040;
const PRIORITY_OUT: u64 = 0x3_0048;

/// What the guest has in a vector register, in an MSR and as the priority of its local APIC.
const VECTOR: u32 = 0x0123_4567;
const GS_BASE: u32 = 0x89ab_cdef;
const PRIORITY: u32 = 5;

/// A port without a device.
const PORT: u8 = 0x99;

const MIB: u32 = 2;

/// Against hanging only.
const LONG: Duration = Duration::from_secs(60);

/// An operand that is the memory at `address`.
fn at(address: u64) -> [u8; 5] {
    let [a, b, c, d] = (address as u32).to_le_bytes();
    [0x25, a, b, c, d]
}

/// Sets registers up, counts until it is told to finish, writes the registers to memory and turns the machine off.
fn counting() -> Vec<u8> {
    let gs_base = [&[0xb9][..], &0xc000_0102_u32.to_le_bytes()].concat();
    let [port_low, port_high] = SLEEP_CONTROL_PORT.to_le_bytes();
    let before = [
        // inc qword [STARTS]
        &[0x48, 0xff, 0x04][..],
        &at(STARTS),
        // mov rax, cr4; or eax, OSFXSR; mov cr4, rax
        &[0x0f, 0x20, 0xe0, 0x0d, 0, 2, 0, 0, 0x0f, 0x22, 0xe0],
        // mov dword [VECTOR_IN], VECTOR; movdqu xmm0, [VECTOR_IN]
        &[0xc7, 0x04],
        &at(VECTOR_IN),
        &VECTOR.to_le_bytes(),
        &[0xf3, 0x0f, 0x6f, 0x04],
        &at(VECTOR_IN),
        // mov ecx, IA32_KERNEL_GS_BASE; mov eax, GS_BASE; xor edx, edx; wrmsr
        &gs_base,
        &[0xb8],
        &GS_BASE.to_le_bytes(),
        &[0x31, 0xd2, 0x0f, 0x30],
        // mov eax, PRIORITY; mov cr8, rax
        &[0xb8],
        &PRIORITY.to_le_bytes(),
        &[0x44, 0x0f, 0x22, 0xc0],
    ]
    .concat();
    let counted = [
        // inc rbx; mov [COUNTER], rbx; cmp byte [FINISH], 0
        &[0x48, 0xff, 0xc3, 0x48, 0x89, 0x1c][..],
        &at(COUNTER),
        &[0x80, 0x3c],
        &at(FINISH),
        &[0],
    ]
    .concat();
    // je: back over itself as well.
    let back = [0x74, (counted.len() as u8 + 2).wrapping_neg()];
    let after = [
        // movdqu [VECTOR_OUT], xmm0
        &[0xf3, 0x0f, 0x7f, 0x04][..],
        &at(VECTOR_OUT),
        // mov ecx, IA32_KERNEL_GS_BASE; rdmsr; mov [MSR_OUT], eax
        &gs_base,
        &[0x0f, 0x32, 0x89, 0x04],
        &at(MSR_OUT),
        // mov rax, cr8; mov [PRIORITY_OUT], eax
        &[0x44, 0x0f, 0x20, 0xc0, 0x89, 0x04],
        &at(PRIORITY_OUT),
        // mov dx, port; mov al, off; out dx, al
        &[0x66, 0xba, port_low, port_high, 0xb0, SLEEP_OFF, 0xee],
    ]
    .concat();
    [before, counted, back.to_vec(), after].concat()
}

/// Devices that do with a write to a port what a test has them do.
struct OnWrite(Box<dyn Fn(u16) + Send + Sync>);

impl Devices for OnWrite {
    fn port_read(&self, _: u16, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn port_write(&self, port: u16, _: &[u8]) {
        (self.0)(port);
    }

    fn memory_read(&self, _: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn memory_write(&self, _: u64, _: &[u8]) {}
}

/// A VM with memory, before it has vCPUs.
struct Rig {
    device: kvm_ioctls::Kvm,
    vm: VmFd,
    memory: GuestMemoryMmap,
    end: Arc<EndEvent>,
}

impl Rig {
    /// Nothing where this process has no KVM.
    fn new() -> Option<Self> {
        let device = match open(Path::new("/dev/kvm")) {
            Ok(device) => device,
            Err(error) => {
                eprintln!("SKIP: {error}");
                return None;
            }
        };
        let vm = device.create_vm().unwrap();
        let memory = memory::allocate(&ram(Topology::constant(1, 1, 1, 1), MIB)).unwrap();
        prepare(&device, &vm, &memory, false).unwrap();
        let end = Arc::new(EndEvent::new().unwrap());
        Some(Self {
            device,
            vm,
            memory,
            end,
        })
    }

    /// Starts `count` vCPUs, of which the first is to run `code`.
    fn start(
        &self,
        count: u32,
        code: &[u8],
        on_write: impl Fn(u16) + Send + Sync + 'static,
    ) -> Vcpus {
        self.memory.write_slice(code, GuestAddress(CODE)).unwrap();
        let ids = ApicIds::new(Topology::constant(1, 1, count, 1));
        let vcpus = create_all(&self.device, &self.vm, &self.memory, ids, CODE, false).unwrap();
        self.run(vcpus, on_write)
    }

    fn run(&self, vcpus: Vec<VcpuFd>, on_write: impl Fn(u16) + Send + Sync + 'static) -> Vcpus {
        let devices: Arc<dyn Devices> = Arc::new(OnWrite(Box::new(on_write)));
        Vcpus::start(vcpus, &self.memory, &devices, &self.end, &[]).unwrap()
    }

    fn read(&self, address: u64) -> u64 {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    fn write(&self, address: u64, value: u64) {
        self.memory.write_obj(value, GuestAddress(address)).unwrap();
    }

    /// Waits until the guest has counted beyond `count`.
    fn wait_beyond(&self, count: u64) {
        wait_until(|| {
            assert_eq!(self.end.how(), None);
            self.read(COUNTER) > count
        });
    }

    fn wait_end(&self) -> MachineEnd {
        wait_until(|| self.end.how().is_some());
        self.end.how().unwrap()
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "it never comes to it");
        sleep(Duration::from_millis(1));
    }
}

fn nothing(_: u16) {}

#[test]
fn a_paused_vcpu_executes_nothing_and_goes_on_where_it_was() {
    let Some(rig) = Rig::new() else { return };
    let vcpus = rig.start(1, &counting(), nothing);
    // Threads start paused.
    sleep(Duration::from_millis(20));
    assert_eq!(rig.read(STARTS), 0);
    vcpus.resume().unwrap();
    rig.wait_beyond(0);
    for _ in 0..3 {
        vcpus.pause().unwrap();
        let count = rig.read(COUNTER);
        sleep(Duration::from_millis(20));
        // Paused twice is paused.
        vcpus.pause().unwrap();
        assert_eq!(rig.read(COUNTER), count);
        vcpus.resume().unwrap();
        rig.wait_beyond(count);
    }
    assert_eq!(rig.read(STARTS), 1);
    rig.write(FINISH, 1);
    assert_eq!(rig.wait_end(), MachineEnd::PoweredOff);
    let error = vcpus.pause().unwrap_err();
    assert!(matches!(error, KvmError::VcpuExited(0)), "{error}");
}

#[test]
fn a_saved_vcpu_goes_on_as_another_one() {
    let (Some(rig), Some(other)) = (Rig::new(), Rig::new()) else {
        return;
    };
    let mut vcpus = rig.start(1, &counting(), nothing);
    vcpus.resume().unwrap();
    rig.wait_beyond(0);
    let list = Arc::new(RegisterList::read(&rig.device).unwrap());
    let error = vcpus.save(&list).unwrap_err();
    assert!(matches!(error, KvmError::VcpuNotPaused(0)), "{error}");
    vcpus.pause().unwrap();
    let states = vcpus.save(&list).unwrap();
    let saved = states[0].regs.rbx;
    // Between two instructions, of which one is to write it.
    assert!([saved, saved - 1].contains(&rig.read(COUNTER)));
    vcpus.stop();

    let mut all = vec![0; (MIB as usize) << 20];
    rig.memory.read_slice(&mut all, GuestAddress(0)).unwrap();
    other.memory.write_slice(&all, GuestAddress(0)).unwrap();
    other.write(STARTS, 0);
    let vcpu = other.vm.create_vcpu(0).unwrap();
    states[0].restore(&other.vm, &vcpu).unwrap();
    let vcpus = other.run(vec![vcpu], nothing);
    vcpus.resume().unwrap();
    other.wait_beyond(saved);
    assert_eq!(other.read(STARTS), 0, "it began anew");
    other.write(FINISH, 1);
    assert_eq!(other.wait_end(), MachineEnd::PoweredOff);
    assert_eq!(other.read(VECTOR_OUT), u64::from(VECTOR));
    assert_eq!(other.read(MSR_OUT), u64::from(GS_BASE));
    assert_eq!(other.read(PRIORITY_OUT), u64::from(PRIORITY));
}

#[test]
fn vcpus_that_halt_or_were_never_started_pause_and_stay_what_they_are() {
    use CpuActivity::{Idle, Stopped};
    let Some(rig) = Rig::new() else { return };
    // sti; hlt: nothing interrupts it.
    let mut vcpus = rig.start(2, &[0xfb, 0xf4], nothing);
    let activity = |vcpus: &mut Vcpus| {
        let begin = Instant::now();
        // The first answer was asked for before.
        while vcpus.activity().is_none() {
            assert!(begin.elapsed() < LONG, "no answer");
            sleep(Duration::from_millis(1));
        }
        let begin = Instant::now();
        loop {
            if let Some(activity) = vcpus.activity() {
                return activity;
            }
            assert!(begin.elapsed() < LONG, "no answer");
            sleep(Duration::from_millis(1));
        }
    };
    vcpus.resume().unwrap();
    let begin = Instant::now();
    while activity(&mut vcpus) != [Idle, Stopped] {
        assert!(begin.elapsed() < LONG, "it never halts");
    }
    // An answer that is on its way does not get in the way.
    vcpus.pause().unwrap();
    assert_eq!(activity(&mut vcpus), [Idle, Stopped]);
    let list = Arc::new(RegisterList::read(&rig.device).unwrap());
    let states = vcpus.save(&list).unwrap();
    vcpus.resume().unwrap();
    assert_eq!(activity(&mut vcpus), [Idle, Stopped]);
    vcpus.stop();

    let Some(other) = Rig::new() else { return };
    let restore = |(id, state): (u64, &VcpuState)| {
        let vcpu = other.vm.create_vcpu(id).unwrap();
        state.restore(&other.vm, &vcpu).unwrap();
        vcpu
    };
    let restored = (0..).zip(&states).map(restore).collect();
    let mut vcpus = other.run(restored, nothing);
    vcpus.resume().unwrap();
    assert_eq!(activity(&mut vcpus), [Idle, Stopped]);
}

#[test]
fn a_thread_that_panicked_is_told_and_ends_the_machine() {
    let Some(rig) = Rig::new() else { return };
    // out PORT, al; jmp $
    let mut vcpus = rig.start(1, &[0xe6, PORT, 0xeb, 0xfe], |port| {
        assert_ne!(port, u16::from(PORT), "as the test wants it");
    });
    vcpus.resume().unwrap();
    match rig.wait_end() {
        MachineEnd::Crashed(why) => assert!(why.contains("vCPU 0 panicked"), "{why}"),
        other => panic!("{other:?}"),
    }
    let error = vcpus.pause().unwrap_err();
    assert!(matches!(error, KvmError::VcpuThread(0)), "{error}");
    assert_eq!(vcpus.activity(), None);
}

#[test]
fn a_vcpu_that_waits_for_the_host_is_not_waited_for_for_good() {
    let Some(rig) = Rig::new() else { return };
    let (release, released) = mpsc::channel();
    let (entered, waits) = mpsc::channel();
    let released = Mutex::new(released);
    let mut vcpus = rig.start(1, &[0xe6, PORT, 0xeb, 0xfe], move |_| {
        entered.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
    });
    vcpus.limit = Duration::from_millis(10);
    vcpus.resume().unwrap();
    waits.recv_timeout(LONG).unwrap();
    let error = vcpus.pause().unwrap_err();
    assert!(
        matches!(error, KvmError::VcpuStuck { cpu: 0, .. }),
        "{error}"
    );
    // What it was told it does once it can.
    release.send(()).unwrap();
    vcpus.limit = LONG;
    vcpus.pause().unwrap();
    let list = Arc::new(RegisterList::read(&rig.device).unwrap());
    assert_eq!(vcpus.save(&list).unwrap()[0].regs.rip, CODE + 2);
}

#[test]
fn a_thread_that_cannot_be_pinned_starts_no_machine() {
    let Some(rig) = Rig::new() else { return };
    let ids = ApicIds::new(Topology::constant(1, 1, 2, 1));
    let vcpus = create_all(&rig.device, &rig.vm, &rig.memory, ids, CODE, false).unwrap();
    let devices: Arc<dyn Devices> = Arc::new(OnWrite(Box::new(nothing)));
    let pin = VcpuPin {
        cpu: 5000,
        priority: 1,
    };
    let error = Vcpus::start(vcpus, &rig.memory, &devices, &rig.end, &[pin, pin]).unwrap_err();
    assert!(matches!(error, KvmError::Affinity { .. }), "{error}");
    assert_eq!(rig.end.how(), None);
}
