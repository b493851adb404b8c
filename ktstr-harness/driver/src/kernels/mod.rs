//! Kernels as the environment of a host has them: its cache, mirror, base configuration, tool chain and CPUs.
//!
//! `ktstr-kernel` takes each of these as a value. These calls read them from a [`Host`], as `cargo ktstr` does; what a
//! caller decides is in [`KernelOptions`].
//!
//! ```no_run
//! use ktstr_core::host::Host;
//! use ktstr_driver::kernels::{self, KernelOptions};
//! use ktstr_kernel::progress::Silent;
//!
//! let host = Host::of_this_process();
//! let options = KernelOptions {
//!     cpu_cap: Some(4),
//!     ..KernelOptions::default()
//! };
//! let identifiers = ["6.12", "../linux"];
//! for kernel in kernels::resolve(&host, &identifiers, options, &Silent, &mut |_, _| {})? {
//!     println!("{}: {}", kernel.version, kernel.image.display());
//! }
//! for kernel in kernels::list(&host)?.kernels.iter().filter(|kernel| kernel.stale) {
//!     println!("{} was configured by another ktstr", kernel.key);
//! }
//! # Ok::<(), ktstr_driver::kernels::KernelsError>(())
//! ```

mod error;
mod list;

use std::ffi::OsStr;
use std::process;
use std::time::Duration;

use ktstr_core::host::{Host, HostCpus, Reservation};
use ktstr_core::{CpuSet, env};
use ktstr_harness::runner::NoCacheRoot;
use ktstr_kernel::{
    BaseConfig, BuildOptions, Cache, Event, ExtraKconfig, KernelSpec, Mirror, Progress, Remote,
    RemoteOptions, ResolvedKernel, Resolver,
};

pub use error::KernelsError;
pub use list::{CachedKernel, KernelList, KernelState, ListedKernel, ListedReleases};

/// How long to wait for host CPUs that tests have alone.
const CPU_WAIT: Duration = Duration::from_secs(900);

/// What a caller decides about kernels that are resolved. The default decides nothing.
#[derive(Debug, Clone, Default)]
pub struct KernelOptions {
    /// Configuration of a source that has none of its own; `None` for what `KTSTR_BASE_CONFIG` says.
    pub base_config: Option<BaseConfig>,
    /// Options merged over ktstr's; they win.
    pub extra_kconfig: Option<ExtraKconfig>,
    /// Build even when cached.
    pub force: bool,
    /// `make mrproper` first; an error for anything but a source tree.
    pub clean: bool,
    /// Include the last release of end-of-life series in ranges.
    pub include_eol: bool,
    /// Do not compare downloads with the published checksums.
    pub skip_sha256: bool,
    /// Build on this many host CPUs, with as many jobs; `None` for all that this process may use. The CPUs are shared with
    /// whoever shares them too, and those that tests have alone are waited for: up to 15 minutes.
    pub cpu_cap: Option<u32>,
}

impl KernelOptions {
    fn build_options(self, host: &Host) -> Result<BuildOptions, KernelsError> {
        // Where the caller has decided, the variable says nothing, not even something wrong.
        let mut host = host.clone();
        if self.base_config.is_some() {
            host.env.remove(OsStr::new(env::BASE_CONFIG));
        }
        let environment = BuildOptions::from_env(&host)?;
        Ok(BuildOptions {
            base_config: self.base_config.unwrap_or(environment.base_config),
            extra_kconfig: self.extra_kconfig,
            force: self.force,
            clean: self.clean,
            ..environment
        })
    }
}

/// Every kernel that `identifiers` name, in their order; none at all stand for the latest release.
///
/// As [`Resolver::resolve_identifiers`] does, whatever is wrong with any of them is told at once, and `on_ready` is told of
/// each kernel as soon as it is there.
pub fn resolve(
    host: &Host,
    identifiers: &[impl AsRef<str>],
    options: KernelOptions,
    progress: &dyn Progress,
    on_ready: &mut dyn FnMut(&KernelSpec, &ResolvedKernel),
) -> Result<Vec<ResolvedKernel>, KernelsError> {
    let (include_eol, skip_sha256) = (options.include_eol, options.skip_sha256);
    let cap = options.cpu_cap;
    let mut build = options.build_options(host)?;
    if let Some(extra) = build.extra_kconfig.as_ref().filter(|it| it.is_empty()) {
        progress.event(Event::Note(&format!(
            "extra kconfig {} sets no option: the kernel is the one without it",
            extra.path().display()
        )));
    }
    // Held until all is built.
    let _reservation = match cap {
        Some(cap) => {
            let (cpus, reservation) = reserve(host, cap as usize)?;
            build.jobs = cap as usize;
            build.cpus = Some(cpus);
            Some(reservation)
        }
        None => None,
    };
    let resolver = Resolver::new(kernel_cache(host)?, build)
        .fetching(remote(host, skip_sha256)?)
        .including_eol(include_eol);
    Ok(resolver.resolve_identifiers(identifiers, progress, on_ready)?)
}

