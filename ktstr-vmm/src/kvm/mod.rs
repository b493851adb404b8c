//! Machines on the host's KVM: a microVM of our own.

mod boot;
mod error;
mod host;
mod layout;
mod memory;
mod registers;
mod serial;
pub(crate) mod trial;
mod vcpu;

pub use error::KvmError;
