//! Why a run is refused, where a command and a program word that differently.

use std::fmt;

use ktstr_core::host::{LockError, PlacementError};
use ktstr_core::{Topology, Verdict};
use ktstr_kernel::discover::DiscoverError;

/// Something that a run needs and cannot have: what [`Settings::words`](super::Settings::words) makes a text of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Refusal<'a> {
    /// There is no kernel, and nobody named one.
    Kernel(&'a DiscoverError),
    /// There are no host CPUs.
    HostCpus(&'a ReserveError),
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::HostCpus(error) => error.fmt(f),
        }
    }
}

/// Why no host CPUs were reserved for a machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// [`Settings::cpu_cap`](super::Settings::cpu_cap) is more than this process may use.
    #[error(
        "the cap of {cap} host CPUs is above the {allowed} that are allowed to this process; lower it, see taskset -p"
    )]
    CapTooHigh {
        /// The cap.
        cap: usize,
        /// How many CPUs this process may use.
        allowed: usize,
    },
    /// The test's `cpu_budget` is more than this process may use.
    #[error(
        "cpu_budget: {budget} host CPUs are more than the {allowed} that are allowed to this process; see taskset -p"
    )]
    BudgetTooHigh {
        /// The budget.
        budget: usize,
        /// How many CPUs this process may use.
        allowed: usize,
    },
    /// Performance mode, on an emulated machine.
    #[error("performance mode needs KVM, and machines run on qemu here")]
    NotKvm,
    /// [`Settings::cpu_cap`](super::Settings::cpu_cap) is less than performance mode takes.
    #[error("performance mode: {topology} takes {needed} host CPUs, and the cap grants {cap}")]
    CapTooLow {
        /// The machine's shape.
        topology: Topology,
        /// How many it takes.
        needed: usize,
        /// The cap.
        cap: usize,
    },
    /// The host has no place for the machine in performance mode.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The locks that stand for host CPUs could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl ReserveError {
    /// The verdict of a run that is refused so, in these words.
    ///
    /// That others have the CPUs, or that the host is too small, is no fault: a skip. A cap beyond what there is, and
    /// locks that cannot be taken at all, are faults of the set-up, as every test would be skipped.
    pub(super) fn verdict(&self, words: String) -> Verdict {
        match self {
            Self::CapTooHigh { .. } => Verdict::fail("cpu_cap", words),
            Self::Lock(LockError::Busy { .. }) => Verdict::skip(words),
            Self::Lock(_) => Verdict::fail("host CPU locks", words),
            _ => Verdict::skip(words),
        }
    }
}
