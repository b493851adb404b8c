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
//!   "builder": "ktstr-1795824037123456789-4711"
//! }
//! ```
//!
//! `version`, `id`, `epoch` and `runs_dir` are always there. What is missing of the others is left to the environment
//! variable that users set for it, and what is there wins over that. A path that is not UTF-8 is an array of its bytes.
//! Fields that a reader does not know are passed over; [`SessionInfo::VERSION`] changes when that would be wrong.

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

/// The largest file that is read, in bytes: a session of hundreds of kernels takes a tenth.
const LIMIT: u64 = 1 << 20;

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
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn least() -> SessionInfo {
        SessionInfo {
            id: "1-2".to_owned(),
            epoch: "e".to_owned(),
            runs_dir: "/r".into(),
            kernels: Vec::new(),
            commit: None,
            backend: None,
            backend_works: false,
            scheduler_profile: None,
            no_skip_mode: false,
            no_perf_mode: false,
            cpu_cap: None,
            raw_verifier_log: false,
            builder: None,
        }
    }

    fn kernel(version: &str, image: PathBuf) -> NamedKernel {
        NamedKernel {
            label: KernelLabel::from_version(version),
            image,
        }
    }

    /// The least file with the fields of `other` in it.
    fn with(other: Value) -> Vec<u8> {
        let mut file = json!({ "version": 1, "id": "x", "epoch": "e", "runs_dir": "/r" });
        let Value::Object(fields) = other else {
            panic!("{other}")
        };
        file.as_object_mut().unwrap().extend(fields);
        file.to_string().into_bytes()
    }

    #[test]
    fn what_is_told_arrives() {
        let most = SessionInfo {
            runs_dir: "/a b;c=d\\e\"f/ktstr".into(),
            kernels: vec![
                kernel("6.12", "/k/;=\\\n".into()),
                kernel("6.14", OsString::from_vec(b"/k/\xff".to_vec()).into()),
            ],
            commit: Commit::parse("abc1234-dirty"),
            backend: Some(Backend::Kvm),
            backend_works: true,
            scheduler_profile: Some("dev".to_owned()),
            no_skip_mode: true,
            no_perf_mode: true,
            cpu_cap: NonZeroU32::new(3),
            raw_verifier_log: true,
            builder: Some("ktstr-1-2".to_owned()),
            ..least()
        };
        let dir = tempfile::tempdir().unwrap();
        let of_sessions = dir.path().join("sessions");
        for info in [least(), most] {
            let path = info.write(&of_sessions).unwrap();
            assert_eq!(SessionInfo::read(&path), Ok(info));
        }
        let later = with(json!({ "something": [1] }));
        assert_eq!(SessionInfo::parse(&later).unwrap().id, "x");
    }

    #[test]
    fn hostile_files_are_refused_with_one_line() {
        for (fields, expected) in [
            (json!({ "version": 2 }), "it has version 2, and this test"),
            (json!({ "version": null }), "invalid type"),
            (json!({ "id": "../x" }), "`id` is not a name"),
            (json!({ "id": "x".repeat(101) }), "`id` is not a name"),
            (json!({ "builder": "" }), "`builder` is not a name"),
            (json!({ "epoch": "" }), "`epoch` is empty"),
            (json!({ "runs_dir": "r" }), "`runs_dir` is not an absolute"),
            (json!({ "runs_dir": [47, 0] }), "a path has a zero byte"),
            (json!({ "backend": "xen" }), "xen"),
            (json!({ "commit": "../.." }), "`../..` is not a commit"),
            (json!({ "commit": "-dirty" }), "`-dirty` is not a commit"),
            (json!({ "cpu_cap": 0 }), "nonzero"),
            (json!({ "scheduler_profile": "" }), "is empty"),
            (
                json!({ "kernels": [{ "label": "a/b", "image": "/k" }] }),
                "`a/b` is not a kernel label",
            ),
            (
                json!({ "kernels": [{ "label": "kernel_1", "image": "k" }] }),
                "the image of kernel_1 is not an absolute path",
            ),
            (
                json!({ "kernels": [
                    { "label": "kernel_1", "image": "/a" },
                    { "label": "kernel_1", "image": "/b" },
                ] }),
                "two kernels are called kernel_1",
            ),
        ] {
            let why = SessionInfo::parse(&with(fields)).unwrap_err();
            assert!(why.contains(expected), "{why}: {expected}");
        }
        for bad in ["", "/r", "[]", r#"{"version": 1, "id": "x"}"#] {
            assert!(SessionInfo::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_file_of_a_sensible_length_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, long) = (dir.path().join("pipe"), dir.path().join("long\nname"));
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        fs::write(&long, vec![b' '; 1 + usize::try_from(LIMIT).unwrap()]).unwrap();
        symlink("/dev/zero", dir.path().join("zero")).unwrap();
        for (path, expected) in [
            (pipe, "not a regular file"),
            (dir.path().join("zero"), "not a regular file"),
            (long, "too long"),
            (dir.path().join("none"), "No such file"),
            ("relative".into(), "not an absolute path"),
            ("{\"id\": \"x\"}".into(), "not an absolute path"),
        ] {
            let why = SessionInfo::read(&path).unwrap_err();
            assert!(why.contains(expected), "{why}: {expected}");
            assert!(!why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn files_of_sessions_that_were_killed_go_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let age = |path: &Path| {
            let old = std::time::SystemTime::now() - 2 * LEFTOVER;
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(old).unwrap();
        };
        let other = dir.path().join("other");
        fs::write(&other, "").unwrap();
        age(&other);
        let first = least().write(dir.path()).unwrap();
        let named = |id: &str| SessionInfo {
            id: id.to_owned(),
            ..least()
        };
        let second = named("2").write(dir.path()).unwrap();
        assert!(first.exists() && second.exists() && first != second);
        age(&first);
        named("3").write(dir.path()).unwrap();
        assert!(!first.exists() && second.exists() && other.exists());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = SessionInfo::parse(&bytes);
        }

        #[test]
        fn any_path_is_read_as_it_was_written(bytes in proptest::collection::vec(1..=255_u8, 0..20)) {
            let image = OsString::from_vec([&b"/"[..], &bytes].concat());
            let info = SessionInfo { kernels: vec![kernel("6.12", image.into())], ..least() };
            let json = serde_json::to_vec(&info.json()).unwrap();
            prop_assert_eq!(SessionInfo::parse(&json), Ok(info));
        }
    }
}
