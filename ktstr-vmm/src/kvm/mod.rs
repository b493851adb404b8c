//! Machines on the host's KVM: a microVM of our own.

mod layout;
// until kvm/mod.rs calls it
#[allow(dead_code)]
pub(crate) mod virtio;
