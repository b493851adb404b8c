//! What a session leaves for a replay: its kernels and options, in one file beside its records.
//!
//! The file is `.sessions/{epoch}.json` in the directory of run directories, `target/ktstr`, or in the directory that
//! `KTSTR_SIDECAR_DIR` names. It is written before nextest starts, and the newest 32 are kept. Of sessions that share an
//! epoch, the last one has it. An epoch that is no plain name is hashed for the file's name. It is JSON:
//!
//! ```json
//! {
//!   "schema": 1,
//!   "epoch": "1795824037123456789-4711",
//!   "started": "2026-11-28T04:00:37Z",
//!   "dir": "/project",
//!   "identifiers": ["6.14", "../linux"],
//!   "base_config": "lean",
//!   "include_eol": false,
//!   "kernels": [{
//!     "label": "kernel_6_14_2",
//!     "version": "6.14.2",
//!     "image": "/cache/kernels/6.14.2-tarball-x86_64-kc1/bzImage",
//!     "cache_key": "6.14.2-tarball-x86_64-kc1",
//!     "image_hash": null,
//!     "dirty": false
//!   }],
//!   "release": false,
//!   "scheduler_profile": "dev",
//!   "nextest_profile": null,
//!   "backend": "kvm",
//!   "no_perf_mode": false,
//!   "no_skip_mode": false,
//!   "cpu_cap": 2,
//!   "raw_verifier_log": false,
//!   "nextest_args": ["-p", "mine"],
//!   "variables": { "KTSTR_SCHEDULER": "/path/to/program" }
//! }
//! ```
//!
//! `schema` and `epoch` are always there; what is missing of the others was not set. `backend` is what was asked for, not
//! what was found. A path or an argument that is not UTF-8 is an array of its bytes. Fields that a reader does not know
//! are passed over; [`SavedSession::SCHEMA`] changes when that would be wrong.

mod bytes;
mod check;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ktstr_core::KernelLabel;
use ktstr_core::host::files::{BoundedReadError, read_bounded, write_atomic};
use ktstr_core::record::program_hash;
use ktstr_kernel::{BaseConfig, CacheKey, ResolvedKernel};
use ktstr_vmm::Backend;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{KernelRequest, Session, SessionError, SessionOptions};
use crate::cargo;

/// Name of the directory of such files.
const DIR: &str = ".sessions";

/// How many are kept.
const KEPT: usize = 32;

/// The largest file that is read, in bytes: a session of hundreds of kernels takes a tenth.
const LIMIT: u64 = 1 << 20;

/// Age at which a temporary file must be the leftover of a killed process.
const LEFTOVER: Duration = Duration::from_secs(3600);

/// The kernels and options of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedSession {
    /// Version of this layout, [`SavedSession::SCHEMA`].
    pub schema: u32,
    /// Name of the session in its records.
    pub epoch: String,
    /// When it started, RFC 3339 in UTC.
    #[serde(default)]
    pub started: String,
    /// The directory that it ran in: relative identifiers are below it.
    #[serde(default, with = "bytes::path")]
    pub dir: PathBuf,
    /// The kernels as they were typed; none where one was found.
    #[serde(default)]
    pub identifiers: Vec<String>,
    /// Configuration of sources that have none of their own.
    #[serde(default)]
    pub base_config: Option<BaseConfig>,
    /// Whether ranges included end-of-life series.
    #[serde(default)]
    pub include_eol: bool,
    /// The kernels that it ran on.
    #[serde(default)]
    pub kernels: Vec<SavedKernel>,
    /// Whether tests were built in release mode.
    #[serde(default)]
    pub release: bool,
    /// Cargo profile of schedulers under test.
    #[serde(default)]
    pub scheduler_profile: Option<String>,
    /// Profile of `.config/nextest.toml`.
    #[serde(default)]
    pub nextest_profile: Option<String>,
    /// The backend that was asked for.
    #[serde(default, with = "bytes::backend")]
    pub backend: Option<Backend>,
    /// Whether no test ran in performance mode.
    #[serde(default)]
    pub no_perf_mode: bool,
    /// Whether a skip counted as failed.
    #[serde(default)]
    pub no_skip_mode: bool,
    /// How many host CPUs each machine got that was not in performance mode.
    #[serde(default)]
    pub cpu_cap: Option<NonZeroU32>,
    /// Whether failed cells of the verifier sweep showed the verifier's log as it is.
    #[serde(default)]
    pub raw_verifier_log: bool,
    /// Arguments for nextest.
    #[serde(default, with = "bytes::args")]
    pub nextest_args: Vec<OsString>,
    /// The variables of [`SavedSession::VARIABLES`] that were set.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// A kernel of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedKernel {
    /// Its name in tests.
    pub label: KernelLabel,
    /// Its version.
    pub version: String,
    /// What was booted; absolute.
    #[serde(with = "bytes::path")]
    pub image: PathBuf,
    /// Its cache entry, if it was in the cache.
    #[serde(default)]
    pub cache_key: Option<CacheKey>,
    /// [Hash](ktstr_core::record::program_hash) of an image that was not in the cache; absent if it could not be read.
    #[serde(default)]
    pub image_hash: Option<String>,
    /// Whether it was built from a tree with uncommitted changes or without git.
    #[serde(default)]
    pub dirty: bool,
}

