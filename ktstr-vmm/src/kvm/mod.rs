//! Machines on the host's KVM: a microVM of our own.

// until kvm/mod.rs calls it
#[allow(dead_code)]
mod acpi;
// until kvm/mod.rs calls it
#[allow(dead_code)]
mod cpuid;
mod layout;
