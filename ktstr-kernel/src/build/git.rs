//! Git repositories: one commit is fetched below the cache, built there, and only the kernel stays.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::kernel::Build;
use super::place::Place;
use super::{Job, space};
use crate::cache::{BUILD_WAIT, CacheEntry, CacheKey, ConfigOrigin, Metadata, Source};
use crate::error::{CACHE_HINT, Error};
use crate::process::Runner;
use crate::progress::Stage;
use crate::repository::{Found, GitError, Limits, Repository};
use crate::resolved::ResolvedKernel;
use crate::scratch::Scratch;
use crate::spec::GitRef;
use crate::tree::KernelTree;
use crate::x86_64::ARCH;

/// How often a reference may move while we wait to build.
const TRIES: usize = 4;

/// What was asked for.
struct Wanted<'a> {
    url: &'a str,
    reference: &'a GitRef,
    /// The reference as metadata has it: `tag=v6.14`.
    spelled: String,
    origin: ConfigOrigin,
}

/// The kernel of a commit of the repository at `url`.
pub(crate) fn resolve(
    job: &Job<'_>,
    url: &str,
    reference: &GitRef,
    limits: Limits,
) -> Result<ResolvedKernel, Error> {
    let repository = repository(job, url, limits)?;
    let wanted = Wanted::new(job, url, reference);
    if let Some(entry) = wanted.by_digits(job)? {
        return job.hit(&entry);
    }
    for _ in 0..TRIES {
        let found = match repository.find(reference) {
            Err(error) if error.is_outage() => return wanted.offline(job, error),
            found => found?,
        };
        if let Some(kernel) = wanted.kernel(job, &repository, &found)? {
            return Ok(kernel);
        }
    }
    Err(Error::Git(GitError::Restless {
        url: url.to_owned(),
        reference: wanted.spelled,
    }))
}

/// The kernel that `resolve` would give without building it; `None` where it would have to. Nothing is fetched: a name
/// that leads to no commit, and a repository that cannot be reached, are told at once.
#[cfg(feature = "fetch")]
pub(crate) fn look_up(
    job: &Job<'_>,
    url: &str,
    reference: &GitRef,
    limits: Limits,
) -> Result<Option<ResolvedKernel>, Error> {
    let repository = repository(job, url, limits)?;
    let wanted = Wanted::new(job, url, reference);
    if let Some(entry) = wanted.by_digits(job)? {
        return job.hit(&entry).map(Some);
    }
    let found = match repository.find(reference) {
        Err(error) if error.is_outage() => return wanted.offline(job, error).map(Some),
        found => found?,
    };
    if let Some(entry) = cached(job, &wanted.key(job, &found)?, &found, &mut None) {
        return job.hit(&entry).map(Some);
    }
    repository.greet(&found)?;
    Ok(None)
}

fn repository<'a>(job: &Job<'a>, url: &str, limits: Limits) -> Result<Repository<'a>, Error> {
    let path = &job.options.path;
    Ok(Repository::new(
        url,
        crate::repository::Access { path, limits },
    )?)
}

impl<'a> Wanted<'a> {
    fn new(job: &Job<'_>, url: &'a str, reference: &'a GitRef) -> Self {
        Self {
            url,
            reference,
            spelled: reference.to_string(),
            origin: ConfigOrigin::Base(job.options.base_config),
        }
    }
}

