//! From identifiers to kernels that can be booted.

mod failures;
mod plan;

use self::plan::Plan;
use crate::build::BuildOptions;
use crate::cache::Cache;
use crate::confine;
use crate::error::Error;
use crate::progress::{Event, Progress};
use crate::release::Release;
#[cfg(feature = "fetch")]
use crate::remote::Remote;
#[cfg(feature = "git")]
use crate::repository::Limits;
use crate::resolved::ResolvedKernel;
use crate::source::{Identifier, Setup};
use crate::spec::KernelSpec;

pub use self::failures::{Failed, Failures};

/// Turns identifiers into kernels: looks them up, and fetches, builds and caches what is not there yet.
#[derive(Debug, Clone)]
pub struct Resolver {
    setup: Setup,
}

impl Resolver {
    /// A resolver that uses and fills `cache`. Releases come from there alone until it is told where to
    /// [fetch](Self::fetching) them from.
    pub fn new(cache: Cache, options: BuildOptions) -> Self {
        let setup = Setup {
            cache,
            options,
            #[cfg(feature = "git")]
            git_limits: Limits::default(),
            #[cfg(feature = "fetch")]
            remote: None,
            #[cfg(feature = "fetch")]
            include_eol: false,
        };
        Self { setup }
    }

    /// Other bounds for git servers than the default.
    #[cfg(feature = "git")]
    #[must_use]
    pub fn with_git_limits(mut self, limits: Limits) -> Self {
        self.setup.git_limits = limits;
        self
    }

    /// Lets it fetch releases that are not in the cache.
    #[cfg(feature = "fetch")]
    #[must_use]
    pub fn fetching(mut self, remote: Remote) -> Self {
        self.setup.remote = Some(remote);
        self
    }

    /// Includes the last release of each end-of-life series in ranges, as the tags of linux-stable list them.
    #[cfg(feature = "fetch")]
    #[must_use]
    pub fn including_eol(mut self, include_eol: bool) -> Self {
        self.setup.include_eol = include_eol;
        self
    }

    /// The kernel that `spec` names.
    ///
    /// Images, cache keys and cached sources are ready at once; other sources are configured, built, checked and, where
    /// their content has a name, stored. A release is looked for in the cache, among what was built from tarballs with
    /// the same options, and else [fetched](Self::fetching). A range must stand for one release;
    /// [`resolve_all`](Self::resolve_all) takes others.
    pub fn resolve(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<ResolvedKernel, Error> {
        let mut sources = Identifier::new(&self.setup, progress).identify(spec)?;
        let mut source = match (sources.pop(), sources.is_empty()) {
            (Some(source), true) => source,
            (last, _) => {
                let releases = sources.iter().chain(&last);
                let releases = releases.filter_map(|source| source.release());
                let releases: Vec<String> = releases.map(|it| it.to_string()).collect();
                return Err(Error::Unresolved {
                    name: spec.to_string(),
                    why: format!(
                        "it stands for several releases ({}); give one of them",
                        releases.join(", ")
                    ),
                    remedy: None,
                });
            }
        };
        let asked = plan::asked(spec);
        let request = self.setup.request(&asked, progress);
        if let Some(kernel) = source.fetch(&request)? {
            return Ok(kernel);
        }
        confine::on(self.setup.options.cpus.as_ref(), || {
            source.prepare(&request)
        })
    }

    /// Finds out what `specs` name and takes what is there, as [`resolve_all`](Self::resolve_all) does first. Nothing is
    /// fetched but the index of releases and lists of references, and nothing is built.
    pub fn look_up_all(
        &self,
        specs: &[KernelSpec],
        progress: &dyn Progress,
    ) -> Result<(), Failures> {
        Plan::new(&self.setup, specs, progress, &mut |_, _| {}).map(drop)
    }

    /// Every kernel that `specs` name, in their order, each once. `on_ready` is told of each as soon as it is there.
    ///
    /// Nothing is fetched before every identifier made sense, and nothing is built before every source is there. What goes
    /// wrong in one of these steps is told of all identifiers together.
    pub fn resolve_all(
        &self,
        specs: &[KernelSpec],
        progress: &dyn Progress,
        on_ready: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
    ) -> Result<Vec<ResolvedKernel>, Failures> {
        let mut plan = Plan::new(&self.setup, specs, progress, on_ready)?;
        plan.fetch(on_ready)?;
        plan.prepare(on_ready)?;
        Ok(plan.into_kernels())
    }

    /// As [`resolve_all`](Self::resolve_all), for identifiers as they were written. None at all stands for the
    /// [latest release](Self::latest_release).
    ///
    /// Where some cannot be parsed, the others are still [looked up](Self::look_up_all), so that everything that is wrong
    /// is told at once, in the order given.
    ///
    /// `~` is the `HOME` of the [host](BuildOptions::host) that kernels are built on.
    pub fn resolve_identifiers(
        &self,
        identifiers: &[impl AsRef<str>],
        progress: &dyn Progress,
        on_ready: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
    ) -> Result<Vec<ResolvedKernel>, Failures> {
        let mut failures = Failures::new();
        let mut positions = Vec::new();
        let mut specs = Vec::new();
        for (position, text) in identifiers.iter().map(AsRef::as_ref).enumerate() {
            match KernelSpec::parse(text, &self.setup.options.host) {
                Ok(spec) => {
                    positions.push(position);
                    specs.push(spec);
                }
                Err(error) => failures.add(position, text, error.into()),
            }
        }
        if identifiers.is_empty() {
            match self.latest_release(progress) {
                Ok(latest) => {
                    progress.event(Event::Note(&format!(
                        "no kernel was named: taking {latest}, of the newest series with eight maintenance releases"
                    )));
                    specs.push(KernelSpec::Version(latest));
                }
                Err(error) => failures.add(0, "latest", error),
            }
        }
        if failures.0.is_empty() {
            return self.resolve_all(&specs, progress, on_ready);
        }
        let others = self.look_up_all(&specs, progress);
        for failed in others.err().into_iter().flat_map(|others| others.0) {
            let position = positions[failed.position];
            failures.add(position, &failed.kernel, failed.error);
        }
        failures.into_result().map(|()| Vec::new())
    }

    /// The releases that a version, a series or a range stands for now, oldest first. Nothing is built, and no source is
    /// fetched.
    pub fn releases(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<Vec<Release>, Error> {
        #[cfg(feature = "fetch")]
        return Identifier::new(&self.setup, progress).names.releases(spec);
        #[cfg(not(feature = "fetch"))]
        let _ = progress;
        #[cfg(not(feature = "fetch"))]
        match spec {
            KernelSpec::Version(release) => Ok(vec![*release]),
            _ => Err(Error::not_fetched(spec, None)),
        }
    }

    /// The release to take where none is named: the newest of the newest series that has had at least eight maintenance
    /// releases.
    pub fn latest_release(&self, progress: &dyn Progress) -> Result<Release, Error> {
        #[cfg(feature = "fetch")]
        return Identifier::new(&self.setup, progress).names.latest();
        #[cfg(not(feature = "fetch"))]
        let _ = progress;
        #[cfg(not(feature = "fetch"))]
        Err(Error::Unresolved {
            name: "latest".to_owned(),
            why: "releases are not looked up here".to_owned(),
            remedy: None,
        })
    }
}
