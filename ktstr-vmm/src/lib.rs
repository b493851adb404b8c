//! A machine as a value: boot a Linux kernel on a declared topology and talk to it.
//!
//! A [`MachineSpec`] says what the machine is made of, a [`Machine`] runs it on a [`Backend`], an
//! [`Observer`] watches its console and speaks with the guest in [`Frame`]s, and a [`MachineExit`]
//! says how it ended. [`Initramfs`] packs what the guest finds in its root directory;
//! [`channel::GuestChannel`] is the guest's side of the conversation. [`Probe`] tells which back ends
//! work on this host.

mod apic;
mod cancel;
pub mod channel;
pub mod child;
mod cmdline;
mod console;
mod error;
mod exit;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod image;
pub mod initramfs;
mod kvm;
mod machine;
mod probe;
mod qemu;
mod run;
mod spec;
mod stream;
mod terminal;
mod tsc;
mod watch;

pub use cancel::CancelToken;
pub use channel::Frame;
pub use console::BoundedLog;
pub use error::MachineError;
pub use exit::{
    Diagnostic, ExitReason, GuestActivity, InitExit, KernelPanic, MachineExit, Timings,
};
pub use initramfs::{Initramfs, InitramfsBuilder, PackedInitramfs};
pub use kvm::KvmError;
pub use machine::{Backend, Flow, Machine, Observer, Outbox, ParseBackendError};
pub use probe::{Choice, KvmAccess, Probe, find_qemu};
pub use spec::{Emulation, HostShare, MachineSpec, Performance, guest_memory_mib};
pub use terminal::Terminal;