/// The releases that `range`, such as `6.12..6.14`, stands for now. Nothing is built, and no source is fetched.
pub fn releases(
    host: &Host,
    range: &str,
    include_eol: bool,
    progress: &dyn Progress,
) -> Result<ListedReleases, KernelsError> {
    let spec = KernelSpec::parse(range, host)?;
    if !matches!(spec, KernelSpec::Range { .. }) {
        let range = range.to_owned();
        return Err(KernelsError::NotARange { range });
    }
    let build = KernelOptions::default().build_options(host)?;
    let resolver = Resolver::new(kernel_cache(host)?, build)
        .fetching(remote(host, false)?)
        .including_eol(include_eol);
    let releases = resolver.releases(&spec, progress)?;
    Ok(ListedReleases {
        range: range.to_owned(),
        versions: releases.iter().map(ToString::to_string).collect(),
    })
}

/// The kernels in the cache, newest first. Nobody is asked: end-of-life series are those of the list of releases that was
/// fetched last.
pub fn list(host: &Host) -> Result<KernelList, KernelsError> {
    let cache = kernel_cache(host)?;
    let entries = cache.list()?;
    let releases = remote(host, false)?.cached_releases();
    Ok(KernelList::of(&cache, &entries, releases.as_ref()))
}

/// The kernel cache that the environment of `host` names.
pub fn kernel_cache(host: &Host) -> Result<Cache, NoCacheRoot> {
    env::cache_root(host).map(Cache::new).ok_or(NoCacheRoot)
}

/// The mirror that the environment names, else kernel.org.
fn remote(host: &Host, skip_sha256: bool) -> Result<Remote, KernelsError> {
    let mut options = RemoteOptions::from_env(host);
    options.skip_sha256 = skip_sha256;
    let mirror = Mirror::from_env(host)?;
    Ok(Remote::new(mirror, kernel_cache(host)?, options)?)
}

/// Shares `cap` host CPUs with whoever shares them too.
fn reserve(host: &Host, cap: usize) -> Result<(CpuSet, Reservation), KernelsError> {
    let cpus = HostCpus::read(&host.root)?;
    let allowed = cpus.allowed.len();
    if cap > allowed {
        return Err(KernelsError::TooFewCpus { cap, allowed });
    }
    let lock_dir = env::lock_dir(host);
    let start = process::id() as usize;
    let reserved = Reservation::shared(&lock_dir, &cpus, cap, start, CPU_WAIT)?;
    Ok(reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(variables: &[(&str, &str)]) -> Host {
        let mut host = Host::of_this_process();
        let variables = variables.iter();
        host.env = variables
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        host
    }

    #[test]
    fn a_decision_of_the_caller_goes_before_the_environment() {
        let options = |base, set| {
            let options = KernelOptions {
                base_config: base,
                ..KernelOptions::default()
            };
            let built = options.build_options(&host(&[("KTSTR_BASE_CONFIG", set)]));
            built.map(|options| options.base_config)
        };
        assert_eq!(options(None, "").unwrap(), BaseConfig::Defconfig);
        assert_eq!(options(None, "lean").unwrap(), BaseConfig::Lean);
        let given = Some(BaseConfig::Defconfig);
        assert_eq!(options(given, "lean").unwrap(), BaseConfig::Defconfig);
        assert_eq!(options(given, "tiny").unwrap(), BaseConfig::Defconfig);
        let error = options(None, "tiny").unwrap_err();
        assert!(
            error.to_string().starts_with("KTSTR_BASE_CONFIG: "),
            "{error}"
        );
    }

    #[test]
    fn what_stands_in_the_way_is_told_before_anything_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache").display().to_string();
        let host = host(&[("KTSTR_CACHE_DIR", &cache)]);
        let silent = ktstr_kernel::progress::Silent;
        let options = KernelOptions {
            cpu_cap: Some(100_000),
            ..KernelOptions::default()
        };
        let error = resolve(&host, &["6.14.2"], options, &silent, &mut |_, _| {}).unwrap_err();
        let KernelsError::TooFewCpus { cap, allowed } = error else {
            panic!("{error}")
        };
        assert!(cap == 100_000 && allowed > 0);
        let error = releases(&host, "6.14.2", false, &silent).unwrap_err();
        assert!(matches!(error, KernelsError::NotARange { .. }), "{error}");
        let nowhere = self::host(&[]);
        assert!(matches!(list(&nowhere), Err(KernelsError::NoCache(_))));
        assert!(list(&host).unwrap().kernels.is_empty());
        assert!(!dir.path().join("cache").exists());
    }
}
