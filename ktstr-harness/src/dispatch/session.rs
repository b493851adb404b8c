//! What a session tells the test processes that it starts: one file, which `KTSTR_SESSION` names.
//!
//! `cargo ktstr` (the crate ktstr-driver) writes it before nextest starts and removes it when nextest has ended. A test
//! binary reads it once, when it starts. It is JSON:
//!
//! ```json
//! {
//!   "version": 1,
//!   "id": "1795824037123456789-4711",
//!   "epoch": "1795824037123456789-4711",
//!   "runs_dir": "/project/target/ktstr",
//!   "kernels": [{ "label": "kernel_6_14_2", "image": "/cache/kernels/6.14.2-tarball-x86_64-kc1/bzImage" }],
//!   "commit": "abc1234-dirty",
//!   "backend": "kvm",
//!   "backend_works": true,
//!   "scheduler_profile": "dev",
//!   "no_skip_mode": false,
//!   "no_perf_mode": true,
//!   "cpu_cap": 2,
//!   "raw_verifier_log": false,
//!   "builder": "ktstr-1795824037123456789-4711",
//!   "selected": { "mine::tests": ["ktstr/steady", "gauntlet/steady/8cpu-2llc-smt"] }
//! }
//! ```
//!
//! `version`, `id`, `epoch` and `runs_dir` are always there. What is missing of the others is left to the environment
//! variable that users set for it, and what is there wins over that. A path that is not UTF-8 is an array of its bytes.
//! Fields that a reader does not know are passed over; [`SessionInfo::VERSION`] changes when that would be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::host::Commit;
use ktstr_core::host::files::{open_regular, write_atomic};
use ktstr_core::{KernelLabel, text};
use ktstr_vmm::{Backend, ParseBackendError};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cases::NamedKernel;
use crate::runner::Coverage;

/// The largest file that is read, in bytes: a session of hundreds of kernels and ten thousand selected cases takes a
/// tenth.
const LIMIT: u64 = 16 << 20;

/// The longest name that a session or its socket may have, in bytes.
const LONGEST: usize = 100;

/// What is older belongs to no session that is still going.
const LEFTOVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a session decided for all of its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Name of this session, which no other has.
    pub id: String,
    /// Name of the run that records belong to; sessions may share it.
    pub epoch: String,
    /// Where run directories are: `target/ktstr`, of whatever target directory cargo uses.
    pub runs_dir: PathBuf,
    /// The kernels to test on; none leaves the choice to `KTSTR_KERNEL_LIST`, and to discovery.
    pub kernels: Vec<NamedKernel>,
    /// The commit of the project; `None` outside of git.
    pub commit: Option<Commit>,
    /// The back end to run machines on.
    pub backend: Option<Backend>,
    /// Whether that back end was found to work on this host.
    pub backend_works: bool,
    /// Cargo profile of schedulers under test.
    pub scheduler_profile: Option<String>,
    /// Whether skips are failures.
    pub no_skip_mode: bool,
    /// Whether no test runs in performance mode.
    pub no_perf_mode: bool,
    /// How many host CPUs each machine gets that is not in performance mode.
    pub cpu_cap: Option<NonZeroU32>,
    /// Whether failed cells of the verifier sweep show the verifier's log as it is.
    pub raw_verifier_log: bool,
    /// Name of the abstract socket at which test binaries ask for schedulers while nextest lists their tests.
    pub builder: Option<String>,
    /// The cases that test binaries list, by nextest's name for the binary; `None` for all.
    pub selected: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Where profiles and measured programs are, where the session measures code coverage.
    pub coverage: Option<Coverage>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Json {
    version: u32,
    id: String,
    epoch: String,
    #[serde(with = "path")]
    runs_dir: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kernels: Vec<JsonKernel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(default)]
    backend_works: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduler_profile: Option<String>,
    #[serde(default)]
    no_skip_mode: bool,
    #[serde(default)]
    no_perf_mode: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_cap: Option<NonZeroU32>,
    #[serde(default)]
    raw_verifier_log: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    builder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selected: Option<BTreeMap<String, BTreeSet<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coverage: Option<JsonCoverage>,
}

#[derive(Serialize, Deserialize)]
struct JsonCoverage {
    #[serde(with = "path")]
    target_dir: PathBuf,
    #[serde(with = "path")]
    objects: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct JsonKernel {
    label: String,
    #[serde(with = "path")]
    image: PathBuf,
}

/// What every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl SessionInfo {
    /// The version of the file: another one is not read.
    pub const VERSION: u32 = 1;

