//! From an identifier to a kernel that can be booted.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::path::Path;

use crate::archive::Tarball;
use crate::build::{Job, resolve_tarball, resolve_tree};
use crate::cache::{Cache, CacheEntry, ConfigOrigin, Metadata, Source};
use crate::error::Error;
use crate::fragment::BaseConfig;
use crate::progress::Progress;
use crate::release::Release;
use crate::resolved::ResolvedKernel;
use crate::source::LocalSource;
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
    #[cfg(feature = "git")]
    git_limits: crate::repository::Limits,
}

impl Resolver {
    /// A resolver that uses and fills `cache`.
    pub fn new(cache: Cache, options: BuildOptions) -> Self {
        Self {
            cache,
            options,
            #[cfg(feature = "git")]
            git_limits: crate::repository::Limits::default(),
        }
    }

    /// Other bounds for git servers than the default.
    #[cfg(feature = "git")]
    #[must_use]
    pub fn with_git_limits(mut self, limits: crate::repository::Limits) -> Self {
        self.git_limits = limits;
        self
    }

    /// The kernel that `spec` names.
    ///
    /// Images, cache keys and cached sources are ready at once; other sources are configured, built,
    /// checked and, where their content has a name, stored. A release is only looked for in the cache,
    /// among what was built from tarballs in the same base configuration.
    pub fn resolve(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<ResolvedKernel, Error> {
        let spelled = spec.to_string();
        let mut job = Job {
            cache: &self.cache,
            options: &self.options,
            progress,
            asked: Path::new(&spelled),
        };
        let nothing_to_clean = || Error::NothingToClean { spec: spec.clone() };
        let nothing_to_build = || Error::NothingToBuild { spec: spec.clone() };
        match spec {
            KernelSpec::Path(path) => {
                job.asked = path;
                match LocalSource::identify(path)? {
                    LocalSource::Tree(tree) => resolve_tree(&job, &tree),
                    _ if self.options.clean => Err(nothing_to_clean()),
                    LocalSource::Tarball { path, compression } => {
                        let path = path.as_path();
                        resolve_tarball(&job, Tarball { path, compression })
                    }
                    LocalSource::Image { .. } if self.options.force => Err(nothing_to_build()),
                    LocalSource::Image { path, .. } => Ok(ResolvedKernel::from_image(&path)?),
                }
            }
            _ if self.options.clean => Err(nothing_to_clean()),
            KernelSpec::CacheKey(_) if self.options.force => Err(nothing_to_build()),
            KernelSpec::CacheKey(key) => Ok(self.cache.lookup(key)?),
            KernelSpec::Version(release) => self.cached(&job, spec, |known| known == *release),
            KernelSpec::Series(series) => self.cached(&job, spec, |known| {
                (known.major, known.minor) == (series.major, series.minor)
            }),
            #[cfg(feature = "git")]
            KernelSpec::Git { url, reference } => {
                crate::build::resolve_git(&job, url, reference, self.git_limits)
            }
            #[cfg(not(feature = "git"))]
            KernelSpec::Git { .. } => Err(Error::NotFetched {
                spec: spec.clone(),
                unused: None,
            }),
            KernelSpec::Range { .. } => Err(Error::NotFetched {
                spec: spec.clone(),
                unused: None,
            }),
        }
    }

    /// The newest cached release that `is_asked` takes.
    fn cached(
        &self,
        job: &Job<'_>,
        spec: &KernelSpec,
        is_asked: impl Fn(Release) -> bool,
    ) -> Result<ResolvedKernel, Error> {
        let entries = self.cache.list()?;
        let mut found: Vec<(Release, &CacheEntry, &Metadata)> = entries
            .iter()
            .filter_map(|entry| {
                let metadata = entry.metadata()?;
                let release = released(metadata).filter(|release| is_asked(*release))?;
                Some((release, entry, metadata))
            })
            .collect();
        found.sort_by_key(|(release, ..)| Reverse(*release));
        let base = ConfigOrigin::Base(self.options.base_config);
        let why_not = |metadata: &Metadata| {
            if self.options.force {
                Some("--force builds again, and there is no source")
            } else if metadata.config_origin != base {
                Some("it has the other base configuration")
            } else if metadata.is_stale() {
                Some("ktstr's configuration changed since")
            } else {
                None
            }
        };
        let usable = found
            .iter()
            .find(|(_, _, metadata)| why_not(metadata).is_none());
        if let Some((_, entry, _)) = usable {
            return job.hit(entry);
        }
        let unused = found.first().and_then(|(_, entry, metadata)| {
            let why = why_not(metadata)?;
            Some((entry.key.clone(), why))
        });
        Err(Error::NotFetched {
            spec: spec.clone(),
            unused,
        })
    }
}

/// The release that an entry is of, as kernel.org spells it; its Makefile says `7.1.0-rc3` for `7.1-rc3`.
fn released(metadata: &Metadata) -> Option<Release> {
    if !matches!(metadata.source, Source::Tarball { .. }) {
        return None;
    }
    Release::parse(&metadata.version.replace(".0-rc", "-rc"))
}
