//! The kernels of a session, as they are now.

use std::path::{Path, PathBuf};

use ktstr_core::KernelLabel;
use ktstr_core::host::Host;
use ktstr_core::record::{Sidecar, program_hash};
use ktstr_kernel::discover::discover;
use ktstr_kernel::{BaseConfig, Cache, CacheError, CacheKey, KernelSpec, ResolvedKernel};

use super::{Replay, ReplayOptions};
use crate::kernels::kernel_cache;
use crate::session::{SavedKernel, SavedSession};

/// A kernel of a session, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayKernel {
    /// Its name in tests.
    pub label: KernelLabel,
    /// The kernel, or what became of it.
    pub kernel: Result<ResolvedKernel, GoneKernel>,
    /// Whether its image is another one than then.
    pub is_changed: bool,
}

/// A kernel that is not where it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kernel {label} is gone: {why}")]
pub struct GoneKernel {
    /// Its name in tests.
    pub label: KernelLabel,
    /// What was looked for, and why it is of no use.
    pub why: String,
    /// The identifier that it is built from again; absent for an image, and if it is not known.
    pub identifier: Option<String>,
    /// The base configuration that it is built with.
    pub base_config: Option<BaseConfig>,
}

/// A kernel by the records of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    label: KernelLabel,
    version: Option<String>,
    key: Option<String>,
}

/// The kernels that `sidecars` name, each once.
pub(super) fn recorded<'s>(sidecars: impl Iterator<Item = &'s Sidecar>) -> Vec<Recorded> {
    let mut kernels: Vec<Recorded> = Vec::new();
    for sidecar in sidecars {
        let Some(label) = &sidecar.kernel_label else {
            continue;
        };
        if !kernels.iter().any(|kernel| kernel.label == *label) {
            kernels.push(Recorded {
                label: label.clone(),
                version: sidecar.kernel_version.clone(),
                key: sidecar.kernel_build.as_ref().map(|it| it.key.clone()),
            });
        }
    }
    kernels.sort_by(|a, b| a.label.cmp(&b.label));
    kernels
}

impl Replay {
    /// The kernels that the session ran on, as they are now: cache entries, and images at their places. Nothing is built.
    ///
    /// Without the session's options they are looked for by the records: in the cache, and where a kernel is found that
    /// nobody named, from the directory `dir` on.
    pub fn kernels(&self, host: &Host, dir: &Path) -> Vec<ReplayKernel> {
        let Some(session) = &self.session else {
            return Vec::new();
        };
        let cache = kernel_cache(host).ok();
        if let Ok(saved) = &session.options {
            let find = |kernel| as_it_is(kernel, saved, cache.as_ref(), host);
            return saved.kernels.iter().map(find).collect();
        }
        let found = |cache| discover(host, cache, dir).ok().map(|found| found.kernel);
        let found = cache.as_ref().and_then(found);
        let recorded = session.recorded.iter();
        recorded
            .map(|kernel| by_record(kernel, cache.as_ref(), found.as_ref()))
            .collect()
    }

    /// The same for a replay with `options`: none where these name others, or where there is nothing to replay.
    pub fn kernels_for(
        &self,
        options: &ReplayOptions,
        host: &Host,
        dir: &Path,
    ) -> Vec<ReplayKernel> {
        if options.has_kernels() || self.failures.is_empty() {
            return Vec::new();
        }
        self.kernels(host, dir)
    }
}

fn as_it_is(
    saved: &SavedKernel,
    session: &SavedSession,
    cache: Option<&Cache>,
    host: &Host,
) -> ReplayKernel {
    let mut is_changed = false;
    let kernel = if let Some(key) = &saved.cache_key {
        cached(key, cache)
    } else {
        let image = ResolvedKernel::from_image(&saved.image);
        let hash = || program_hash(&saved.image).ok();
        is_changed = image.is_ok() && saved.image_hash.is_some() && hash() != saved.image_hash;
        image.map_err(|error| error.to_string())
    };
    let kernel = match kernel {
        // The names of cases have the label that it had.
        Ok(kernel) => Ok(ResolvedKernel {
            label: saved.label.clone(),
            dirty: saved.dirty,
            ..kernel
        }),
        Err(why) => Err(GoneKernel {
            label: saved.label.clone(),
            why,
            identifier: identifier(saved, session, host),
            base_config: session.base_config,
        }),
    };
    ReplayKernel {
        label: saved.label.clone(),
        kernel,
        is_changed,
    }
}

fn by_record(
    recorded: &Recorded,
    cache: Option<&Cache>,
    found: Option<&ResolvedKernel>,
) -> ReplayKernel {
    let label = recorded.label.clone();
    let key = recorded.key.as_deref().map(CacheKey::parse);
    let kernel = match (key, found) {
        (Some(Ok(key)), _) => cached(&key, cache),
        (_, Some(found)) if found.label == label => Ok(found.clone()),
        _ => Err("the records do not tell where its image was".to_owned()),
    };
    let kernel = match kernel {
        Ok(kernel) => Ok(ResolvedKernel {
            label: label.clone(),
            ..kernel
        }),
        Err(why) => Err(GoneKernel {
            label: label.clone(),
            why,
            identifier: recorded.released(),
            base_config: None,
        }),
    };
    ReplayKernel {
        label,
        kernel,
        is_changed: false,
    }
}

impl Recorded {
    /// Its version, if it was built from a release.
    fn released(&self) -> Option<String> {
        released(self.key.as_deref()?, self.version.as_deref()?)
    }
}

fn cached(key: &CacheKey, cache: Option<&Cache>) -> Result<ResolvedKernel, String> {
    match cache {
        Some(cache) => cache.lookup(key).map_err(|error| match error {
            CacheError::Unknown { key, .. } => format!("there is no cache entry {key}"),
            error => error.to_string(),
        }),
        None => Err(format!("there is no kernel cache to look for {key} in")),
    }
}

/// The identifier that brings `kernel` back.
fn identifier(kernel: &SavedKernel, session: &SavedSession, host: &Host) -> Option<String> {
    let key = kernel.cache_key.as_ref().map(CacheKey::as_str);
    if let Some(version) = key.and_then(|key| released(key, &kernel.version)) {
        return Some(version);
    }
    let is_it = |identifier: &&String| match KernelSpec::parse(identifier, host) {
        Ok(KernelSpec::Path(path)) => is_tree(&session.dir.join(path), kernel),
        Ok(KernelSpec::Git { .. }) => key.is_some_and(|key| key.starts_with("git-")),
        _ => false,
    };
    let mut of_it = session.identifiers.iter().filter(is_it);
    let first = of_it.next()?;
    of_it.next().is_none().then(|| first.clone())
}

/// The version that a cache entry called `key` is built from, if it is of a release.
fn released(key: &str, version: &str) -> Option<String> {
    let is_release = key.starts_with(&format!("{version}-tarball-"));
    is_release.then(|| version.to_owned())
}

/// Whether `kernel` was built from the source tree at `path`.
fn is_tree(path: &Path, kernel: &SavedKernel) -> bool {
    let absolute: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = absolute.canonicalize().unwrap_or_else(|_| absolute.clone());
    let places = [absolute, real];
    let of = |dirty| {
        let mut places = places.iter();
        places.any(|place| KernelLabel::from_path(place, dirty) == kernel.label)
    };
    // An image is not built, but put back.
    kernel.image != places[0] && kernel.image != places[1] && (of(false) || of(true))
}
