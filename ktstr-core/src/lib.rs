//! The vocabulary every ktstr crate speaks.
//!
//! Plain data and small algebra: what a machine looks like ([`Topology`], [`Preset`], [`CpuSet`]),
//! what a kernel is called ([`KernelLabel`]), how a test ended ([`Outcome`], [`Verdict`]) and what
//! is written down about it. Nothing here starts a process or a machine.

pub mod cpuset;
pub mod env;
pub mod files;
pub mod kernel_label;
pub mod lock;
pub mod preset;
pub mod topology;
pub mod verdict;

pub use cpuset::{CpuSet, ParseCpuSetError};
pub use kernel_label::KernelLabel;
pub use lock::{LockError, LockFile, Reservation};
pub use preset::Preset;
pub use topology::{Constraints, ParseTopologyError, Rejection, Topology, TopologyError};
pub use verdict::{Detail, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, Outcome, Verdict};
