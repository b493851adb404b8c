//! Git repositories: one commit is fetched below the cache, built there, and only the kernel stays.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::KernelSource;
use crate::build::build_dir::BuildDir;
use crate::build::kernel::Build;
use crate::build::{Request, space};
use crate::cache::{CacheEntry, CacheKey, ConfigOrigin, Metadata, SourceRecord};
use crate::error::Error;
use crate::no_space::CACHE_HINT;
use crate::progress::Stage;
use crate::repository::{Access, FoundCommit, GitError, Limits, Repository};
use crate::resolved::ResolvedKernel;
use crate::scratch::Scratch;
use crate::spec::GitRef;
use crate::tree::KernelTree;
use crate::x86_64::ARCH;

/// How often a reference may move while we wait to build.
const TRIES: usize = 4;

/// A commit of a git repository.
pub(super) struct GitSource<'a> {
    pub(super) url: &'a str,
    pub(super) reference: &'a GitRef,
    pub(super) limits: Limits,
}

impl KernelSource for GitSource<'_> {
    /// A name that leads to no commit, and a repository that cannot be reached, are told at once.
    fn look_up(&self, request: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        let repository = self.repository(request)?;
        let wanted = Wanted::new(request, self);
        if let Some(entry) = wanted.by_digits(request)? {
            return request.hit(&entry).map(Some);
        }
        let found = match repository.find(self.reference) {
            Err(error) if error.is_outage() => return wanted.offline(request, error).map(Some),
            found => found?,
        };
        if let Some(entry) = cached(request, &wanted.key(request, &found)?, &found, &mut None) {
            return request.hit(&entry).map(Some);
        }
        repository.greet(&found)?;
        request.check_cache_path()?;
        Ok(None)
    }

    /// One commit comes into the scratch directory of its build, so that it is fetched here.
    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error> {
        let repository = self.repository(request)?;
        let wanted = Wanted::new(request, self);
        if let Some(entry) = wanted.by_digits(request)? {
            return request.hit(&entry);
        }
        for _ in 0..TRIES {
            let found = match repository.find(self.reference) {
                Err(error) if error.is_outage() => return wanted.offline(request, error),
                found => found?,
            };
            if let Some(kernel) = wanted.kernel(request, &repository, &found)? {
                return Ok(kernel);
            }
        }
        Err(Error::Git(GitError::ReferenceKeptMoving {
            url: self.url.to_owned(),
            reference: wanted.spelled,
        }))
    }
}

impl GitSource<'_> {
    fn repository<'a>(&'a self, request: &'a Request<'_>) -> Result<Repository<'a>, Error> {
        let access = Access {
            host: &request.options.host,
            limits: self.limits,
        };
        Ok(Repository::new(self.url, access)?)
    }
}

/// A commit by the name it was asked for, in the configuration it is to have.
struct Wanted<'a> {
    url: &'a str,
    reference: &'a GitRef,
    /// The reference as metadata has it: `tag=v6.14`.
    spelled: String,
    origin: ConfigOrigin,
}

impl<'a> Wanted<'a> {
    fn new(request: &Request<'_>, source: &'a GitSource<'_>) -> Self {
        Self {
            url: source.url,
            reference: source.reference,
            spelled: source.reference.to_string(),
            origin: ConfigOrigin::Base(request.options.base_config),
        }
    }
}