impl Wanted<'_> {
    fn key(&self, job: &Job<'_>, found: &Found) -> Result<CacheKey, Error> {
        let key = CacheKey::git(&found.commit, ARCH, &self.origin)?;
        Ok(job.options.variant(key)?)
    }

    /// The kernel of the commit, cached or built; `None` where the reference moved meanwhile.
    fn kernel(
        &self,
        job: &Job<'_>,
        repository: &Repository<'_>,
        found: &Found,
    ) -> Result<Option<ResolvedKernel>, Error> {
        let key = self.key(job, found)?;
        let mut note = None;
        if let Some(entry) = cached(job, &key, found, &mut note) {
            return job.hit(&entry).map(Some);
        }
        Error::check_cache_path(job.cache.root())?;
        job.prepare()?;
        let _lock = job.lock(&key)?;
        // Whom we waited for may have been killed.
        job.cache.sweep(Some(&key));
        if let Some(entry) = cached(job, &key, found, &mut note) {
            return job.hit(&entry).map(Some);
        }
        if let Some(text) = note {
            job.note(&text);
        }
        self.build(job, repository, found, &key)
    }

    fn build(
        &self,
        job: &Job<'_>,
        repository: &Repository<'_>,
        found: &Found,
        key: &CacheKey,
    ) -> Result<Option<ResolvedKernel>, Error> {
        let cache = job.cache;
        space::check(cache.root(), space::of_git(&self.origin), CACHE_HINT)?;
        let scratch_dir = cache.scratch_dir();
        let scratch = Scratch::new(&scratch_dir, key.as_str())
            .map_err(|error| Error::io(&scratch_dir, "make a directory in", error))?;
        let (git, files) = (scratch.path().join("git"), scratch.path().join("linux"));
        let fetched = repository.fetch(found, &git, job.progress)?;
        if fetched.commit != found.commit {
            return Ok(None);
        }
        fs::create_dir(&files).map_err(|error| Error::io(&files, "make", error))?;
        let contents = repository.files(&fetched)?;
        job.stage(Stage::Checkout, Some(contents.count), || {
            let told = |done| job.advanced(Stage::Checkout, done, None);
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
        job.check_sched_ext(Path::new(self.url), &version, Some(&tree))?;
        job.check_pahole(&version, Some(&tree))?;
        let place = Place::Scratch(tree.path().to_owned());
        let build = Build {
            job: *job,
            tree: &tree,
            origin: &self.origin,
            place: &place,
            runner: Runner {
                dir: tree.path(),
                lock: scratch.lock(),
                log: cache.logs_dir().join(format!("{key}.log")),
                out: None,
                full_hint: CACHE_HINT,
                limit: BUILD_WAIT,
            },
        };
        let built = build.run(false)?;
        let source = Source::Git {
            url: self.url.to_owned(),
            reference: self.spelled.clone(),
            commit: found.commit.clone(),
        };
        build.store(&built, key, source).map(Some)
    }

    /// The entry of the commit that was asked for by its hash, or the digits it starts with: no server is needed.
    fn by_digits(&self, job: &Job<'_>) -> Result<Option<CacheEntry>, Error> {
        let GitRef::Sha(digits) = self.reference else {
            return Ok(None);
        };
        let digits = digits.to_ascii_lowercase();
        // Whole hashes have an entry of their own, that is looked at below.
        if job.options.force || digits.len() == 40 {
            return Ok(None);
        }
        let starts = |metadata: &Metadata| {
            commit_of(metadata).is_some_and(|commit| commit.starts_with(&digits))
        };
        let mut entries = self.entries(job, starts)?;
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
    fn offline(&self, job: &Job<'_>, error: GitError) -> Result<ResolvedKernel, Error> {
        let same = |metadata: &Metadata| matches!(&metadata.source, Source::Git { url, reference, .. } if url == self.url && *reference == self.spelled);
        let entry = if job.options.force {
            None
        } else {
            let mut entries = self.entries(job, same)?.into_iter();
            entries.find(|entry| entry.verify().is_ok())
        };
        let Some(entry) = entry else {
            return Err(error.into());
        };
        let built = entry.metadata().and_then(Metadata::built_at);
        let age = built.and_then(|built| SystemTime::now().duration_since(built).ok());
        let age = Duration::from_secs(age.unwrap_or_default().as_secs());
        job.note(&format!(
            "{error}; cached `{}` is used, built {} ago from {}",
            entry.key,
            humantime::format_duration(age),
            self.spelled
        ));
        job.hit(&entry)
    }

    /// Usable entries of the same configuration that `is_wanted` accepts: newest first.
    fn entries(
        &self,
        job: &Job<'_>,
        is_wanted: impl Fn(&Metadata) -> bool,
    ) -> Result<Vec<CacheEntry>, Error> {
        let mut entries = job.cache.list()?;
        entries.retain(|entry| {
            entry.metadata().is_some_and(|metadata| {
                metadata.config_origin == self.origin
                    && job.options.is_variant(metadata)
                    && !metadata.is_stale()
                    && is_wanted(metadata)
            })
        });
        Ok(entries)
    }
}

/// The entry of the commit; `note` is told why one does not count.
fn cached(
    job: &Job<'_>,
    key: &CacheKey,
    found: &Found,
    note: &mut Option<String>,
) -> Option<CacheEntry> {
    // The key has seven digits of it.
    let same = |metadata: &Metadata| commit_of(metadata) == Some(&found.commit);
    job.usable(key, same, &mut |text| *note = Some(text))
}

fn commit_of(metadata: &Metadata) -> Option<&String> {
    match &metadata.source {
        Source::Git { commit, .. } => Some(commit),
        Source::Tarball { .. } | Source::Local { .. } => None,
    }
}
