//! Interrupts a vCPU in the guest from another thread.
//!
//! A kick sets `immediate_exit`, so that the next entry into the guest returns immediately, and sends a signal, which
//! interrupts the guest, a halt, or a blocking system call. The sender queues its request before the kick, and the vCPU
//! clears the byte before it looks for requests. So no request is missed, at whatever time the kick arrives.
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
    /// The byte of `vcpu`.
    ///
    /// The thread to which `vcpu` is moved must return it when it is joined, even after a panic, and the value must not
    /// be used after that.
    pub(super) fn of(vcpu: &mut VcpuFd) -> Self {
        Self(&raw mut vcpu.get_kvm_run().immediate_exit)
    }

    /// Kicks the vCPU that `thread` runs.
    pub(super) fn kick<T>(&self, thread: &JoinHandle<T>) {
        // SAFETY: the thread that owns the mapping has not been joined yet, and keeps it until then; the kernel only
        // reads the byte.
        let byte = unsafe { AtomicU8::from_ptr(self.0) };
        byte.store(1, Ordering::SeqCst);
        // It fails if the thread has already ended.
        let _ = thread.kill(SIGRTMIN());
    }

    /// Clears the byte of `vcpu`, which the calling thread runs.
    pub(super) fn clear(vcpu: &mut VcpuFd) {
        let byte = &raw mut vcpu.get_kvm_run().immediate_exit;
        // SAFETY: `vcpu` owns the mapping; whoever else has a pointer to the byte writes atomically as well.
        let byte = unsafe { AtomicU8::from_ptr(byte) };
        byte.store(0, Ordering::SeqCst);
    }
}

/// Installs a handler for the signal, once per process. It does nothing: the signal only interrupts.
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
