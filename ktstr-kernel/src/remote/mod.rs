//! Releases from the network: the index of them, and their tarballs.
//!
//! A [`Remote`] fetches from a [`Mirror`] into a [cache](Cache): `{cache}/releases.json` and `{cache}/downloads/`.
//! An interrupted download resumes, even after the process was killed. A file that another process is fetching is waited
//! for.

mod attempts;
mod checksums;
mod download;
mod downloads;
mod error;
mod http;
mod index;
mod mirror;
mod options;
mod part;
mod releases;
mod tarballs;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ktstr_core::host::LockMode;

use self::checksums::Checksums;
use self::download::what_instead;
use self::downloads::{Downloads, InUse};
use self::http::Client;
use self::index::CachedIndex;
use self::releases::INDEX_LIMIT;
use crate::cache::Cache;
use crate::parallel;
use crate::progress::{Event, Progress};
use crate::release::Release;

pub use error::FetchError;
pub use mirror::{Mirror, MirrorError};
pub use options::{ProxySetting, RemoteOptions};
pub use releases::{Listed, Moniker, Releases, ReleasesError};

/// How old an index may be that is used without asking.
const FRESH: Duration = Duration::from_secs(3600);
/// How many tarballs are fetched at once.
const AT_ONCE: usize = 4;

/// Fetches from a mirror into a cache. Clones share their state, and threads may share one.
#[derive(Debug, Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    mirror: Mirror,
    cache: Cache,
    client: Client,
    downloads: Downloads,
    /// The index, and when this process last asked for it.
    index: Mutex<Option<(Releases, Instant)>>,
    /// Lists of checksums, by their address.
    checksums: Mutex<HashMap<String, Arc<Checksums>>>,
    /// Whether it was told that the mirror is not encrypted.
    told: AtomicBool,
}

/// A release's source, fetched. The file stays for as long as this or a clone of it lives.
#[derive(Debug, Clone)]
pub struct SourceTarball {
    /// Where it is.
    pub path: PathBuf,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Whether that is the published one. Release candidates have none.
    pub verified: bool,
    _in_use: Arc<InUse>,
}

impl Remote {
    /// A remote that fetches from `mirror` into `cache`. Nothing is fetched yet; an error is about the options.
    pub fn new(mirror: Mirror, cache: Cache, options: RemoteOptions) -> Result<Self, FetchError> {
        let inner = Inner {
            client: Client::new(&mirror, options)?,
            downloads: Downloads::new(&cache),
            mirror,
            cache,
            index: Mutex::default(),
            checksums: Mutex::default(),
            told: AtomicBool::new(false),
        };
        let inner = Arc::new(inner);
        Ok(Self { inner })
    }

    /// Where it fetches from.
    pub fn mirror(&self) -> &Mirror {
        &self.inner.mirror
    }

    /// The releases that kernel.org lists: from the cache when it has an index not older than an hour, else fetched. Where
    /// that fails, an older index of the cache will do, and a note tells its age.
    pub fn releases(&self, progress: &dyn Progress) -> Result<Releases, FetchError> {
        let inner = &*self.inner;
        // Threads wait here for the one that fetches.
        let mut known = lock(&inner.index);
        if let Some((releases, asked)) = &*known
            && asked.elapsed() < FRESH
        {
            return Ok(releases.clone());
        }
        let address = inner.mirror.releases();
        let cached = CachedIndex::new(&inner.cache);
        let read = || cached.read(&address, SystemTime::now());
        let is_fresh = |releases: &Releases| releases.age() <= FRESH;
        if let Some(releases) = read().filter(is_fresh) {
            *known = Some((releases.clone(), Instant::now()));
            return Ok(releases);
        }
        // Processes wait here. A cache that cannot be written has no locks either.
        let lock = inner
            .downloads
            .lock("releases.json", LockMode::Exclusive, progress);
        let old = read();
        let releases = match old {
            Some(releases) if is_fresh(&releases) => releases,
            old => inner.fetch_index(&address, &cached, old, progress)?,
        };
        drop(lock);
        *known = Some((releases.clone(), Instant::now()));
        Ok(releases)
    }

    /// The index in the cache, whatever its age. Nothing is fetched.
    pub fn cached_releases(&self) -> Option<Releases> {
        self.inner.cached_index()
    }

    /// The source of `release`, checked against the published checksum and kept in `{cache}/downloads/` for the next build of
    /// it; the newest three stay there. A series, `6.14`, stands for its first release.
    ///
    /// The signature of the checksums is not checked. Nothing is published for release candidates, which are
    /// [not verified](SourceTarball::verified).
    pub fn tarball(
        &self,
        release: Release,
        progress: &dyn Progress,
    ) -> Result<SourceTarball, FetchError> {
        let inner = &*self.inner;
        inner.downloads.prepare()?;
        inner.tell_of_plain_http(progress);
        let result = inner.tarball(release, progress);
        inner.downloads.sweep(SystemTime::now());
        result
    }

    /// Fetches several releases, up to four at once. The results are in the order of `releases`.
    pub fn tarballs(
        &self,
        releases: &[Release],
        progress: &dyn Progress,
    ) -> Vec<(Release, Result<SourceTarball, FetchError>)> {
        parallel::map(releases.to_vec(), AT_ONCE, |release| {
            (release, self.tarball(release, progress))
        })
    }
}

impl Inner {
    fn cached_index(&self) -> Option<Releases> {
        let cached = CachedIndex::new(&self.cache);
        cached.read(&self.mirror.releases(), SystemTime::now())
    }

    /// Asks for the index. Where there is an `old` one, that is the answer if the server has none.
    fn fetch_index(
        &self,
        address: &str,
        cached: &CachedIndex,
        old: Option<Releases>,
        progress: &dyn Progress,
    ) -> Result<Releases, FetchError> {
        self.tell_of_plain_http(progress);
        let tries = self.client.options().tries;
        // With an older index to use instead there is no need to wait for long.
        let tries = if old.is_some() { tries.min(2) } else { tries };
        let fetched = self
            .client
            .small(address, "releases.json", INDEX_LIMIT, tries, progress)
            .and_then(|json| {
                Releases::parse(&json).map_err(|error| match what_instead(&json) {
                    "something else" => FetchError::content(address, error.to_string()),
                    what => {
                        FetchError::content(address, format!("{what} instead of releases.json"))
                    }
                })
            });
        match (fetched, old) {
            (Ok(releases), _) => {
                // Without it the next one asks again.
                let _ = cached.write(&releases, address, SystemTime::now());
                Ok(releases)
            }
            (Err(error), Some(old)) => {
                let age = age_text(old.age());
                let why = error.why();
                let note = format!(
                    "{address}: {why}; using the index fetched {age} ago, which lacks later releases"
                );
                progress.event(Event::Note(&note));
                Ok(old)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Notes once that files may be changed on their way.
    fn tell_of_plain_http(&self, progress: &dyn Progress) {
        let mirror = &self.mirror;
        if mirror.is_encrypted() || mirror.is_loopback() || self.told.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let note = format!(
            "{}: without https nothing shows whether files and their checksums were changed on their way",
            mirror.releases()
        );
        progress.event(Event::Note(&note));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two largest units of an age: `2days 3h`.
fn age_text(age: Duration) -> String {
    let age = Duration::from_secs(age.as_secs());
    let text = humantime::format_duration(age).to_string();
    let units: Vec<&str> = text.split(' ').take(2).collect();
    units.join(" ")
}
