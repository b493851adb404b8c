//! From identifiers to kernels, all of them before anything is tested.
//!
//! Series and ranges become releases; then every source that is missing is fetched; only then is anything built. What
//! goes wrong in one of these steps is told of all identifiers at once, before the next step begins.

mod names;

use std::collections::HashMap;
use std::fmt;

use self::names::Names;
use crate::error::Error;
use crate::meant::without_secret;
use crate::progress::{Event, Progress};
use crate::release::Release;
use crate::remote::{FetchError, Remote, SourceTarball};
use crate::resolved::ResolvedKernel;
use crate::resolver::Resolver;
use crate::source::LocalSource;
use crate::spec::KernelSpec;

/// Identifiers that could not be resolved, each with what was wrong; at least one. Displays as a line for each.
#[derive(Debug)]
pub struct Failures(pub Vec<Failed>);

/// An identifier that could not be resolved.
#[derive(Debug)]
pub struct Failed {
    /// What was asked for.
    pub spec: KernelSpec,
    /// Why there is no kernel.
    pub error: Error,
}

/// One line, which has what was asked for in it.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = without_secret(&self.spec.to_string());
        let error = self.error.to_string();
        if error.contains(&spec) {
            f.write_str(&error)
        } else {
            write!(f, "kernel `{spec}`: {error}")
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failed) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{failed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failures {}

impl Resolver {
    /// Lets it fetch what is neither on disk nor in the cache. Without, releases come from the cache alone.
    #[must_use]
    pub fn fetching(mut self, remote: Remote) -> Self {
        self.remote = Some(remote);
        self
    }

    /// Has ranges also stand for the last release of each end-of-life series, which the tags of linux-stable tell.
    #[must_use]
    pub fn including_eol(mut self, include_eol: bool) -> Self {
        self.include_eol = include_eol;
        self
    }

    /// Finds out what `specs` stand for and takes what is on disk, as [`resolve_all`](Self::resolve_all) does first.
    /// Nothing is fetched but the index of releases and lists of references, and nothing is built.
    pub fn look_up_all(
        &self,
        specs: &[KernelSpec],
        progress: &dyn Progress,
    ) -> Result<(), Failures> {
        Plan::new(self, specs, progress, &mut |_, _| {}).map(drop)
    }

    /// Every kernel that `specs` name, in their order, each once. `done` is told of each that is ready.
    ///
    /// Nothing is fetched before every identifier made sense, nothing is built before every source is there.
    pub fn resolve_all(
        &self,
        specs: &[KernelSpec],
        progress: &dyn Progress,
        done: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
    ) -> Result<Vec<ResolvedKernel>, Failures> {
        let mut plan = Plan::new(self, specs, progress, done)?;
        plan.fetch(done)?;
        plan.build(done)?;
        let mut kernels: Vec<ResolvedKernel> = Vec::new();
        for kernel in plan.wanted.into_iter().filter_map(|wanted| wanted.kernel) {
            if !kernels.iter().any(|other| other.image == kernel.image) {
                kernels.push(kernel);
            }
        }
        Ok(kernels)
    }

    /// [`resolve`](Self::resolve) of a name of releases.
    pub(crate) fn resolve_release(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<ResolvedKernel, Error> {
        let unresolved = |why: String| Error::Unresolved {
            name: spec.to_string(),
            why,
        };
        if matches!(spec, KernelSpec::Range { .. }) {
            let releases = self.releases(spec, progress)?;
            if releases.len() > 1 {
                let names: Vec<String> = releases.iter().map(ToString::to_string).collect();
                let names = names.join(", ");
                return Err(unresolved(format!(
                    "it stands for several releases ({names}); give one of them"
                )));
            }
        }
        let resolved = self.resolve_all(std::slice::from_ref(spec), progress, &mut |_, _| {});
        let kernel = resolved.map_err(|mut failures| failures.0.pop().map(|failed| failed.error));
        match kernel.map(|mut kernels| kernels.pop()) {
            Ok(Some(kernel)) => Ok(kernel),
            Err(Some(error)) => Err(error),
            Ok(None) | Err(None) => Err(unresolved("it stands for no release".to_owned())),
        }
    }

    /// The releases that a version, a series or a range stands for now, oldest first. Nothing is built, and no source is
    /// fetched.
    pub fn releases(
        &self,
        spec: &KernelSpec,
        progress: &dyn Progress,
    ) -> Result<Vec<Release>, Error> {
        Names::new(self, progress).releases(spec)
    }

    /// The release to take where none is named: the newest of the newest series that has had at least eight maintenance
    /// releases.
    pub fn latest_release(&self, progress: &dyn Progress) -> Result<Release, Error> {
        Names::new(self, progress).latest()
    }
}

/// One kernel to come.
struct Wanted<'s> {
    spec: &'s KernelSpec,
    /// Where `spec` names releases: one of them.
    release: Option<Release>,
    tarball: Option<SourceTarball>,
    kernel: Option<ResolvedKernel>,
}

struct Plan<'s> {
    resolver: &'s Resolver,
    progress: &'s dyn Progress,
    wanted: Vec<Wanted<'s>>,
}

