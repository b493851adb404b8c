//! Where kernels come from: a file for each kind of source.
//!
//! An [`Identifier`] makes sources of identifiers, once. The resolver then walks over all of them: it
//! [looks up](KernelSource::look_up) what is there already, [fetches](KernelSource::fetch) what is missing, and only then
//! [prepares](KernelSource::prepare) anything. A new kind of source is a variant of [`KernelSpec`] with its spelling, a
//! file here, and an arm in [`Identifier::identify`]; where it is cached, it also has a
//! [record](crate::cache::SourceRecord) and a [key](crate::cache::CacheKey).

#[cfg(feature = "git")]
mod git;
mod image;
mod key;
#[cfg(feature = "fetch")]
mod names;
mod release;
mod tarball;
mod tarball_index;
mod tree;

use std::path::Path;

use crate::build::{BuildOptions, Request};
use crate::cache::Cache;
use crate::error::Error;
use crate::local::LocalSource;
use crate::progress::Progress;
use crate::release::Release;
#[cfg(feature = "fetch")]
use crate::remote::Remote;
#[cfg(feature = "git")]
use crate::repository::Limits;
use crate::resolved::ResolvedKernel;
use crate::spec::KernelSpec;

/// The source of one kernel.
pub(crate) trait KernelSource: Send + Sync {
    /// The release that it is, where it is named as one: two names of one release are one kernel.
    fn release(&self) -> Option<Release> {
        None
    }

    /// The kernel, where it is there already; `None` where it has to be fetched or prepared. Nothing is fetched here but
    /// lists of names. An error is about something that neither fetching nor preparing would change.
    fn look_up(&self, request: &Request<'_>) -> Result<Option<ResolvedKernel>, Error>;

    /// Fetches what [`prepare`](Self::prepare) needs; called from several threads for several sources at once. `Some` is
    /// a kernel that is there after all.
    fn fetch(&mut self, _: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        Ok(None)
    }

    /// The kernel: from the cache, or unpacked, configured, built and stored.
    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error>;
}

/// Where sources are looked up, fetched from and built.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) cache: Cache,
    pub(crate) options: BuildOptions,
    #[cfg(feature = "git")]
    pub(crate) git_limits: Limits,
    /// `None` where nothing is fetched.
    #[cfg(feature = "fetch")]
    pub(crate) remote: Option<Remote>,
    /// Whether ranges have the last release of end-of-life series in them.
    #[cfg(feature = "fetch")]
    pub(crate) include_eol: bool,
}

impl Setup {
    /// A request for what was written as `asked`.
    pub(crate) fn request<'a>(
        &'a self,
        asked: &'a Path,
        progress: &'a dyn Progress,
    ) -> Request<'a> {
        Request {
            cache: &self.cache,
            options: &self.options,
            progress,
            asked,
        }
    }
}

/// A source that borrows its identifier.
pub(crate) type BoxedSource<'a> = Box<dyn KernelSource + 'a>;

/// Makes sources of identifiers. Asks the network for each index of releases once, however many identifiers need it.
pub(crate) struct Identifier<'a> {
    setup: &'a Setup,
    #[cfg(feature = "fetch")]
    pub(crate) names: names::Names<'a>,
}

impl<'a> Identifier<'a> {
    pub(crate) fn new(setup: &'a Setup, progress: &'a dyn Progress) -> Self {
        #[cfg(not(feature = "fetch"))]
        let _ = progress;
        Self {
            setup,
            #[cfg(feature = "fetch")]
            names: names::Names::new(setup, progress),
        }
    }

    /// The sources that `spec` names, one for each kernel; at least one.
    pub(crate) fn identify(&self, spec: &'a KernelSpec) -> Result<Vec<BoxedSource<'a>>, Error> {
        let setup = self.setup;
        let source: BoxedSource<'a> = match spec {
            KernelSpec::Path(path) => local(spec, path, setup)?,
            _ if setup.options.clean => return Err(Error::NothingToClean { spec: spec.clone() }),
            KernelSpec::CacheKey(key) => Box::new(key::KeySource { spec, key }),
            #[cfg(feature = "git")]
            KernelSpec::Git { url, reference } => Box::new(git::GitSource {
                url,
                reference,
                limits: setup.git_limits,
            }),
            #[cfg(not(feature = "git"))]
            KernelSpec::Git { .. } => return Err(Error::not_fetched(spec, None)),
            KernelSpec::Version(_)
            | KernelSpec::Series(_)
            | KernelSpec::Newest(_)
            | KernelSpec::Range { .. } => return self.releases(spec),
        };
        Ok(vec![source])
    }

    /// The sources of the releases that `spec` names. Where nothing is fetched, no index says which those are: then a
    /// series is whichever of it is in the cache.
    fn releases(&self, spec: &'a KernelSpec) -> Result<Vec<BoxedSource<'a>>, Error> {
        let setup = self.setup;
        let source = |release| -> BoxedSource<'a> {
            Box::new(release::ReleaseSource::new(setup, spec, release))
        };
        match spec {
            KernelSpec::Version(release) => Ok(vec![source(Some(*release))]),
            #[cfg(feature = "fetch")]
            _ if setup.remote.is_some() => {
                let releases = self.names.releases(spec)?.into_iter();
                Ok(releases.map(|release| source(Some(release))).collect())
            }
            KernelSpec::Series(_) => Ok(vec![source(None)]),
            _ => Err(Error::not_fetched(spec, None)),
        }
    }
}

/// The source at `path`.
fn local<'a>(spec: &'a KernelSpec, path: &Path, setup: &Setup) -> Result<BoxedSource<'a>, Error> {
    let local = LocalSource::identify(path)?;
    if setup.options.clean && !matches!(local, LocalSource::Tree(_)) {
        return Err(Error::NothingToClean { spec: spec.clone() });
    }
    Ok(match local {
        LocalSource::Tree(tree) => Box::new(tree::TreeSource { tree }),
        LocalSource::Tarball { path, compression } => {
            Box::new(tarball::TarballSource { path, compression })
        }
        LocalSource::Image { path, .. } => Box::new(image::ImageSource { spec, path }),
    })
}
