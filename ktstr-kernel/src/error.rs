//! Why a kernel could not be resolved.

use std::io;
use std::path::{Path, PathBuf};

use ktstr_core::CpuSet;
use ktstr_core::host::LockError;

use crate::archive::ArchiveError;
use crate::build_path::{self, BuildPathError};
use crate::cache::CacheError;
use crate::image::ImageError;
use crate::kconfig::{DroppedOption, UnusableOption};
use crate::key::{CacheKey, CacheKeyError};
use crate::local::SourceError;
use crate::no_space::{CACHE_HINT, is_full};
use crate::process::{BuildFailure, RunError};
use crate::release::Release;
use crate::remedy::Remedy;
#[cfg(feature = "fetch")]
use crate::remote::FetchError;
#[cfg(feature = "git")]
use crate::repository::GitError;
use crate::resolved::BuiltTreeError;
use crate::spec::{KernelSpec, SpecError};
use crate::tools::{self, Pahole, PaholeVersion, Tool};
use crate::tree::TreeError;

/// Why a kernel could not be resolved. One line each; a failed build has [more](BuildFailure).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not an identifier.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The path does not lead to a kernel.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The directory is not a kernel tree, or no longer.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What was built cannot be used.
    #[error(transparent)]
    Built(#[from] BuiltTreeError),
    /// The cache does not give or take it.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The source's version makes no cache key.
    #[error(transparent)]
    Key(#[from] CacheKeyError),
    /// The tarball cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The git repository does not give it.
    #[cfg(feature = "git")]
    #[error(transparent)]
    Git(#[from] GitError),
    /// Another process builds it, for longer than [`BUILD_WAIT`](crate::cache::BUILD_WAIT).
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be fetched.
    #[cfg(feature = "fetch")]
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is not cached, and there is nowhere to fetch it from.
    #[error(
        "kernel `{spec}`: not in the cache{}, and nothing is fetched here; give a source tree (../linux), a source tarball, an image or a cache key",
        unused_text(unused.as_ref())
    )]
    NotFetched {
        /// What was asked for.
        spec: KernelSpec,
        /// A cached kernel of that name that could not be used: its key and why not.
        unused: Option<(CacheKey, &'static str)>,
    },
    /// A name of releases stands for none or for several, or cannot be looked up.
    #[error("kernel `{name}`: {why}")]
    Unresolved {
        /// What was asked for.
        name: String,
        /// What is wrong, and what to do.
        why: String,
        /// What helps.
        remedy: Option<Remedy>,
    },
    /// What was fetched is not the release that was asked for.
    #[error(
        "{path}: fetched as Linux {release}, but it is {found}; remove it and look at where it came from (KTSTR_KERNEL_MIRROR)"
    )]
    WrongSource {
        /// What was fetched.
        release: Release,
        /// Where it is.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Only source trees are cleaned.
    #[error("kernel `{spec}` is not a source tree, and there is nothing to clean")]
    NothingToClean {
        /// What was asked for.
        spec: KernelSpec,
    },
    /// An image or a cache entry is not built.
    #[error(
        "kernel `{spec}` is built already and names no source to build it from again; give its source tree or source tarball"
    )]
    NothingToBuild {
        /// What was asked for.
        spec: KernelSpec,
    },
    /// An image or a cache entry is not configured.
    #[error(
        "kernel `{spec}` is built already, and not with this extra kconfig; give its source tree or source tarball"
    )]
    NothingToConfigure {
        /// What was asked for.
        spec: KernelSpec,
    },
    /// Programs or headers that a build needs are missing.
    #[error(
        "kernels cannot be built: {} not found; run: {}",
        names(missing),
        install(missing)
    )]
    Tools {
        /// Which; at least one.
        missing: Vec<&'static Tool>,
    },
    /// Programs of the tool chain are missing.
    #[error("kernels cannot be built: {} not found; install it, or set the variable to another", missing.join(", "))]
    Toolchain {
        /// Which programs, by which variables.
        missing: Vec<String>,
    },
    /// No working pahole was found.
    #[error("kernels cannot be built: {why}; install pahole 1.21 or later: {}", tools::install_command(["pahole"]))]
    NoPahole {
        /// What is wrong, in one clause.
        why: String,
    },
    /// The pahole that was found is too old for this kernel's BTF.
    #[error(
        "pahole {} ({}): too old to make BTF of Linux {version}, which needs {needed} or later; install a newer one first in PATH",
        found.version,
        found.program.display()
    )]
    OldPahole {
        /// The pahole.
        found: Pahole,
        /// The oldest that would do.
        needed: PaholeVersion,
        /// The version of the sources.
        version: String,
    },
    /// The sources are of a kernel without sched_ext.
    #[error(
        "{path}: Linux {version} has no sched_ext, which came with 6.12; use that or a later one"
    )]
    NoSchedExt {
        /// The sources.
        path: PathBuf,
        /// Their version.
        version: String,
    },
    /// The tree can only be built in place, and cannot be written.
    #[error(
        "{tree}: cannot be written ({source}), and has a .config or a build of its own, so that it can be built only in place; make it writable, or give a copy of it on which make mrproper was run"
    )]
    ReadOnlyTree {
        /// The tree.
        tree: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Options with which the kernel cannot be built, or no test can run on it.
    #[error(
        "{tree}: {}; change {}",
        unusable_text(options),
        config.display()
    )]
    Unusable {
        /// The sources.
        tree: PathBuf,
        /// Which settings; at least one.
        options: Vec<UnusableOption>,
        /// Where they are set: the extra kconfig, else the tree's own `.config`.
        config: PathBuf,
    },
    /// The kernel's make cannot build in this path.
    #[error("{problem}; {advice}")]
    BuildPath {
        /// Where, and what is in the way.
        problem: BuildPathError,
        /// What to do.
        advice: &'static str,
    },
    /// There is less free space than a build needs.
    #[error("{dir}: building here needs about {} GiB, {} GiB are free; free some{hint}", gib(*needed), gib(*free))]
    Space {
        /// Where.
        dir: PathBuf,
        /// About how much building takes, bytes.
        needed: u64,
        /// How much is free, bytes.
        free: u64,
        /// More advice, or nothing.
        hint: &'static str,
    },
    /// The file system became full.
    #[error("{dir}: no space left on the device; free some{hint}")]
    NoSpace {
        /// Where.
        dir: PathBuf,
        /// More advice, or nothing.
        hint: &'static str,
    },
    /// Options did not survive `make olddefconfig`.
    #[error(
        "{tree}: {}; {}use another kernel",
        dropped_text(options),
        config.as_ref().map_or_else(String::new, |path| format!("change {}, or ", path.display()))
    )]
    Dropped {
        /// The sources.
        tree: PathBuf,
        /// Their version.
        version: String,
        /// Which options; at least one.
        options: Vec<DroppedOption>,
        /// The user's configuration: the extra kconfig, else the tree's own `.config`.
        config: Option<PathBuf>,
    },
    /// A make step failed.
    #[error("{0}")]
    Make(Box<BuildFailure>),
    /// The built image is of another version than the sources.
    #[error(
        "{image}: built from Linux {expected}, but it says it is {found}; run make mrproper there"
    )]
    WrongVersion {
        /// The image.
        image: PathBuf,
        /// What the sources say.
        expected: String,
        /// What the image says.
        found: String,
    },
    /// The tree kept changing while we waited to build it.
    #[error(
        "{tree}: its commit or configuration keeps changing; wait for other builds in it to end, then try again"
    )]
    TreeKeptChanging {
        /// The tree.
        tree: PathBuf,
    },
    /// Builds cannot be kept on the CPUs that they are to run on.
    #[error("cannot run builds on the host CPUs {cpus}: {source}; choose others")]
    Cpus {
        /// The CPUs.
        cpus: CpuSet,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory of the build could not be read or written.
    #[error("{path}: cannot {action}: {source}; check its permissions")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Io {
                path,
                action,
                source,
            } => Self::io(path, action, source),
            RunError::NoSpace { dir, hint } => Self::NoSpace { dir, hint },
            RunError::Failed(failure) => Self::Make(failure),
        }
    }
}

