//! Taking a vCPU out of the guest from another thread.
//!
//! A kick sets `immediate_exit`, so that the next entry into the guest returns at once, and sends a signal, which takes
//! the vCPU out of the guest, out of a halt, or out of a system call that waits. Whoever wants something of the vCPU
//! says so before the kick; the vCPU clears the byte before it looks what is wanted. So nothing is missed, whenever the
//! kick comes.
#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use crate::error::KvmError;

/// `immediate_exit` of a vCPU's `struct kvm_run`, a byte in memory that its thread shares with the kernel.
#[derive(Debug)]
pub(super) struct ImmediateExit(*mut u8);

// SAFETY: the byte is only ever accessed atomically, and lives as long as the thread (see `ImmediateExit::of`).
unsafe impl Send for ImmediateExit {}

impl ImmediateExit {
    /// That of `vcpu`.
    ///
    /// Whoever keeps the value beside a thread to which `vcpu` is moved must have the thread return `vcpu` when it is
    /// joined, also when it panics, and must not use the value after that.
    pub(super) fn of(vcpu: &mut VcpuFd) -> Self {
        Self(&raw mut vcpu.get_kvm_run().immediate_exit)
    }

    /// Takes the vCPU that `thread` runs out of the guest.
    pub(super) fn kick<T>(&self, thread: &JoinHandle<T>) {
        // SAFETY: the thread that owns the mapping has not been joined yet, and keeps it until then; the kernel only
        // reads the byte.
        let byte = unsafe { AtomicU8::from_ptr(self.0) };
        byte.store(1, Ordering::SeqCst);
        // It fails for a thread that has ended already.
        let _ = thread.kill(SIGRTMIN());
    }

    /// Clears the byte of the thread's own `vcpu`.
    pub(super) fn clear(vcpu: &mut VcpuFd) {
        let byte = &raw mut vcpu.get_kvm_run().immediate_exit;
        // SAFETY: `vcpu` owns the mapping; whoever else has a pointer to the byte writes atomically as well.
        let byte = unsafe { AtomicU8::from_ptr(byte) };
        byte.store(0, Ordering::SeqCst);
    }
}

/// Installs a handler for the signal, once per process; it does nothing but interrupt.
pub(super) fn install_handler() -> Result<(), KvmError> {
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