impl<'s> Plan<'s> {
    /// Finds out what each identifier stands for, and takes what is there. All that is wrong with any of them by then is
    /// told together.
    fn new(
        resolver: &'s Resolver,
        specs: &'s [KernelSpec],
        progress: &'s dyn Progress,
        done: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
    ) -> Result<Self, Failures> {
        let names = Names::new(resolver, progress);
        let mut failures = Failures(Vec::new());
        let mut wanted: Vec<Wanted<'s>> = Vec::new();
        for (at, spec) in specs.iter().enumerate() {
            if specs[..at].contains(spec) {
                continue;
            }
            let mut kernel = None;
            let releases = match spec {
                KernelSpec::Path(path) => LocalSource::identify(path)
                    .map(|_| vec![None])
                    .map_err(Error::from),
                KernelSpec::CacheKey(_) => Ok(vec![None]),
                KernelSpec::Git { .. } => resolver.look_up_git(spec, progress).map(|cached| {
                    kernel = cached;
                    vec![None]
                }),
                KernelSpec::Version(_)
                | KernelSpec::Series(_)
                | KernelSpec::Newest(_)
                | KernelSpec::Range { .. } => names
                    .releases(spec)
                    .map(|releases| releases.into_iter().map(Some).collect()),
            };
            for release in failures.take(spec, releases).into_iter().flatten() {
                // Two names of one release are one kernel.
                let is_there = |other: &Wanted<'_>| release.is_some() && other.release == release;
                if !wanted.iter().any(is_there) {
                    wanted.push(Wanted {
                        spec,
                        release,
                        tarball: None,
                        kernel: kernel.take(),
                    });
                }
            }
        }
        let mut plan = Self {
            resolver,
            progress,
            wanted,
        };
        plan.take_what_is_there(&mut failures, done);
        // As they were asked for.
        let position = |failed: &Failed| specs.iter().position(|spec| *spec == failed.spec);
        failures.0.sort_by_key(position);
        failures.into_result()?;
        Ok(plan)
    }

    /// Takes images and cached kernels, so that what is wrong with them shows before anything is fetched; and makes sure
    /// that the others can be built where they would be.
    fn take_what_is_there(
        &mut self,
        failures: &mut Failures,
        done: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
    ) {
        for wanted in &mut self.wanted {
            let spec = wanted.spec;
            if let Some(kernel) = &wanted.kernel {
                done(spec, kernel);
                continue;
            }
            let kernel = match (spec, wanted.release) {
                (KernelSpec::Path(path), _) => match LocalSource::identify(path) {
                    Ok(LocalSource::Image { .. }) => {
                        self.resolver.resolve(spec, self.progress).map(Some)
                    }
                    _ => Ok(None),
                },
                (KernelSpec::CacheKey(_), _) => {
                    self.resolver.resolve(spec, self.progress).map(Some)
                }
                (_, Some(release)) => self.resolver.cached_release(spec, release, self.progress),
                _ => Ok(None),
            };
            match failures.take(spec, kernel) {
                Some(Some(kernel)) => {
                    done(spec, &kernel);
                    wanted.kernel = Some(kernel);
                }
                Some(None) if !is_tree(spec) => {
                    failures.take(spec, self.resolver.check_cache_path());
                }
                // A clean tree may be cached, and is looked at when its turn comes.
                _ => {}
            }
        }
    }