impl Error {
    /// What helps, where the error does not say it itself.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NothingToClean { .. } => Some(Remedy::LeaveOutClean),
            Self::NothingToBuild { .. } => Some(Remedy::LeaveOutForce),
            Self::NothingToConfigure { .. } => Some(Remedy::LeaveOutExtraKconfig),
            Self::WrongVersion { .. } => Some(Remedy::BuildClean),
            Self::Unresolved { remedy, .. } => remedy.clone(),
            Self::Built(error) => error.remedy(),
            Self::Cache(error) => error.remedy(),
            #[cfg(feature = "fetch")]
            Self::Fetch(error) => error.remedy(),
            _ => None,
        }
    }

    /// That there is nowhere to fetch it from; `unused` is a cached kernel of that name, and why it is not used.
    pub(crate) fn not_fetched(spec: &KernelSpec, unused: Option<(CacheKey, &'static str)>) -> Self {
        let spec = spec.clone();
        Self::NotFetched { spec, unused }
    }

    /// Makes sure that kernels can be built in the cache's directory, `root`.
    pub(crate) fn check_cache_path(root: &Path) -> Result<(), Self> {
        let advice = "set KTSTR_CACHE_DIR to a directory without such characters";
        build_path::check(root).map_err(|problem| Self::BuildPath { problem, advice })
    }

    /// Makes sure that kernels can be built in the source tree at `path`.
    pub(crate) fn check_tree_path(path: &Path) -> Result<(), Self> {
        let advice = "move the source tree to a path without such characters";
        build_path::check(path).map_err(|problem| Self::BuildPath { problem, advice })
    }

    /// An [`Error::Io`], or [`Error::NoSpace`] where that was it.
    pub(crate) fn io(path: impl Into<PathBuf>, action: &'static str, source: io::Error) -> Self {
        let path = path.into();
        if is_full(&source) {
            let hint = CACHE_HINT;
            return Self::NoSpace { dir: path, hint };
        }
        Self::Io {
            path,
            action,
            source,
        }
    }
}

fn unused_text(unused: Option<&(CacheKey, &'static str)>) -> String {
    unused.map_or_else(String::new, |(key, why)| {
        format!(" (cached `{key}` is not used: {why})")
    })
}

fn names(missing: &[&Tool]) -> String {
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    names.join(", ")
}

fn install(missing: &[&Tool]) -> String {
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.debian).collect();
    packages.dedup();
    tools::install_command(packages)
}

fn dropped_text(options: &[DroppedOption]) -> String {
    const SHOWN: usize = 4;
    let mut texts: Vec<String> = options
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if options.len() > SHOWN {
        texts.push(format!("{} more", options.len() - SHOWN));
    }
    texts.join("; ")
}

fn unusable_text(options: &[UnusableOption]) -> String {
    let texts: Vec<String> = options.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// One digit behind the point, rounded down: never more than there is.
fn gib(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 30);
    format!("{}.{}", tenths / 10, tenths % 10)
}