/// What a session left for a replay, and why it cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedSessionError {
    /// There is no file for the session.
    #[error("{dir}: no options of session {epoch} there; `cargo ktstr test` leaves them, plain nextest does not", dir = dir.display())]
    Missing {
        /// The directory for them.
        dir: PathBuf,
        /// The session.
        epoch: String,
    },
    /// The file could not be read, or is no regular file, or too large.
    #[error("session {path}: {source}; remove it", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: BoundedReadError,
    },
    /// The file holds something else.
    #[error("session {path}: not what this ktstr writes ({why}); remove it", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another version of ktstr wrote it.
    #[error(
        "session {path}: written in layout {found}, this ktstr reads {expected}",
        path = path.display(),
        expected = SavedSession::SCHEMA
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// The version of its layout.
        found: u64,
    },
}

impl SavedSession {
    /// The layout that this version writes and reads.
    pub const SCHEMA: u32 = 1;

    /// Variables that decide how tests run, where users set them by hand.
    pub const VARIABLES: &'static [&'static str] = &[
        ktstr_core::env::SCHEDULER,
        ktstr_core::env::SCHEDULER_PROFILE,
        ktstr_core::env::BACKEND,
        ktstr_core::env::BASE_CONFIG,
        ktstr_core::env::NO_PERF_MODE,
        ktstr_core::env::NO_SKIP_MODE,
        ktstr_core::env::CPU_CAP,
        "NEXTEST_PROFILE",
    ];

    /// Writes it for the records in `records`, and removes what is older than the newest 32.
    pub(super) fn write(&self, records: &Path) -> io::Result<PathBuf> {
        let dir = records.join(DIR);
        fs::create_dir_all(&dir)?;
        let path = dir.join(file_name(&self.epoch));
        write_atomic(&path, &serde_json::to_vec_pretty(self)?)?;
        prune(&dir);
        Ok(path)
    }

    /// Reads what the session `epoch` left whose records are in `dir`: a directory of run directories, or one of those.
    pub fn read(dir: &Path, epoch: &str) -> Result<Self, SavedSessionError> {
        let dir = cargo::absolute(dir);
        let name = file_name(epoch);
        let places = [Some(dir.as_path()), dir.parent()].into_iter().flatten();
        // A link may lead out of an archive.
        let is_dir = |dir: &PathBuf| dir.symlink_metadata().is_ok_and(|it| it.is_dir());
        let places = places.map(|place| place.join(DIR)).filter(is_dir);
        let mut paths = places.map(|place| place.join(&name));
        match paths.find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Self::read_file(&path, epoch),
            None => Err(SavedSessionError::Missing {
                dir: dir.join(DIR),
                epoch: epoch.to_owned(),
            }),
        }
    }

    /// The options that it was given.
    pub fn options(&self) -> SessionOptions {
        SessionOptions {
            kernels: KernelRequest {
                identifiers: self.identifiers.clone(),
                base_config: self.base_config,
                include_eol: self.include_eol,
            },
            release: self.release,
            scheduler_profile: self.scheduler_profile.clone(),
            nextest_profile: self.nextest_profile.clone(),
            no_skip_mode: self.no_skip_mode,
            no_perf_mode: self.no_perf_mode,
            backend: self.backend,
            cpu_cap: self.cpu_cap.map(Into::into),
            nextest_args: self.nextest_args.clone(),
        }
    }

    fn read_file(path: &Path, epoch: &str) -> Result<Self, SavedSessionError> {
        let bytes = read_bounded(path, LIMIT).map_err(|source| SavedSessionError::Read {
            path: path.to_owned(),
            source,
        })?;
        check::parse(&bytes, epoch).map_err(|fault| fault.in_file(path))
    }
}

