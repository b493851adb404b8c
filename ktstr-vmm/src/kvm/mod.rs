//! Runs machines as microVMs on the host's KVM.

mod affinity;
mod device_bus;
mod end;
mod host;
mod memory;
mod performance;
mod serial;
pub(crate) mod trial;
mod vcpu;
pub(crate) mod virtio;
mod vm;

pub(crate) use vm::Kvm;
