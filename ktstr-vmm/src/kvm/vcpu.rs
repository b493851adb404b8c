//! A thread for each processor.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use kvm_bindings::{KVM_MP_STATE_HALTED, KVM_MP_STATE_RUNNABLE};
use kvm_ioctls::{VcpuExit, VcpuFd};
use rustix::event::{EventfdFlags, eventfd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use super::error::KvmError;
use super::layout::{RESET_PORT, RESET_VALUE, SLEEP_CONTROL_PORT, SLEEP_OFF};
use super::seat::Seat;
use crate::machine::Ended;
use crate::watch::CpuState;

/// The controller of a PC's keyboard, and its command that resets the processors: what Linux falls back to.
const KEYBOARD_PORT: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;

/// What the guest's processors talk to. Called from all of their threads; nothing may block for long.
pub(super) trait Devices: Send + Sync {
    /// Reads from an I/O port.
    fn port_read(&self, port: u16, data: &mut [u8]);
    /// Writes to an I/O port.
    fn port_write(&self, port: u16, data: &[u8]);
    /// Reads from a device's memory.
    fn memory_read(&self, address: u64, data: &mut [u8]);
    /// Writes to it.
    fn memory_write(&self, address: u64, data: &[u8]);
}

/// How a machine ended, from whichever processor was first to see it.
#[derive(Debug)]
pub(super) struct End {
    how: Mutex<Option<Ended>>,
    /// Readable once it ended.
    event: OwnedFd,
}

impl End {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            how: Mutex::default(),
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// Readable once it ended.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn how(&self) -> Option<Ended> {
        let how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        how.clone()
    }

    /// Makes the event quiet again, once it was heard.
    pub(super) fn silence(&self) {
        // It fails when there is nothing to read.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }

    fn set(&self, ended: Ended) {
        let mut how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        how.get_or_insert(ended);
        // It fails when the counter is full: then it is readable.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

/// The processors of a machine that runs. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Vcpus(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    handle: JoinHandle<VcpuFd>,
    /// `immediate_exit` of its `struct kvm_run`: the next entry into the guest returns at once.
    exit_now: ExitNow,
    orders: Arc<Orders>,
}

/// What a processor's thread is told, and what it answers. It looks at this whenever it has left the guest for
/// `immediate_exit`, which is set after an order was given and cleared before orders are read.
#[derive(Debug, Default)]
struct Orders {
    stop: AtomicBool,
    look: AtomicBool,
    /// The answer to `look`: what the processor does, as [`to_byte`] has it; 0 for none yet.
    state: AtomicU8,
}

/// A byte in the memory that a processor's thread shares with the kernel.
#[derive(Debug)]
struct ExitNow(*mut u8);

// SAFETY: the byte is only ever written, atomically, and lives as long as the thread (see `Vcpus::start`).
unsafe impl Send for ExitNow {}

impl ExitNow {
    fn set(&self) {
        // SAFETY: the thread that owns the mapping has not been joined yet, and keeps it until then; the kernel
        // only reads the byte.
        let byte = unsafe { AtomicU8::from_ptr(self.0) };
        byte.store(1, Ordering::SeqCst);
    }

    /// Clears the byte of the thread's own `vcpu`.
    fn clear(vcpu: &mut VcpuFd) {
        let byte = &raw mut vcpu.get_kvm_run().immediate_exit;
        // SAFETY: `vcpu` owns the mapping; whoever else has a pointer to the byte writes atomically as well.
        let byte = unsafe { AtomicU8::from_ptr(byte) };
        byte.store(0, Ordering::SeqCst);
    }
}

impl Vcpus {
    /// Starts them, the first one last: it is the one that wakes the others. Each takes its seat before the next one
    /// starts; without `seats` they run where this thread may. `memory` is the guest's, for [`Vcpus::look`].
    pub(super) fn start(
        vcpus: Vec<VcpuFd>,
        memory: &GuestMemoryMmap,
        devices: &Arc<dyn Devices>,
        end: &Arc<End>,
        seats: &[Seat],
    ) -> Result<Self, KvmError> {
        install_handler()?;
        let mut threads = Self(Vec::with_capacity(vcpus.len()));
        for (cpu, mut vcpu) in vcpus.into_iter().enumerate().rev() {
            let exit_now = ExitNow(&raw mut vcpu.get_kvm_run().immediate_exit);
            let (devices, end) = (Arc::clone(devices), Arc::clone(end));
            let (memory, orders) = (memory.clone(), Arc::new(Orders::default()));
            let its_orders = Arc::clone(&orders);
            let seat = seats.get(cpu).copied();
            let (tell, seated) = mpsc::sync_channel(1);
            let handle = thread::Builder::new()
                .name(format!("vcpu{cpu}"))
                // The thread gives `vcpu` back when it is joined: `exit_now` points to something until then.
                .spawn(move || {
                    let taken = seat.map_or(Ok(()), Seat::take);
                    let go = taken.is_ok();
                    let _ = tell.send(taken);
                    if go {
                        let processor = Processor {
                            cpu,
                            memory,
                            orders: its_orders,
                        };
                        processor.run(vcpu, devices.as_ref(), &end)
                    } else {
                        vcpu
                    }
                })
                .map_err(KvmError::host("starting a thread for a vCPU"))?;
            threads.0.push(Thread {
                handle,
                exit_now,
                orders,
            });
            await_seat(&seated, cpu)?;
        }
        Ok(threads)
    }

    /// Has them leave the guest and waits for them.
    pub(super) fn stop(&mut self) {
        for thread in &self.0 {
            thread.orders.stop.store(true, Ordering::SeqCst);
            thread.kick();
        }
        for thread in self.0.drain(..) {
            // A panic has been told on standard error already.
            let _ = thread.handle.join();
        }
    }

    /// What the processors did when this was called the last time, once all of them have answered; asks anew then.
    pub(super) fn look(&self) -> Option<Vec<CpuState>> {
        let state = |thread: &Thread| of_byte(thread.orders.state.load(Ordering::SeqCst));
        let states: Option<Vec<CpuState>> = self.0.iter().rev().map(state).collect();
        for thread in &self.0 {
            if states.is_some() {
                thread.orders.state.store(0, Ordering::SeqCst);
            }
            if of_byte(thread.orders.state.load(Ordering::SeqCst)).is_none() {
                thread.orders.look.store(true, Ordering::SeqCst);
                thread.kick();
            }
        }
        states
    }
}

impl Thread {
    /// Has it look at its orders: out of the guest, or out of a wait.
    fn kick(&self) {
        self.exit_now.set();
        // It fails for one that ended already.
        let _ = self.handle.kill(SIGRTMIN());
    }
}

/// Waits until the thread of `cpu` has taken its seat. One that ended without a word has panicked.
fn await_seat(seated: &mpsc::Receiver<Result<(), KvmError>>, cpu: usize) -> Result<(), KvmError> {
    seated.recv().unwrap_or(Err(KvmError::VcpuThread(cpu)))
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The signal that takes a thread out of the guest; it does nothing but interrupt.
fn install_handler() -> Result<(), KvmError> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    extern "C" fn nothing(_: std::ffi::c_int, _: *mut libc::siginfo_t, _: *mut std::ffi::c_void) {}
    INSTALLED
        .get_or_init(|| {
            register_signal_handler(SIGRTMIN(), nothing).map_err(kvm_ioctls::Error::errno)
        })
        .map_err(|errno| KvmError::Host {
            what: "sigaction",
            source: io::Error::from_raw_os_error(errno),
        })
}

/// A processor, as its thread sees it.
struct Processor {
    cpu: usize,
    memory: GuestMemoryMmap,
    orders: Arc<Orders>,
}

impl Processor {
    /// Runs it until the machine ends or somebody wants it to; gives it back then.
    fn run(&self, mut vcpu: VcpuFd, devices: &dyn Devices, end: &End) -> VcpuFd {
        let cpu = self.cpu;
        loop {
            let ended = match vcpu.run() {
                Ok(exit) => match handle(exit, devices) {
                    Handled::Done => None,
                    Handled::Ended(ended) => Some(ended),
                    Handled::Broken(what) => Some(Ended::Crashed(broken(&mut vcpu, cpu, &what))),
                },
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {
                    ExitNow::clear(&mut vcpu);
                    if self.orders.stop.load(Ordering::SeqCst) {
                        return vcpu;
                    }
                    if self.orders.look.swap(false, Ordering::SeqCst) {
                        let state = to_byte(self.state(&vcpu));
                        self.orders.state.store(state, Ordering::SeqCst);
                    }
                    None
                }
                Err(error) => Some(Ended::Crashed(format!("KVM_RUN of CPU {cpu}: {error}"))),
            };
            if let Some(ended) = ended {
                end.set(ended);
                return vcpu;
            }
        }
    }

    /// What the processor does. One that KVM tells nothing of counts as one that runs.
    fn state(&self, vcpu: &VcpuFd) -> CpuState {
        let (Ok(regs), Ok(sregs), Ok(mp)) =
            (vcpu.get_regs(), vcpu.get_sregs(), vcpu.get_mp_state())
        else {
            return CpuState::Program;
        };
        let halted = match mp.mp_state {
            KVM_MP_STATE_RUNNABLE => {
                if sregs.ss.dpl == 3 {
                    return CpuState::Program;
                }
                // In performance mode the guest halts without KVM.
                self.is_behind_halt(vcpu, regs.rip)
            }
            KVM_MP_STATE_HALTED => true,
            // Never started, or stopped by a reset of its own.
            _ => return CpuState::Stopped,
        };
        match (halted, regs.rflags & INTERRUPTS != 0) {
            (false, _) => CpuState::Kernel,
            (true, true) => CpuState::Idle,
            (true, false) => CpuState::Stopped,
        }
    }

    /// Whether the instruction before `rip` halts the processor.
    fn is_behind_halt(&self, vcpu: &VcpuFd, rip: u64) -> bool {
        let Ok(place) = vcpu.translate_gva(rip.wrapping_sub(1)) else {
            return false;
        };
        let byte = self
            .memory
            .read_obj::<u8>(GuestAddress(place.physical_address));
        place.valid != 0 && byte.is_ok_and(|byte| byte == HALT)
    }
}

/// The instruction `hlt`.
const HALT: u8 = 0xf4;

/// The flag of a processor that takes interrupts.
const INTERRUPTS: u64 = 1 << 9;

fn to_byte(state: CpuState) -> u8 {
    match state {
        CpuState::Program => 1,
        CpuState::Kernel => 2,
        CpuState::Idle => 3,
        CpuState::Stopped => 4,
    }
}

fn of_byte(byte: u8) -> Option<CpuState> {
    match byte {
        1 => Some(CpuState::Program),
        2 => Some(CpuState::Kernel),
        3 => Some(CpuState::Idle),
        4 => Some(CpuState::Stopped),
        _ => None,
    }
}

/// What came of an exit from the guest.
enum Handled {
    Done,
    Ended(Ended),
    /// KVM cannot go on.
    Broken(String),
}

fn handle(exit: VcpuExit<'_>, devices: &dyn Devices) -> Handled {
    match exit {
        VcpuExit::IoOut(SLEEP_CONTROL_PORT, [SLEEP_OFF]) => {
            return Handled::Ended(Ended::PoweredOff);
        }
        VcpuExit::IoOut(RESET_PORT, [RESET_VALUE])
        | VcpuExit::IoOut(KEYBOARD_PORT, [KEYBOARD_RESET])
        // A triple fault.
        | VcpuExit::Shutdown => return Handled::Ended(Ended::Reset),
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

/// What KVM says of a guest that it cannot run any further.
fn broken(vcpu: &mut VcpuFd, cpu: usize, what: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_died_starts_no_machine() {
        let (tell, seated) = mpsc::sync_channel(1);
        tell.send(Ok(())).unwrap();
        await_seat(&seated, 3).unwrap();
        drop(tell);
        let error = await_seat(&seated, 3).unwrap_err();
        assert!(error.to_string().contains("vCPU 3 panicked"), "{error}");
    }

    #[test]
    fn states_survive_their_bytes() {
        use CpuState::{Idle, Kernel, Program, Stopped};
        for state in [Program, Kernel, Idle, Stopped] {
            assert_eq!(of_byte(to_byte(state)), Some(state));
        }
        assert_eq!(of_byte(0), None);
    }
}