impl Wanted<'_> {
    fn key(&self, request: &Request<'_>, found: &FoundCommit) -> Result<CacheKey, Error> {
        let key = CacheKey::git(&found.commit, ARCH, &self.origin)?;
        Ok(request.options.variant(key)?)
    }

    /// The kernel of the commit, cached or built; `None` where the reference moved meanwhile.
    fn kernel(
        &self,
        request: &Request<'_>,
        repository: &Repository<'_>,
        found: &FoundCommit,
    ) -> Result<Option<ResolvedKernel>, Error> {
        let key = self.key(request, found)?;
        let mut note = None;
        if let Some(entry) = cached(request, &key, found, &mut note) {
            return request.hit(&entry).map(Some);
        }
        request.check_cache_path()?;
        request.prepare()?;
        let _lock = request.lock(&key)?;
        // The build that was waited for may have been killed.
        request.cache.sweep(Some(&key));
        if let Some(entry) = cached(request, &key, found, &mut note) {
            return request.hit(&entry).map(Some);
        }
        if let Some(text) = note {
            request.note(&text);
        }
        self.build(request, repository, found, &key)
    }

    fn build(
        &self,
        request: &Request<'_>,
        repository: &Repository<'_>,
        found: &FoundCommit,
        key: &CacheKey,
    ) -> Result<Option<ResolvedKernel>, Error> {
        let cache = request.cache;
        space::check(cache.root(), space::of_git(&self.origin), CACHE_HINT)?;
        let scratch_dir = cache.scratch_dir();
        let scratch = Scratch::new(&scratch_dir, key.as_str())
            .map_err(|error| Error::io(&scratch_dir, "make a directory in", error))?;
        let (git, files) = (scratch.path().join("git"), scratch.path().join("linux"));
        let fetched = repository.fetch(found, &git, request.progress)?;
        if fetched.commit != found.commit {
            return Ok(None);
        }
        fs::create_dir(&files).map_err(|error| Error::io(&files, "make", error))?;
        let contents = repository.files(&fetched)?;
        request.stage(Stage::Checkout, Some(contents.count), || {
            let told = |done| request.advanced(Stage::Checkout, done, None);
            Ok(repository.checkout(&fetched, &contents, &files, &told)?)
        })?;
        // The build gets no repository: the kernel's version would depend on what is in it.
        drop(fetched);
        fs::remove_dir_all(&git).map_err(|error| Error::io(&git, "remove", error))?;
        let tree = KernelTree::open(&files).map_err(|error| GitError::NoKernel {
            url: self.url.to_owned(),
            commit: found.commit.clone(),
            why: error.why(),
        })?;
        let version = tree.version()?;
        request.check_sched_ext(Path::new(self.url), &version, Some(&tree))?;
        request.check_pahole(&version, Some(&tree))?;
        let build_dir = BuildDir::Scratch(tree.path().to_owned());
        let place = (&tree, &build_dir);
        let build = Build::in_scratch(*request, place, &self.origin, &scratch, key);
        let built = build.run(false)?;
        let source = SourceRecord::Git {
            url: self.url.to_owned(),
            reference: self.spelled.clone(),
            commit: found.commit.clone(),
        };
        build.store(&built, key, source).map(Some)
    }

    /// The entry of the commit that was asked for by its hash, or the digits it starts with: no server is needed.
    fn by_digits(&self, request: &Request<'_>) -> Result<Option<CacheEntry>, Error> {
        let GitRef::Sha(digits) = self.reference else {
            return Ok(None);
        };
        let digits = digits.to_ascii_lowercase();
        // Whole hashes have an entry of their own, that is looked at below.
        if request.options.force || digits.len() == 40 {
            return Ok(None);
        }
        let starts = |metadata: &Metadata| {
            commit_of(metadata).is_some_and(|commit| commit.starts_with(&digits))
        };
        let mut entries = self.entries(request, starts)?;
        entries.dedup_by(|a, b| a.metadata().map(commit_of) == b.metadata().map(commit_of));
        match entries.len() {
            // A broken one is fetched and built again.
            0 | 1 => Ok(entries.pop().filter(|entry| entry.verify().is_ok())),
            _ => Err(Error::Git(GitError::Ambiguous {
                sha: digits,
                commits: entries
                    .iter()
                    .filter_map(|entry| commit_of(entry.metadata()?).cloned())
                    .take(4)
                    .collect(),
            })),
        }
    }

    /// What was last built from the same reference of the same repository, where that cannot be reached now.
    fn offline(&self, request: &Request<'_>, error: GitError) -> Result<ResolvedKernel, Error> {
        let same = |metadata: &Metadata| matches!(&metadata.source, SourceRecord::Git { url, reference, .. } if url == self.url && *reference == self.spelled);
        let entry = if request.options.force {
            None
        } else {
            let mut entries = self.entries(request, same)?.into_iter();
            entries.find(|entry| entry.verify().is_ok())
        };
        let Some(entry) = entry else {
            return Err(error.into());
        };
        let built = entry.metadata().and_then(Metadata::built_at);
        let age = built.and_then(|built| SystemTime::now().duration_since(built).ok());
        let age = Duration::from_secs(age.unwrap_or_default().as_secs());
        request.note(&format!(
            "{error}; cached `{}` is used, built {} ago from {}",
            entry.key,
            humantime::format_duration(age),
            self.spelled
        ));
        request.hit(&entry)
    }

    /// Usable entries of the same configuration that `is_wanted` accepts: newest first.
    fn entries(
        &self,
        request: &Request<'_>,
        is_wanted: impl Fn(&Metadata) -> bool,
    ) -> Result<Vec<CacheEntry>, Error> {
        let mut entries = request.cache.list()?;
        entries.retain(|entry| {
            entry.metadata().is_some_and(|metadata| {
                metadata.config_origin == self.origin
                    && request.options.is_variant(metadata)
                    && !metadata.is_stale()
                    && is_wanted(metadata)
            })
        });
        Ok(entries)
    }
}

/// The entry of the commit; `note` is told why one does not count.
fn cached(
    request: &Request<'_>,
    key: &CacheKey,
    found: &FoundCommit,
    note: &mut Option<String>,
) -> Option<CacheEntry> {
    // The key has seven digits of it.
    let same = |metadata: &Metadata| commit_of(metadata) == Some(&found.commit);
    request.usable(key, same, &mut |text| *note = Some(text))
}

fn commit_of(metadata: &Metadata) -> Option<&String> {
    match &metadata.source {
        SourceRecord::Git { commit, .. } => Some(commit),
        SourceRecord::Tarball { .. } | SourceRecord::Local { .. } => None,
    }
}