impl Session {
    /// Leaves what a replay needs to know, beside where the records will be.
    pub(super) fn save(&self, epoch: &str, started: &str) -> Result<(), SessionError> {
        let records = self.records_dir();
        let target = records.parent().filter(|_| self.sidecar_dir().is_none());
        let made = target.map_or(Ok(()), cargo::make_target_dir);
        match made.and_then(|()| self.saved(epoch, started).write(&records)) {
            Ok(_) => Ok(()),
            Err(source) => Err(SessionError::Records {
                dir: records.join(DIR),
                source,
            }),
        }
    }

    fn saved(&self, epoch: &str, started: &str) -> SavedSession {
        let KernelRequest {
            identifiers,
            base_config,
            include_eol,
        } = self.kernel_request.clone();
        let variable = |name: &&str| {
            let value = self.host.non_empty_var(name)?.into_string().ok()?;
            Some(((*name).to_owned(), value))
        };
        SavedSession {
            schema: SavedSession::SCHEMA,
            epoch: epoch.to_owned(),
            started: started.to_owned(),
            dir: cargo::absolute(&self.dir),
            identifiers,
            base_config,
            include_eol,
            kernels: self.kernels.iter().map(SavedKernel::from).collect(),
            release: self.release,
            scheduler_profile: self.scheduler_profile.clone(),
            nextest_profile: self.nextest_profile.clone(),
            backend: self.requested_backend,
            no_perf_mode: self.no_perf_mode,
            no_skip_mode: self.no_skip_mode,
            cpu_cap: self.cpu_cap.and_then(NonZeroU32::new),
            raw_verifier_log: self.raw_verifier_log,
            nextest_args: self.nextest_args.clone(),
            variables: SavedSession::VARIABLES
                .iter()
                .filter_map(variable)
                .collect(),
        }
    }
}

impl From<&ResolvedKernel> for SavedKernel {
    fn from(kernel: &ResolvedKernel) -> Self {
        let hash = || program_hash(&kernel.image).ok();
        Self {
            label: kernel.label.clone(),
            version: kernel.version.clone(),
            image: kernel.image.clone(),
            cache_key: kernel.cache_key.clone(),
            // The cache checks its own.
            image_hash: kernel.cache_key.is_none().then(hash).flatten(),
            dirty: kernel.dirty,
        }
    }
}

/// The file of the session `epoch`, which may have any name.
fn file_name(epoch: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = !epoch.starts_with('.') && epoch.len() <= 100 && epoch.bytes().all(plain);
    if is_name && !epoch.is_empty() {
        return format!("{epoch}.json");
    }
    format!("={:016x}.json", xxh3_64(epoch.as_bytes()))
}

/// Removes old files, as far as that is possible: another session may do it too.
fn prune(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut sessions: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(modified) = modified(&entry) else {
            continue;
        };
        let age = modified.elapsed().unwrap_or_default();
        if name.starts_with('.') && name.ends_with(".tmp") && age > LEFTOVER {
            let _ = fs::remove_file(entry.path());
        } else if !name.starts_with('.') && name.ends_with(".json") {
            sessions.push((modified, entry.path()));
        }
    }
    sessions.sort();
    let old = sessions.len().saturating_sub(KEPT);
    for (_, path) in &sessions[..old] {
        let _ = fs::remove_file(path);
    }
}

fn modified(entry: &DirEntry) -> Option<SystemTime> {
    entry.metadata().ok()?.modified().ok()
}
