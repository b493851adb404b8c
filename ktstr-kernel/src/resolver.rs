//! From an identifier to a kernel that can be booted.

use std::ffi::OsString;

use crate::cache::Cache;
use crate::error::Error;
use crate::fragment::BaseConfig;
use crate::progress::Progress;
use crate::resolved::ResolvedKernel;
use crate::spec::KernelSpec;

/// How kernels are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOptions {
    /// Configuration of a source that has none of its own.
    pub base_config: BaseConfig,
    /// Build even when cached.
    pub force: bool,
    /// `make mrproper` first; an error for anything but a source tree.
    pub clean: bool,
    /// Parallel jobs of make; at least 1.
    pub jobs: usize,
    /// Search path for make, compilers and git.
    pub path: OsString,
}

/// Turns identifiers into kernels, building and caching what is not there yet.
#[derive(Debug, Clone)]
pub struct Resolver {
    cache: Cache,
    options: BuildOptions,
}

impl Resolver {
    /// A resolver that uses and fills `cache`.
    pub fn new(cache: Cache, options: BuildOptions) -> Self {
        Self { cache, options }
    }

    /// The kernel that `spec` names.
    ///
    /// Images, cache keys and cached sources are ready at once; other sources are configured, built,
    /// checked and, where their content has a name, stored.
    pub fn resolve(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<ResolvedKernel, Error> {
        todo!()
    }
}
