//! What helps against an error, for the caller to word.

use std::fmt;

/// What helps against an error, where a command and a program say it in different words.
///
/// An error says what is wrong, and what to do where that is the same for every caller. Beyond that it names a remedy:
/// a command words it with its own options, a program acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Do not clean: only source trees have something to clean. `BuildOptions::force` builds others again.
    LeaveOutClean,
    /// Do not set `BuildOptions::force`.
    LeaveOutForce,
    /// Do not set `BuildOptions::extra_kconfig`.
    LeaveOutExtraKconfig,
    /// Set `BuildOptions::clean`.
    BuildClean,
    /// Set `RemoteOptions::skip_sha256`.
    SkipChecksums,
    /// Have ranges include end-of-life series, by `Resolver::including_eol`.
    IncludeEol,
    /// Look for the key in [`Cache::list`](crate::Cache::list).
    ListKeys,
    /// Remove corrupt entries with [`Cache::clean`](crate::Cache::clean), and build them again.
    RemoveCorrupt,
    /// Build this kernel first.
    Build {
        /// Its identifier.
        kernel: String,
    },
    /// Resolve this kernel, whose name may stand for another one tomorrow, and use what comes of it.
    Resolve {
        /// Its identifier.
        kernel: String,
    },
    /// Build any kernel.
    BuildAny,
}

impl Remedy {
    pub(crate) fn build(kernel: &impl fmt::Display) -> Self {
        let kernel = kernel.to_string();
        Self::Build { kernel }
    }
}
