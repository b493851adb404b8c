//! Source tarballs: unpacked below the cache, built there, and only the kernel stays.

use std::fs::File;

use super::index::{self, Facts, Identity};
use super::kernel::Build;
use super::place::Place;
use super::{Job, space};
use crate::archive::{ArchiveError, Tarball};
use crate::cache::{BUILD_WAIT, CacheKey, ConfigOrigin, Metadata, Source};
use crate::error::{CACHE_HINT, Error};
use crate::hash;
use crate::process::Runner;
use crate::progress::Stage;
use crate::resolved::ResolvedKernel;
use crate::scratch::Scratch;
use crate::x86_64::ARCH;

/// The kernel of a source tarball.
pub(crate) fn resolve(job: &Job<'_>, tarball: Tarball<'_>) -> Result<ResolvedKernel, Error> {
    let facts = facts(job, tarball)?;
    let origin = ConfigOrigin::Base(job.options.base_config);
    let key = CacheKey::tarball(&facts.version, ARCH, &origin)?;
    let key = job.options.variant(key)?;
    let mut note = None;
    let cached = |note: &mut Option<String>| {
        let same = |metadata: &Metadata| is_of(metadata, &facts.sha256);
        job.usable(&key, same, &mut |text| *note = Some(text))
    };
    if let Some(entry) = cached(&mut note) {
        return job.hit(&entry);
    }
    job.check_sched_ext(tarball.path, &facts.version, None)?;
    Error::check_cache_path(job.cache.root())?;
    job.prepare()?;
    job.check_pahole(&facts.version, None)?;
    let _lock = job.lock(&key)?;
    job.cache.sweep(Some(&key));
    if let Some(entry) = cached(&mut note) {
        return job.hit(&entry);
    }
    if let Some(text) = note {
        job.note(&text);
    }
    build(job, tarball, &facts, &key, &origin)
}

fn build(
    job: &Job<'_>,
    tarball: Tarball<'_>,
    facts: &Facts,
    key: &CacheKey,
    origin: &ConfigOrigin,
) -> Result<ResolvedKernel, Error> {
    let cache = job.cache;
    space::check(cache.root(), space::of_tarball(origin), CACHE_HINT)?;
    let scratch_dir = cache.scratch_dir();
    let scratch = Scratch::new(&scratch_dir, key.as_str())
        .map_err(|error| Error::io(&scratch_dir, "make a directory in", error))?;
    let total = tarball.path.metadata().ok().map(|found| found.len());
    let unpacked = job.stage(Stage::Unpack, total, || {
        tarball.unpack(&facts.sha256, scratch.path(), &mut |done| {
            job.advanced(Stage::Unpack, done, None);
        })
    });
    let tree = unpacked.map_err(|error| match error {
        // Which of its files did not fit is nobody's business.
        Error::NoSpace { hint, .. } => Error::NoSpace {
            dir: cache.root().to_owned(),
            hint,
        },
        other => other,
    })?;
    // The archive names its top directory.
    Error::check_tree_path(tree.path())?;
    let version = tree.version()?;
    if version != facts.version {
        let why = format!("one Makefile says {}, another {version}", facts.version);
        let path = tarball.path.to_owned();
        return Err(ArchiveError::NoTree { path, why }.into());
    }
    let place = Place::Scratch(tree.path().to_owned());
    let build = Build {
        job: *job,
        tree: &tree,
        origin,
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
    let name = tarball.path.file_name().unwrap_or_default();
    let source = Source::Tarball {
        name: name.to_string_lossy().into_owned(),
        sha256: facts.sha256.clone(),
    };
    build.store(&built, key, source)
}

/// What the tarball is: remembered, or found out by reading all of it.
fn facts(job: &Job<'_>, tarball: Tarball<'_>) -> Result<Facts, Error> {
    let path = tarball.path;
    let read_error = |source| {
        let path = path.to_owned();
        Error::from(ArchiveError::Read { path, source })
    };
    let identity = Identity::settled(path).map_err(read_error)?;
    let root = job.cache.root();
    if let Some(facts) = index::recall(root, &identity) {
        return Ok(facts);
    }
    let facts = job.stage(Stage::Hash, Some(identity.size()), || {
        let mut file = File::open(path).map_err(read_error)?;
        let mut told = 0;
        let sha256 = hash::sha256(&mut file, |done| {
            if done - told >= 1 << 20 {
                told = done;
                job.advanced(Stage::Hash, done, None);
            }
        });
        let sha256 = sha256.map_err(read_error)?;
        let version = match version_of(job, &sha256) {
            Some(version) => version,
            None => tarball.version()?,
        };
        Ok(Facts { sha256, version })
    })?;
    if Identity::of(path).map_err(read_error)? != identity {
        let path = path.to_owned();
        return Err(ArchiveError::Changed { path }.into());
    }
    index::remember(root, &identity, &facts);
    Ok(facts)
}

/// The version of a tarball that some cached kernel was built from.
fn version_of(job: &Job<'_>, sha256: &str) -> Option<String> {
    let entries = job.cache.list().ok()?;
    let mut metadata = entries.iter().filter_map(|entry| entry.metadata());
    let built = metadata.find(|metadata| is_of(metadata, sha256))?;
    Some(built.version.clone())
}

fn is_of(metadata: &Metadata, sha256: &str) -> bool {
    matches!(&metadata.source, Source::Tarball { sha256: built, .. } if built == sha256)
}
