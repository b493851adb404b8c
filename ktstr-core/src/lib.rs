//! The vocabulary every ktstr crate speaks.
//!
//! Plain data and small algebra: what a machine looks like ([`Topology`], [`Preset`], [`CpuSet`]),
//! what a kernel is called ([`KernelLabel`]), how a test ended ([`Outcome`], [`Verdict`]) and what
//! is written down about it ([`Sidecar`], [`RunDir`]). Nothing here starts a process or a machine.

pub mod cpuset;
pub mod env;
pub mod files;
pub mod held_locks;
pub mod host;
pub mod host_cpus;
pub mod kernel_label;
pub mod kernel_log;
pub mod lock;
pub mod metric;
pub mod placement;
pub mod preset;
pub mod reservation;
pub mod rundir;
pub mod sampled;
pub mod sidecar;
pub mod signal;
pub mod stats;
pub mod text;
pub mod timestamp;
pub mod topology;
pub mod verdict;
pub mod verifier;

pub use cpuset::{CpuSet, ParseCpuSetError};
pub use held_locks::{LockHolder, LockKind, LockPlaces, LockStatus, held_locks, lock_holders};
pub use host::HostContext;
pub use host_cpus::{HostCpus, HostCpusError, HostLlc};
pub use kernel_label::KernelLabel;
pub use kernel_log::{KernelWarning, Taint};
pub use lock::{LockError, LockFile};
pub use metric::{Better, Metric};
pub use placement::{Placement, PlacementError};
pub use preset::Preset;
pub use reservation::{Claims, Reservation, Resource};
pub use rundir::{Record, RecordKind, RunDir, RunDirError};
pub use sampled::Sampled;
pub use sidecar::{CgroupStats, Sidecar};
pub use topology::{Constraints, ParseTopologyError, Rejection, Topology, TopologyError};
pub use verdict::{Detail, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, Outcome, Verdict};
pub use verifier::{Stage, VerifiedProgram, VerifierStats};
