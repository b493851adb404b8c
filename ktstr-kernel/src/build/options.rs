//! How kernels are built.

use std::thread::available_parallelism;
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_core::{CpuSet, env};

use crate::cache::Metadata;
use crate::fragment::{BaseConfig, ParseBaseConfigError};
use crate::kconfig::ExtraKconfig;
use crate::key::{CacheKey, CacheKeyError};
use crate::toolchain::{Toolchain, ToolchainError};

/// How kernels are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOptions {
    /// Configuration of a source that has none of its own.
    pub base_config: BaseConfig,
    /// Options merged over ktstr's; they win.
    pub extra_kconfig: Option<ExtraKconfig>,
    /// Build even when cached.
    pub force: bool,
    /// `make mrproper` first; an error for anything but a source tree.
    pub clean: bool,
    /// Parallel jobs of make; at least 1.
    pub jobs: usize,
    /// Host CPUs that builds run on; `None` for those of the calling thread, whose own affinity never changes. Whether
    /// others share them is up to the caller, who may hold a [`Reservation`](ktstr_core::host::Reservation).
    pub cpus: Option<CpuSet>,
    /// Compile through ccache where the host has it.
    pub ccache: bool,
    /// What kernels are compiled with.
    pub toolchain: Toolchain,
    /// Where make, compilers and git are searched for, and the environment that they get: without what would change the
    /// result of a build.
    pub host: Host,
    /// How long a program of a build may print nothing. One that hangs ends the build then, with an
    /// [`Ending::Silent`](crate::Ending::Silent).
    pub silence: Duration,
}

/// A variable of the environment that does not say how to build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildOptionsError {
    /// It names no base configuration.
    #[error("{variable}: {0}", variable = env::BASE_CONFIG)]
    BaseConfig(#[from] ParseBaseConfigError),
    /// It names no tool chain.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
}

impl BuildOptions {
    /// The usual [`BuildOptions::silence`], half an hour: kbuild prints a line before each step, and the longest steps,
    /// linking and BTF of a big configuration on a small machine, take minutes.
    pub const SILENCE: Duration = Duration::from_secs(30 * 60);

    /// Options as the environment of `host` has them: `KTSTR_BASE_CONFIG`, `KTSTR_CCACHE` (off where it is `0`) and the
    /// [tool chain's](crate::TOOLCHAIN_VARIABLES). One job for each CPU that the calling thread may use; everything else
    /// is off.
    pub fn from_env(host: &Host) -> Result<Self, BuildOptionsError> {
        let base = host.non_empty_var(env::BASE_CONFIG);
        let base = base.map(|name| name.to_string_lossy().parse::<BaseConfig>());
        Ok(Self {
            base_config: base.transpose()?.unwrap_or_default(),
            extra_kconfig: None,
            force: false,
            clean: false,
            jobs: available_parallelism().map_or(1, usize::from),
            cpus: None,
            ccache: host.var(env::CCACHE).is_none_or(|value| value != "0"),
            toolchain: Toolchain::from_env(host)?,
            host: host.clone(),
            silence: Self::SILENCE,
        })
    }

    /// The hash of the extra kconfig, as keys and metadata have it. One that sets nothing makes no other kernel.
    pub(crate) fn extra_hash(&self) -> Option<&str> {
        let extra = self.extra_kconfig.as_ref();
        extra.filter(|it| !it.is_empty()).map(ExtraKconfig::hash)
    }

    /// Completes a key with what makes it another kernel beside source and configuration.
    pub(crate) fn variant(&self, key: CacheKey) -> Result<CacheKey, CacheKeyError> {
        key.with_extra_kconfig(self.extra_hash())?
            .with_toolchain(self.toolchain.hash().as_deref())
    }

    /// Whether that kernel was built with the same extra kconfig and tool chain.
    pub(crate) fn is_variant(&self, metadata: &Metadata) -> bool {
        metadata.extra_kconfig.as_deref() == self.extra_hash()
            && metadata.toolchain == self.toolchain.spelled()
    }
}
