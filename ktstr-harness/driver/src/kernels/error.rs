//! Why kernels cannot be resolved or listed.

use ktstr_core::host::{HostCpusError, LockError};
use ktstr_harness::runner::NoCacheRoot;
use ktstr_kernel::remote::MirrorError;
use ktstr_kernel::{BuildOptionsError, CacheError, Error, Failures, FetchError, SpecError};

/// Kernels that cannot be resolved or listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelsError {
    /// The environment names no directory for the kernel cache.
    #[error(transparent)]
    NoCache(#[from] NoCacheRoot),
    /// The environment does not say how to build.
    #[error(transparent)]
    Options(#[from] BuildOptionsError),
    /// The environment does not name a mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The environment does not say how to fetch.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The cache cannot be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It is not an identifier.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// It names something else than a range of releases.
    #[error("`{range}` is not a range; give one, such as 6.12..6.14")]
    NotARange {
        /// What was given.
        range: String,
    },
    /// The releases of a range cannot be told.
    #[error(transparent)]
    Releases(#[from] Error),
    /// Some kernels could not be resolved: all that is wrong with any of them.
    #[error(transparent)]
    Failures(#[from] Failures),
    /// More host CPUs were asked for than there are.
    #[error(
        "a build on {cap} host CPUs was asked for and this process may use {allowed}; ask for fewer, see taskset -p"
    )]
    TooFewCpus {
        /// How many were asked for.
        cap: usize,
        /// How many this process may use.
        allowed: usize,
    },
    /// The host does not tell its CPUs.
    #[error(transparent)]
    HostCpus(#[from] HostCpusError),
    /// Other processes have the CPUs.
    #[error(transparent)]
    Busy(#[from] LockError),
}
