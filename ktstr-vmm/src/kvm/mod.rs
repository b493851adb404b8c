//! Machines on the host's KVM: a microVM of our own.

mod acpi;
mod boot;
mod cpuid;
mod error;
mod host;
mod layout;
mod memory;
mod performance;
mod registers;
mod seat;
mod serial;
pub(crate) mod trial;
mod vcpu;
pub(crate) mod virtio;
mod vm;

pub use error::KvmError;
pub(crate) use vm::Kvm;
