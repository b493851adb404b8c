//! Releases: from the cache, or built from the tarball that a mirror has.

use std::cmp::Reverse;

use super::{KernelSource, Setup};
use crate::build::{BuildOptions, Request};
use crate::cache::{Cache, CacheEntry, Metadata};
use crate::error::Error;
use crate::key::{CacheKey, ConfigOrigin};
use crate::release::Release;
use crate::resolved::ResolvedKernel;
use crate::spec::KernelSpec;

/// One release.
pub(super) struct ReleaseSource<'a> {
    #[cfg_attr(
        not(feature = "fetch"),
        expect(dead_code, reason = "for what is fetched")
    )]
    setup: &'a Setup,
    spec: &'a KernelSpec,
    /// Which one; `None` for whichever the cache has of those that `spec` names.
    release: Option<Release>,
    /// Its source, once it is fetched.
    #[cfg(feature = "fetch")]
    tarball: Option<crate::remote::SourceTarball>,
}

impl<'a> ReleaseSource<'a> {
    pub(super) fn new(setup: &'a Setup, spec: &'a KernelSpec, release: Option<Release>) -> Self {
        Self {
            setup,
            spec,
            release,
            #[cfg(feature = "fetch")]
            tarball: None,
        }
    }

    /// Whether there is nowhere to fetch it from.
    fn is_cached_only(&self) -> bool {
        #[cfg(feature = "fetch")]
        return self.setup.remote.is_none();
        #[cfg(not(feature = "fetch"))]
        true
    }
}

impl KernelSource for ReleaseSource<'_> {
    fn release(&self) -> Option<Release> {
        self.release
    }

    fn look_up(&self, request: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        let is_asked = |cached: &Release| match &self.release {
            Some(release) => cached == release,
            None => self.spec.admits(cached),
        };
        let unused = match cached(request.cache, request.options, is_asked)? {
            Cached::Usable(_, entry) => return request.hit(&entry).map(Some),
            Cached::Nothing(unused) => unused,
        };
        if let Some(release) = &self.release {
            let spelled = release.to_string();
            request.check_sched_ext(spelled.as_ref(), &spelled, None)?;
        }
        if self.is_cached_only() {
            return Err(Error::not_fetched(self.spec, unused));
        }
        request.check_cache_path()?;
        Ok(None)
    }

    #[cfg(feature = "fetch")]
    fn fetch(&mut self, request: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        // Others may have built it meanwhile.
        if let Some(kernel) = self.look_up(request)? {
            return Ok(Some(kernel));
        }
        let (Some(remote), Some(release)) = (&self.setup.remote, self.release) else {
            return Err(Error::not_fetched(self.spec, None));
        };
        match remote.tarball(release, request.progress) {
            Ok(tarball) => {
                self.tarball = Some(tarball);
                Ok(None)
            }
            Err(error) => match self.instead(request, &error) {
                Some(kernel) => Ok(Some(kernel)),
                None => Err(error.into()),
            },
        }
    }

    #[cfg(feature = "fetch")]
    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error> {
        match (&self.tarball, self.release) {
            (Some(tarball), Some(release)) => build(request, release, &tarball.path),
            _ => Err(Error::not_fetched(self.spec, None)),
        }
    }

    #[cfg(not(feature = "fetch"))]
    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error> {
        let kernel = self.look_up(request)?;
        kernel.ok_or_else(|| Error::not_fetched(self.spec, None))
    }
}

#[cfg(feature = "fetch")]
impl ReleaseSource<'_> {
    /// What is used where a server cannot be reached: the newest cached release of a series.
    fn instead(
        &self,
        request: &Request<'_>,
        error: &crate::remote::FetchError,
    ) -> Option<ResolvedKernel> {
        if !matches!(self.spec, KernelSpec::Series(_)) || !error.is_outage() {
            return None;
        }
        let admitted = |cached: &Release| self.spec.admits(cached);
        let cached = cached(request.cache, request.options, admitted);
        let Ok(Cached::Usable(_, entry)) = cached else {
            return None;
        };
        request.note(&error.to_string());
        let (key, series) = (&entry.key, self.spec);
        request.note(&format!("taking {key}, the newest {series}.x in the cache"));
        request.hit(&entry).ok()
    }
}

