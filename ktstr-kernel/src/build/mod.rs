//! Configuring, compiling and storing kernels.

pub(crate) mod build_dir;
pub(crate) mod config;
pub(crate) mod kernel;
mod makefile;
mod options;
pub(crate) mod space;
mod steps;
mod store;

use std::path::Path;
use std::time::{Instant, SystemTime};

use ktstr_core::host::{LockError, LockFile, LockHolder};

use crate::cache::{BUILD_WAIT, Cache, CacheEntry, CacheKey, EntryState, Metadata};
use crate::error::Error;
use crate::kconfig;
use crate::lock;
use crate::progress::{Event, Progress, Stage};
use crate::resolved::ResolvedKernel;
use crate::text::line;
use crate::tools::{self, Pahole, PaholeVersion};
use crate::tree::{KernelTree, has_sched_ext};

pub use self::options::{BuildOptions, BuildOptionsError};

/// What one kernel is looked up, fetched and built with.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) options: &'a BuildOptions,
    pub(crate) progress: &'a dyn Progress,
    /// What was asked for, as it was written.
    pub(crate) asked: &'a Path,
}

impl Request<'_> {
    pub(crate) fn note(&self, text: &str) {
        self.progress.event(Event::Note(text));
    }

    /// Runs one step; events tell when it begins and ends.
    pub(crate) fn stage<T>(
        &self,
        stage: Stage,
        total: Option<u64>,
        step: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.progress.event(Event::Started { stage, total });
        let start = Instant::now();
        let done = step()?;
        let took = start.elapsed();
        self.progress.event(Event::Finished { stage, took });
        Ok(done)
    }

    pub(crate) fn advanced(&self, stage: Stage, done: u64, what: Option<&str>) {
        self.progress.event(Event::Advanced { stage, done, what });
    }

    /// The kernel of a cache entry; an event tells that it is not built.
    pub(crate) fn hit(&self, entry: &CacheEntry) -> Result<ResolvedKernel, Error> {
        let kernel = entry.kernel()?;
        let built = entry.metadata().and_then(Metadata::built_at);
        let age = built.and_then(|built| SystemTime::now().duration_since(built).ok());
        self.progress.event(Event::CacheHit {
            source: self.asked,
            key: &entry.key,
            age: age.unwrap_or_default(),
        });
        Ok(kernel)
    }

    /// The entry of `key`, when it was built from what `is_same` accepts, and is not to be built again anyway.
    ///
    /// Keys are shorter than what they stand for, so that two sources may share one. `replaced` is
    /// told what the entry is that does not count, in one line.
    pub(crate) fn usable(
        &self,
        key: &CacheKey,
        is_same: impl Fn(&Metadata) -> bool,
        replaced: &mut dyn FnMut(String),
    ) -> Option<CacheEntry> {
        if self.options.force {
            return None;
        }
        let mut entry = self.cache.get(key)?;
        if let EntryState::Valid(_) = entry.state
            && let Err(why) = entry.verify()
        {
            entry.state = EntryState::Corrupt(why);
        }
        match &entry.state {
            EntryState::Valid(metadata) if metadata.is_stale() => {
                replaced(format!(
                    "cached `{key}` has an old configuration; it is built again"
                ));
            }
            EntryState::Valid(metadata) if is_same(metadata) => return Some(entry),
            EntryState::Valid(_) => {
                replaced(format!(
                    "cached `{key}` is of another source; it is replaced"
                ));
            }
            EntryState::OtherVersion(why) => {
                replaced(format!(
                    "cached `{key}` is from another ktstr version ({why}); it is built again"
                ));
            }
            EntryState::Corrupt(why) => {
                replaced(format!(
                    "cached `{key}` is corrupt ({why}); it is built again"
                ));
            }
        }
        None
    }

    /// Takes the lock of `key`, so that no other process builds it; an event tells which one it waits for.
    pub(crate) fn lock(&self, key: &CacheKey) -> Result<LockFile, LockError> {
        let what = format!("the build of `{key}`");
        let waiting = |holder: Option<&LockHolder>| {
            self.progress.event(Event::Waiting { key, holder });
        };
        lock::exclusive(&self.cache.lock_path(key), &what, BUILD_WAIT, waiting)
    }

    /// Makes sure that kernels can be built in the cache.
    pub(crate) fn check_cache_path(&self) -> Result<(), Error> {
        Error::check_cache_path(self.cache.root())
    }

    /// Checks before a build what would make it fail: whether the cache can be written, and whether all programs are there.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        self.cache.prepare()?;
        let (host, toolchain) = (&self.options.host, &self.options.toolchain);
        let mut missing = tools::missing(host);
        missing.retain(|tool| !toolchain.replaces(tool.name));
        if !missing.is_empty() {
            return Err(Error::Tools { missing });
        }
        let missing = toolchain.missing(&host.path);
        if !missing.is_empty() {
            return Err(Error::Toolchain { missing });
        }
        Ok(())
    }

    /// Refuses sources of `version` that have no sched_ext; `tree` has them, where they are unpacked.
    pub(crate) fn check_sched_ext(
        &self,
        path: &Path,
        version: &str,
        tree: Option<&KernelTree>,
    ) -> Result<(), Error> {
        let found = match tree {
            Some(tree) => tree.has_sched_ext()?,
            None => has_sched_ext(version),
        };
        if found || !self.needs("CONFIG_SCHED_CLASS_EXT") {
            return Ok(());
        }
        Err(Error::NoSchedExt {
            path: path.to_owned(),
            version: version.to_owned(),
        })
    }

    /// Refuses a pahole that does not work, or is too old for sources of `version`.
    pub(crate) fn check_pahole(
        &self,
        version: &str,
        tree: Option<&KernelTree>,
    ) -> Result<(), Error> {
        if !self.needs("CONFIG_DEBUG_INFO_BTF") {
            return Ok(());
        }
        let found = Pahole::find(self.options.toolchain.pahole(), &self.options.host);
        let found = found.map_err(|why| Error::NoPahole { why })?;
        let needed = tree.and_then(|tree| tools::pahole_for(tree.path()));
        let needed = needed.unwrap_or_else(|| PaholeVersion::oldest_for(version));
        if found.version >= needed {
            return Ok(());
        }
        Err(Error::OldPahole {
            found,
            needed,
            version: version.to_owned(),
        })
    }

    /// Whether the user did not turn off what ktstr's fragment turns on.
    fn needs(&self, option: &str) -> bool {
        let extra = self.options.extra_kconfig.as_ref();
        extra.is_none_or(|extra| kconfig::value(extra.text(), option) != Some("n"))
    }

    /// Notes which of the environment's variables apply, and which do not.
    fn note_options(&self) {
        let toolchain = &self.options.toolchain;
        if let Some(spelled) = toolchain.spelled() {
            self.note(&format!("compiling with {}", line(&spelled)));
        }
        if !toolchain.unused().is_empty() {
            let names = toolchain.unused().join(", ");
            self.note(&format!(
                "{names} of the environment: not passed to the kernel's make"
            ));
        }
    }
}