    /// Fetches the tarballs of releases, several at once.
    fn fetch(
        &mut self,
        done: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
    ) -> Result<(), Failures> {
        let missing = self.wanted.iter().filter(|wanted| wanted.kernel.is_none());
        let releases: Vec<Release> = missing.filter_map(|wanted| wanted.release).collect();
        if releases.is_empty() {
            return Ok(());
        }
        let mut failures = Failures(Vec::new());
        let remote = self.resolver.remote.as_ref();
        let mut fetched: HashMap<Release, Result<SourceTarball, FetchError>> = remote
            .map(|remote| remote.tarballs(&releases, self.progress))
            .into_iter()
            .flatten()
            .collect();
        for at in 0..self.wanted.len() {
            let Wanted {
                spec,
                release: Some(release),
                kernel: None,
                ..
            } = self.wanted[at]
            else {
                continue;
            };
            let error = match fetched.remove(&release) {
                Some(Ok(tarball)) => {
                    self.wanted[at].tarball = Some(tarball);
                    continue;
                }
                Some(Err(error)) => error,
                None => {
                    failures.add(spec, self.resolver.not_fetched(spec));
                    continue;
                }
            };
            match self.instead(spec, &error) {
                Some(kernel) => {
                    done(spec, &kernel);
                    self.wanted[at].kernel = Some(kernel);
                }
                None => failures.add(spec, error.into()),
            }
        }
        failures.into_result()
    }

    /// What is used where a server cannot be reached: the newest cached release of a series.
    fn instead(&self, spec: &KernelSpec, error: &FetchError) -> Option<ResolvedKernel> {
        if !matches!(spec, KernelSpec::Series(_)) || !is_away(error) {
            return None;
        }
        let (release, key) = self.resolver.newest_cached(spec)?;
        self.progress.event(Event::Note(&error.to_string()));
        let text = format!("taking {key}, the newest {spec}.x in the cache");
        self.progress.event(Event::Note(&text));
        let kernel = self.resolver.cached_release(spec, release, self.progress);
        kernel.ok().flatten()
    }

    /// Builds what is left, one after the other: each takes all CPUs. That one fails keeps no other from being tried.
    fn build(
        &mut self,
        done: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
    ) -> Result<(), Failures> {
        let mut failures = Failures(Vec::new());
        for wanted in &mut self.wanted {
            if wanted.kernel.is_some() {
                continue;
            }
            let spec = wanted.spec;
            let kernel = match (&wanted.tarball, wanted.release) {
                (Some(tarball), Some(release)) => {
                    self.resolver
                        .build_release(spec, release, &tarball.path, self.progress)
                }
                _ => self.resolver.resolve(spec, self.progress),
            };
            if let Some(kernel) = failures.take(spec, kernel) {
                done(spec, &kernel);
                wanted.kernel = Some(kernel);
            }
        }
        failures.into_result()
    }
}

impl Failures {
    fn add(&mut self, spec: &KernelSpec, error: Error) {
        let spec = spec.clone();
        self.0.push(Failed { spec, error });
    }

    fn take<T>(&mut self, spec: &KernelSpec, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.add(spec, error)).ok()
    }

    fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// Whether it is built where it is.
fn is_tree(spec: &KernelSpec) -> bool {
    matches!(spec, KernelSpec::Path(path) if path.is_dir())
}

/// Whether the server is away, or something else answers in its place; as opposed to an answer of its own.
fn is_away(error: &FetchError) -> bool {
    match error {
        FetchError::Unreachable { .. } | FetchError::Content { .. } => true,
        FetchError::Status { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}
