//! From an identifier to a kernel that can be booted.

use std::cmp::Reverse;
#[cfg(feature = "fetch")]
use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::Path;

use crate::archive::Tarball;
use crate::build::{Job, resolve_tarball, resolve_tree};
use crate::cache::{Cache, CacheEntry, CacheKey, CacheKeyError, ConfigOrigin, Metadata};
use crate::error::Error;
use crate::fragment::BaseConfig;
use crate::kconfig::ExtraKconfig;
use crate::progress::Progress;
use crate::release::Release;
use crate::resolved::ResolvedKernel;
use crate::source::LocalSource;
use crate::spec::KernelSpec;
use crate::toolchain::Toolchain;

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
    /// Compile through ccache where `path` has it.
    pub ccache: bool,
    /// What they are compiled with.
    pub toolchain: Toolchain,
    /// Search path for make, compilers and git.
    pub path: OsString,
}

impl BuildOptions {
    /// The hash of the extra kconfig, as keys and metadata have it. One that sets nothing makes no other kernel.
    pub(crate) fn extra_hash(&self) -> Option<&str> {
        let extra = self.extra_kconfig.as_ref();
        extra.filter(|it| !it.is_empty()).map(ExtraKconfig::hash)
    }

    /// What beside the configuration makes it another kernel: what follows in its key.
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

/// Turns identifiers into kernels, building and caching what is not there yet.
#[derive(Debug, Clone)]
pub struct Resolver {
    cache: Cache,
    options: BuildOptions,
    #[cfg(feature = "git")]
    git_limits: crate::repository::Limits,
    #[cfg(feature = "fetch")]
    pub(crate) remote: Option<crate::remote::Remote>,
    #[cfg(feature = "fetch")]
    pub(crate) include_eol: bool,
}

const BROKEN: &str = "it is corrupt; cargo ktstr kernel clean --corrupt-only removes it";

/// The best that the cache has of some releases.
enum Cached {
    /// The newest that is as it would be built now.
    Usable(
        #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "plans take it"))] Release,
        CacheEntry,
    ),
    /// Nothing; with the newest that would have to be built again, and why.
    Nothing(Option<(CacheKey, &'static str)>),
}

impl Resolver {
    /// A resolver that uses and fills `cache`.
    pub fn new(cache: Cache, options: BuildOptions) -> Self {
        Self {
            cache,
            options,
            #[cfg(feature = "git")]
            git_limits: crate::repository::Limits::default(),
            #[cfg(feature = "fetch")]
            remote: None,
            #[cfg(feature = "fetch")]
            include_eol: false,
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
    /// checked and, where their content has a name, stored. A release is looked for in the cache, among
    /// what was built from tarballs in the same base configuration and with the same extra kconfig; one
    /// that is not there is fetched, where [`fetching`](Self::fetching) says from where. A range must
    /// stand for one release; `resolve_all` takes others.
    pub fn resolve(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<ResolvedKernel, Error> {
        let spelled = spec.to_string();
        let mut job = self.job(Path::new(&spelled), progress);
        match spec {
            KernelSpec::Path(path) => {
                job.asked = path;
                match LocalSource::identify(path)? {
                    LocalSource::Tree(tree) => resolve_tree(&job, &tree),
                    _ if self.options.clean => Err(nothing_to_clean(spec)),
                    LocalSource::Tarball { path, compression } => {
                        let path = path.as_path();
                        resolve_tarball(&job, Tarball { path, compression })
                    }
                    LocalSource::Image { .. } if self.options.force => Err(nothing_to_build(spec)),
                    LocalSource::Image { .. } if self.options.extra_hash().is_some() => {
                        Err(nothing_to_configure(spec))
                    }
                    LocalSource::Image { path, .. } => Ok(ResolvedKernel::from_image(&path)?),
                }
            }
            _ if self.options.clean => Err(nothing_to_clean(spec)),
            KernelSpec::CacheKey(_) if self.options.force => Err(nothing_to_build(spec)),
            KernelSpec::CacheKey(key) => self.of_key(spec, key),
            #[cfg(feature = "fetch")]
            KernelSpec::Version(_)
            | KernelSpec::Series(_)
            | KernelSpec::Newest(_)
            | KernelSpec::Range { .. }
                if self.remote.is_some() =>
            {
                self.resolve_release(spec, progress)
            }
            KernelSpec::Version(_) | KernelSpec::Series(_) => {
                match self.cached(|release| spec.admits(release))? {
                    Cached::Usable(_, entry) => job.hit(&entry),
                    Cached::Nothing(unused) => Err(not_fetched(spec, unused)),
                }
            }
            #[cfg(feature = "git")]
            KernelSpec::Git { url, reference } => {
                crate::build::resolve_git(&job, url, reference, self.git_limits)
            }
            #[cfg(not(feature = "git"))]
            KernelSpec::Git { .. } => Err(not_fetched(spec, None)),
            KernelSpec::Newest(_) | KernelSpec::Range { .. } => Err(not_fetched(spec, None)),
        }
    }

    fn job<'a>(&'a self, asked: &'a Path, progress: &'a dyn Progress) -> Job<'a> {
        Job {
            cache: &self.cache,
            options: &self.options,
            progress,
            asked,
        }
    }

    /// The kernel of a cache entry that was named by its key.
    fn of_key(&self, spec: &KernelSpec, key: &CacheKey) -> Result<ResolvedKernel, Error> {
        let Some(entry) = self.cache.get(key) else {
            return Ok(self.cache.lookup_beside(key, Path::new(""))?);
        };
        entry.verify().map_err(|why| entry.error(why))?;
        let built = entry.metadata().and_then(|it| it.extra_kconfig.as_deref());
        match self.options.extra_hash() {
            Some(asked) if Some(asked) != built => Err(nothing_to_configure(spec)),
            _ => Ok(entry.kernel()?),
        }
    }

    /// The newest cached release that `is_asked` takes.
    fn cached(&self, is_asked: impl Fn(&Release) -> bool) -> Result<Cached, Error> {
        let base = ConfigOrigin::Base(self.options.base_config);
        let why_not = |metadata: &Metadata| {
            if self.options.force {
                Some("--force builds again, and there is no source")
            } else if metadata.config_origin != base {
                Some("it has the other base configuration")
            } else if metadata.extra_kconfig.as_deref() != self.options.extra_hash() {
                Some(if self.options.extra_hash().is_some() {
                    "it was built without this extra kconfig"
                } else {
                    "it was built with an extra kconfig"
                })
            } else if !self.options.is_variant(metadata) {
                Some("it was built with another tool chain (LLVM, CC and the like)")
            } else if metadata.is_stale() {
                Some("ktstr's configuration changed since")
            } else {
                None
            }
        };
        let mut found: Vec<(Option<&str>, Release, CacheEntry)> = self
            .cache
            .list()?
            .into_iter()
            .filter_map(|entry| {
                let metadata = entry.metadata()?;
                let release = metadata.release().filter(&is_asked)?;
                Some((why_not(metadata), release, entry))
            })
            .collect();
        // Usable ones first, and the newest of them.
        found.sort_by_key(|(why_not, release, _)| (why_not.is_some(), Reverse(*release)));
        let mut broken = None;
        for (why_not, release, entry) in found {
            match why_not {
                None if entry.verify().is_ok() => return Ok(Cached::Usable(release, entry)),
                None => broken = broken.or(Some((entry.key, BROKEN))),
                Some(why) => return Ok(Cached::Nothing(broken.or(Some((entry.key, why))))),
            }
        }
        Ok(Cached::Nothing(broken))
    }
}

/// What the steps of a plan take of it.
#[cfg(feature = "fetch")]
impl Resolver {
    /// The kernel of one release, where the cache has it.
    pub(crate) fn cached_release(
        &self,
        spec: &KernelSpec,
        release: Release,
        progress: &dyn Progress,
    ) -> Result<Option<ResolvedKernel>, Error> {
        if self.options.clean {
            return Err(nothing_to_clean(spec));
        }
        match self.cached(|cached| *cached == release)? {
            Cached::Usable(_, entry) => {
                let spelled = spec.to_string();
                let job = self.job(Path::new(&spelled), progress);
                job.hit(&entry).map(Some)
            }
            // Before it is fetched.
            Cached::Nothing(_) => {
                let spelled = release.to_string();
                self.job(Path::new(&spelled), progress).check_sched_ext(
                    Path::new(&spelled),
                    &spelled,
                    None,
                )?;
                Ok(None)
            }
        }
    }

    /// The kernel of a git source, where the cache has it; an error where there is no such commit.
    pub(crate) fn look_up_git(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<Option<ResolvedKernel>, Error> {
        match spec {
            #[cfg(feature = "git")]
            KernelSpec::Git { url, reference } if !self.options.clean => {
                let spelled = spec.to_string();
                let job = self.job(Path::new(&spelled), progress);
                crate::build::look_up_git(&job, url, reference, self.git_limits)
            }
            // What is wrong with it is known without a look.
            _ => self.resolve(spec, progress).map(Some),
        }
    }

    /// The newest cached release of those that `spec` admits.
    pub(crate) fn newest_cached(&self, spec: &KernelSpec) -> Option<(Release, CacheKey)> {
        match self.cached(|release| spec.admits(release)) {
            Ok(Cached::Usable(release, entry)) => Some((release, entry.key)),
            _ => None,
        }
    }

    /// Configures and builds `release` from its tarball.
    pub(crate) fn build_release(
        &self,
        spec: &KernelSpec,
        release: Release,
        tarball: &Path,
        progress: &dyn Progress,
    ) -> Result<ResolvedKernel, Error> {
        let source = LocalSource::identify(tarball)?;
        let LocalSource::Tarball { path, compression } = source else {
            return Err(Error::WrongSource {
                release,
                path: tarball.to_owned(),
                found: "not a tarball".to_owned(),
            });
        };
        let spelled = spec.to_string();
        let job = self.job(Path::new(&spelled), progress);
        let path = path.as_path();
        let tarball = Tarball { path, compression };
        let version = tarball.version()?;
        if Release::of_kernel(&version) != Some(release) {
            return Err(Error::WrongSource {
                release,
                path: path.to_owned(),
                found: format!("Linux {version}"),
            });
        }
        resolve_tarball(&job, tarball)
    }

    /// Makes sure that the cache is where kernels can be built.
    pub(crate) fn check_cache_path(&self) -> Result<(), Error> {
        Error::check_cache_path(self.cache.root())
    }

    /// Search path for programs.
    pub(crate) fn path(&self) -> &OsStr {
        &self.options.path
    }

    /// That there is nowhere to fetch it from.
    pub(crate) fn not_fetched(&self, spec: &KernelSpec) -> Error {
        let cached = self.cached(|release| spec.admits(release));
        match cached {
            Ok(Cached::Nothing(unused)) => not_fetched(spec, unused),
            Ok(Cached::Usable(..)) => not_fetched(spec, None),
            Err(error) => error,
        }
    }
}

fn nothing_to_clean(spec: &KernelSpec) -> Error {
    Error::NothingToClean { spec: spec.clone() }
}

fn nothing_to_build(spec: &KernelSpec) -> Error {
    Error::NothingToBuild { spec: spec.clone() }
}

fn nothing_to_configure(spec: &KernelSpec) -> Error {
    Error::NothingToConfigure { spec: spec.clone() }
}

fn not_fetched(spec: &KernelSpec, unused: Option<(CacheKey, &'static str)>) -> Error {
    let spec = spec.clone();
    Error::NotFetched { spec, unused }
}