    /// Writes the file into `dir`, which is made where it is not there, and gives its path. Removes files of sessions
    /// that were killed long ago.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)?.flatten() {
            if is_leftover(&entry).unwrap_or(false) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let path = dir.join(format!("{PREFIX}{}.json", self.id));
        write_atomic(&path, &serde_json::to_vec_pretty(&self.json())?)?;
        Ok(path)
    }

    /// Reads what [`SessionInfo::write`] wrote; the error is one line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let why = |error: &dyn std::fmt::Display| {
            text::line(&text::plain(&format!("{}: {error}", path.display())))
        };
        if !path.is_absolute() {
            return Err(why(&"not an absolute path"));
        }
        let file = open_regular(path).map_err(|error| why(&error))?;
        let mut bytes = Vec::new();
        let read = file.take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|error| why(&error))?;
        if bytes.len() as u64 > LIMIT {
            return Err(why(&"too long for what a session tells"));
        }
        Self::parse(&bytes).map_err(|error| why(&error))
    }

    fn json(&self) -> Json {
        let kernels = self.kernels.iter().map(|kernel| JsonKernel {
            label: kernel.label.to_string(),
            image: kernel.image.clone(),
        });
        Json {
            version: Self::VERSION,
            id: self.id.clone(),
            epoch: self.epoch.clone(),
            runs_dir: self.runs_dir.clone(),
            kernels: kernels.collect(),
            commit: self.commit.as_ref().map(ToString::to_string),
            backend: self.backend.map(|backend| backend.name().to_owned()),
            backend_works: self.backend_works,
            scheduler_profile: self.scheduler_profile.clone(),
            no_skip_mode: self.no_skip_mode,
            no_perf_mode: self.no_perf_mode,
            cpu_cap: self.cpu_cap,
            raw_verifier_log: self.raw_verifier_log,
            builder: self.builder.clone(),
            selected: self.selected.clone(),
            coverage: self.coverage.as_ref().map(|coverage| JsonCoverage {
                target_dir: coverage.target_dir.clone(),
                objects: coverage.objects.clone(),
            }),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let error = |error: serde_json::Error| error.to_string();
        let Version { version } = serde_json::from_slice(bytes).map_err(error)?;
        if version != Self::VERSION {
            return Err(format!(
                "it has version {version}, and this test binary reads version {}",
                Self::VERSION
            ));
        }
        let json: Json = serde_json::from_slice(bytes).map_err(error)?;
        let names = [("id", Some(&json.id)), ("builder", json.builder.as_ref())];
        for (field, name) in names {
            if name.is_some_and(|name| !is_name(name)) {
                return Err(format!("`{field}` is not a name"));
            }
        }
        if json.epoch.is_empty() {
            return Err("`epoch` is empty".to_owned());
        }
        if !json.runs_dir.is_absolute() {
            return Err("`runs_dir` is not an absolute path".to_owned());
        }
        if json
            .scheduler_profile
            .as_ref()
            .is_some_and(String::is_empty)
        {
            return Err("`scheduler_profile` is empty".to_owned());
        }
        let backend = json.backend.map(|name| name.parse()).transpose();
        let commit = json.commit.map(|text| commit(&text)).transpose()?;
        let mut kernels: Vec<NamedKernel> = Vec::new();
        for kernel in json.kernels {
            let kernel = named(kernel)?;
            if kernels.iter().any(|other| other.label == kernel.label) {
                return Err(format!("two kernels are called {}", kernel.label));
            }
            kernels.push(kernel);
        }
        let coverage = json.coverage.map(|json| Coverage {
            target_dir: json.target_dir,
            objects: json.objects,
        });
        let is_relative = |it: &Coverage| it.target_dir.is_relative() || it.objects.is_relative();
        if coverage.as_ref().is_some_and(is_relative) {
            return Err("`coverage` has a path that is not absolute".to_owned());
        }
        Ok(Self {
            id: json.id,
            epoch: json.epoch,
            runs_dir: json.runs_dir,
            kernels,
            commit,
            backend: backend.map_err(|error: ParseBackendError| error.to_string())?,
            backend_works: json.backend_works,
            scheduler_profile: json.scheduler_profile,
            no_skip_mode: json.no_skip_mode,
            no_perf_mode: json.no_perf_mode,
            cpu_cap: json.cpu_cap,
            raw_verifier_log: json.raw_verifier_log,
            builder: json.builder,
            selected: json.selected,
            coverage,
        })
    }
}

/// How the names of such files begin.
const PREFIX: &str = "ktstr-session-";

fn is_leftover(entry: &DirEntry) -> io::Result<bool> {
    let is_ours = entry.file_name().as_bytes().starts_with(PREFIX.as_bytes());
    let age = entry.metadata()?.modified()?.elapsed();
    Ok(is_ours && age.is_ok_and(|age| age > LEFTOVER))
}

/// Whether `text` can be part of a file's name.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(plain)
}

/// A commit; it becomes part of a directory's name.
fn commit(text: &str) -> Result<Commit, String> {
    let is_hash = |hash: &str| hash.len() <= 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let commit = Commit::parse(text).filter(|commit| is_hash(&commit.short));
    commit.ok_or_else(|| format!("`{text}` is not a commit"))
}

fn named(JsonKernel { label, image }: JsonKernel) -> Result<NamedKernel, String> {
    let label =
        KernelLabel::parse(&label).ok_or_else(|| format!("`{label}` is not a kernel label"))?;
    if !image.is_absolute() {
        return Err(format!("the image of {label} is not an absolute path"));
    }
    Ok(NamedKernel { label, image })
}

/// Paths of any bytes.
mod path {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => to.collect_seq(path.as_os_str().as_bytes()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        let bytes = match Either::deserialize(from)? {
            Either::Text(text) => text.into_bytes(),
            Either::Bytes(bytes) => bytes,
        };
        if bytes.contains(&0) {
            return Err(D::Error::custom("a path has a zero byte in it"));
        }
        Ok(OsString::from_vec(bytes).into())
    }
}

#[cfg(test)]
pub(super) mod tests;
