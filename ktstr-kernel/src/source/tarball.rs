//! Source tarballs: unpacked below the cache, built there, and only the kernel stays.

use std::fs::File;
use std::path::PathBuf;

use super::KernelSource;
use super::tarball_index::{self, Facts, Identity};
use crate::archive::{ArchiveError, Tarball};
use crate::build::build_dir::BuildDir;
use crate::build::kernel::Build;
use crate::build::{Request, space};
use crate::cache::{CacheKey, ConfigOrigin, Metadata, SourceRecord};
use crate::compression::Compression;
use crate::error::Error;
use crate::hash;
use crate::no_space::CACHE_HINT;
use crate::progress::Stage;
use crate::resolved::ResolvedKernel;
use crate::scratch::Scratch;
use crate::x86_64::ARCH;

/// A source tarball on disk.
pub(super) struct TarballSource {
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
}

impl KernelSource for TarballSource {
    /// Which kernel it is takes its checksum, and that takes seconds: it is found out when the kernel is prepared.
    fn look_up(&self, request: &Request<'_>) -> Result<Option<ResolvedKernel>, Error> {
        request.check_cache_path()?;
        Ok(None)
    }

    fn prepare(&self, request: &Request<'_>) -> Result<ResolvedKernel, Error> {
        let (path, compression) = (self.path.as_path(), self.compression);
        resolve(request, Tarball { path, compression })
    }
}

/// The kernel of a source tarball.
pub(super) fn resolve(
    request: &Request<'_>,
    tarball: Tarball<'_>,
) -> Result<ResolvedKernel, Error> {
    let facts = facts(request, tarball)?;
    let origin = ConfigOrigin::Base(request.options.base_config);
    let key = CacheKey::tarball(&facts.version, ARCH, &origin)?;
    let key = request.options.variant(key)?;
    let mut note = None;
    let cached = |note: &mut Option<String>| {
        let same = |metadata: &Metadata| is_of(metadata, &facts.sha256);
        request.usable(&key, same, &mut |text| *note = Some(text))
    };
    if let Some(entry) = cached(&mut note) {
        return request.hit(&entry);
    }
    request.check_sched_ext(tarball.path, &facts.version, None)?;
    request.check_cache_path()?;
    request.prepare()?;
    request.check_pahole(&facts.version, None)?;
    let _lock = request.lock(&key)?;
    request.cache.sweep(Some(&key));
    if let Some(entry) = cached(&mut note) {
        return request.hit(&entry);
    }
    if let Some(text) = note {
        request.note(&text);
    }
    build(request, tarball, &facts, &key, &origin)
}

fn build(
    request: &Request<'_>,
    tarball: Tarball<'_>,
    facts: &Facts,
    key: &CacheKey,
    origin: &ConfigOrigin,
) -> Result<ResolvedKernel, Error> {
    let cache = request.cache;
    space::check(cache.root(), space::of_tarball(origin), CACHE_HINT)?;
    let scratch_dir = cache.scratch_dir();
    let scratch = Scratch::new(&scratch_dir, key.as_str())
        .map_err(|error| Error::io(&scratch_dir, "make a directory in", error))?;
    let total = tarball.path.metadata().ok().map(|found| found.len());
    let tree = request.stage(Stage::Unpack, total, || {
        let unpacked = tarball.unpack(&facts.sha256, scratch.path(), &mut |done| {
            request.advanced(Stage::Unpack, done, None);
        });
        unpacked.map_err(|error| match error {
            // Which of its files did not fit does not matter.
            ArchiveError::NoSpace { .. } => Error::NoSpace {
                dir: cache.root().to_owned(),
                hint: CACHE_HINT,
            },
            other => other.into(),
        })
    })?;
    // The archive names its top directory.
    Error::check_tree_path(tree.path())?;
    let version = tree.version()?;
    if version != facts.version {
        let why = format!("one Makefile says {}, another {version}", facts.version);
        let path = tarball.path.to_owned();
        return Err(ArchiveError::NoTree { path, why }.into());
    }
    let build_dir = BuildDir::Scratch(tree.path().to_owned());
    let place = (&tree, &build_dir);
    let build = Build::in_scratch(*request, place, origin, &scratch, key);
    let built = build.run(false)?;
    let name = tarball.path.file_name().unwrap_or_default();
    let source = SourceRecord::Tarball {
        name: name.to_string_lossy().into_owned(),
        sha256: facts.sha256.clone(),
    };
    build.store(&built, key, source)
}

/// What the tarball is: remembered, or found out by reading all of it.
fn facts(request: &Request<'_>, tarball: Tarball<'_>) -> Result<Facts, Error> {
    let path = tarball.path;
    let read_error = |source| {
        let path = path.to_owned();
        Error::from(ArchiveError::Read { path, source })
    };
    let identity = Identity::settled(path).map_err(read_error)?;
    let root = request.cache.root();
    if let Some(facts) = tarball_index::recall(root, &identity) {
        return Ok(facts);
    }
    let facts = request.stage(Stage::Hash, Some(identity.size()), || {
        let mut file = File::open(path).map_err(read_error)?;
        let mut told = 0;
        let sha256 = hash::sha256(&mut file, |done| {
            if done - told >= 1 << 20 {
                told = done;
                request.advanced(Stage::Hash, done, None);
            }
        });
        let sha256 = sha256.map_err(read_error)?;
        let version = match version_of(request, &sha256) {
            Some(version) => version,
            None => tarball.version()?,
        };
        Ok(Facts { sha256, version })
    })?;
    if Identity::of(path).map_err(read_error)? != identity {
        let path = path.to_owned();
        return Err(ArchiveError::Changed { path }.into());
    }
    tarball_index::remember(root, &identity, &facts);
    Ok(facts)
}

/// The version of a tarball that some cached kernel was built from.
fn version_of(request: &Request<'_>, sha256: &str) -> Option<String> {
    let entries = request.cache.list().ok()?;
    let mut metadata = entries.iter().filter_map(|entry| entry.metadata());
    let built = metadata.find(|metadata| is_of(metadata, sha256))?;
    Some(built.version.clone())
}

fn is_of(metadata: &Metadata, sha256: &str) -> bool {
    matches!(&metadata.source, SourceRecord::Tarball { sha256: built, .. } if built == sha256)
}