/// Configures and builds `release` from its tarball at `path`.
#[cfg(feature = "fetch")]
fn build(
    request: &Request<'_>,
    release: Release,
    path: &std::path::Path,
) -> Result<ResolvedKernel, Error> {
    use crate::archive::Tarball;
    use crate::local::LocalSource;

    let wrong = |found: String| Error::WrongSource {
        release,
        path: path.to_owned(),
        found,
    };
    let LocalSource::Tarball { path, compression } = LocalSource::identify(path)? else {
        return Err(wrong("not a tarball".to_owned()));
    };
    let path = path.as_path();
    let tarball = Tarball { path, compression };
    let version = tarball.version()?;
    if Release::of_kernel(&version) != Some(release) {
        return Err(wrong(format!("Linux {version}")));
    }
    super::tarball::resolve(request, tarball)
}

/// The best that the cache has of some releases.
enum Cached {
    /// The newest that is as it would be built now.
    Usable(
        #[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "for indexes"))] Release,
        CacheEntry,
    ),
    /// Nothing; with the newest that would have to be built again, and why.
    Nothing(Option<(CacheKey, &'static str)>),
}

/// The newest usable release in the cache that `is_asked` takes.
#[cfg(feature = "fetch")]
pub(super) fn newest_cached(
    setup: &Setup,
    is_asked: impl Fn(&Release) -> bool,
) -> Option<(Release, CacheKey)> {
    match cached(&setup.cache, &setup.options, is_asked) {
        Ok(Cached::Usable(release, entry)) => Some((release, entry.key)),
        _ => None,
    }
}

/// Looks for the newest release that `is_asked` takes, among what was built from tarballs.
fn cached(
    cache: &Cache,
    options: &BuildOptions,
    is_asked: impl Fn(&Release) -> bool,
) -> Result<Cached, Error> {
    let entries = cache.list()?.into_iter();
    let released = entries.filter_map(|entry| {
        let metadata = entry.metadata()?;
        let release = metadata.release().filter(&is_asked)?;
        Some((why_not(metadata, options), release, entry))
    });
    let mut found: Vec<(Option<&str>, Release, CacheEntry)> = released.collect();
    // Usable ones first, and the newest of them.
    found.sort_by_key(|(why_not, release, _)| (why_not.is_some(), Reverse(*release)));
    let mut corrupt = None;
    for (why_not, release, entry) in found {
        match why_not {
            None if entry.verify().is_ok() => return Ok(Cached::Usable(release, entry)),
            None => corrupt = corrupt.or(Some((entry.key, "it is corrupt"))),
            Some(why) => return Ok(Cached::Nothing(corrupt.or(Some((entry.key, why))))),
        }
    }
    Ok(Cached::Nothing(corrupt))
}

/// Why an entry is not what `options` would build, in one clause; `None` where it is.
fn why_not(metadata: &Metadata, options: &BuildOptions) -> Option<&'static str> {
    if options.force {
        Some("it is to be built again, and there is no source")
    } else if metadata.config_origin != ConfigOrigin::Base(options.base_config) {
        Some("it has the other base configuration")
    } else if metadata.extra_kconfig.as_deref() != options.extra_hash() {
        Some(match options.extra_hash() {
            Some(_) => "it was built without this extra kconfig",
            None => "it was built with an extra kconfig",
        })
    } else if !options.is_variant(metadata) {
        Some("it was built with another tool chain (LLVM, CC and the like)")
    } else if metadata.is_stale() {
        Some("ktstr's configuration changed since")
    } else {
        None
    }
}
