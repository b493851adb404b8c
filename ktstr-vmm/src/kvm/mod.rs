//! Machines on the host's KVM: a microVM of our own.

mod layout;
