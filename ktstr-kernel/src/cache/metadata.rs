//! The metadata of cached kernels.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ktstr_core::KernelLabel;
use ktstr_core::host::files::open_regular;
use serde::{Deserialize, Serialize};

use crate::key::{CacheKey, ConfigOrigin};
use crate::release::Release;
use crate::text::line;

/// `metadata.json` of a cache entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Metadata {
    /// Version of this format; see [`Metadata::SCHEMA`].
    pub schema: u32,
    /// The entry's key.
    pub key: CacheKey,
    /// The version the sources declare.
    pub version: String,
    /// Architecture, as `uname -m` spells it.
    pub arch: String,
    /// Where the sources came from.
    pub source: SourceRecord,
    /// What it was configured from.
    pub config_origin: ConfigOrigin,
    /// Hash of the fragments merged over that.
    pub kconfig_hash: String,
    /// Hash of the user's extra kconfig that was merged over them, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_kconfig: Option<String>,
    /// What it was compiled with, as it would be typed after `make`, where that was not make's own: `LLVM=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
    /// When the build ended, RFC 3339, UTC, whole seconds.
    pub built: String,
    /// How long configuring and compiling took, seconds.
    pub build_seconds: u64,
    /// How many steps make reported: an estimate for the next build.
    pub make_steps: u64,
    /// The boot image.
    pub image: FileRecord,
    /// The ELF kernel, without debug sections.
    pub vmlinux: FileRecord,
    /// The configuration.
    pub config: FileRecord,
}

/// Why metadata cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// They are in a format of another version of ktstr.
    #[error("{file} has format {0}, this ktstr reads {read}", file = Metadata::FILE, read = Metadata::SCHEMA)]
    OtherVersion(u32),
    /// They cannot be parsed or hold invalid values: which, in one clause.
    #[error("{0}")]
    Damaged(String),
}

/// Where a cached kernel's sources came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", expecting = "a source")]
pub enum SourceRecord {
    /// A tarball on disk.
    Tarball {
        /// Its file name.
        name: String,
        /// Its SHA-256, hexadecimal.
        sha256: String,
    },
    /// A clean git tree.
    Local {
        /// Where it was.
        path: PathBuf,
        /// The commit.
        commit: String,
    },
    /// A commit of a repository that was fetched.
    Git {
        /// Where the repository is.
        url: String,
        /// What was asked for: `tag=v6.14`, `branch=master` or `sha=…`.
        reference: String,
        /// The commit.
        commit: String,
    },
}

/// One file of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "a file record")]
pub struct FileRecord {
    /// Name within the entry.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// XXH3, 16 hexadecimal digits: what is compared on use. Entries of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xxh3: Option<String>,
    /// When it was last modified, nanoseconds since 1970, as its file system told when it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<i64>,
}

impl SourceRecord {
    /// The word for it in listings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tarball { .. } => "tarball",
            Self::Local { .. } => "local",
            Self::Git { .. } => "git",
        }
    }
}

impl Metadata {
    /// The format this version writes, and the only one it reads.
    pub const SCHEMA: u32 = 1;

    /// Name of the file.
    pub const FILE: &'static str = "metadata.json";

    /// Reads `json`.
    pub fn parse(json: &[u8]) -> Result<Self, MetadataError> {
        #[derive(Deserialize)]
        #[serde(expecting = "an object")]
        struct Version {
            schema: u32,
        }
        let damaged = |why: &str| Err(MetadataError::Damaged(format!("{}: {why}", Self::FILE)));
        // It may quote what it found.
        let unreadable = |error: serde_json::Error| {
            let why = line(&error.to_string());
            MetadataError::Damaged(format!("{}: {why}", Self::FILE))
        };
        let version: Version = serde_json::from_slice(json).map_err(unreadable)?;
        if version.schema != Self::SCHEMA {
            return Err(MetadataError::OtherVersion(version.schema));
        }
        let metadata: Self = serde_json::from_slice(json).map_err(unreadable)?;
        if metadata.built_at().is_none() {
            return damaged("`built` is not a time");
        }
        // A name such as ../../x would lead out of the entry.
        if !metadata.files().iter().all(|file| is_plain(&file.name)) {
            return damaged("a file name is not a plain name");
        }
        // They are part of lists and of test names.
        if !is_word(&metadata.version) || !is_word(&metadata.arch) {
            return damaged("`version` or `arch` is not a plain word");
        }
        Ok(metadata)
    }

    /// More bytes than any metadata needs, less than a hostile file may cost.
    const LIMIT: u64 = 1 << 20;

    /// The bytes of the file in `dir`, as many as metadata can have.
    pub(super) fn read(dir: &Path) -> io::Result<Vec<u8>> {
        let mut json = Vec::new();
        let file = open_regular(&dir.join(Self::FILE))?;
        file.take(Self::LIMIT).read_to_end(&mut json)?;
        Ok(json)
    }

    /// The metadata of the cache entry that the kernel image at `image` belongs to; `None` for an image from elsewhere.
    pub fn beside(image: &Path) -> Option<Self> {
        let metadata = Self::parse(&Self::read(image.parent()?).ok()?).ok()?;
        (image.file_name()? == metadata.image.name.as_str()).then_some(metadata)
    }

    /// The time in `built`.
    pub fn built_at(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.built).ok()
    }

    /// Every file of the entry but the metadata itself.
    pub fn files(&self) -> [&FileRecord; 3] {
        [&self.image, &self.vmlinux, &self.config]
    }

    /// The release it was built from, as kernel.org spells it: `7.1-rc3`, where the Makefile says `7.1.0-rc3`. Only a
    /// kernel that was built from a tarball is known to be a release.
    pub fn release(&self) -> Option<Release> {
        let is_tarball = matches!(self.source, SourceRecord::Tarball { .. });
        let release = Release::parse(&self.version.replace(".0-rc", "-rc"));
        release.filter(|_| is_tarball)
    }

    /// Whether the fragments changed since it was built.
    pub fn is_stale(&self) -> bool {
        self.kconfig_hash != self.config_origin.kconfig_hash()
    }

    /// The kernel's name in test names: a release's version (`kernel_6_14_2`), the tree it was built from
    /// (`kernel_path_linux_1a2b3c`), or version and commit (`kernel_6_14_0_git_38fec10`).
    pub fn label(&self) -> KernelLabel {
        match &self.source {
            SourceRecord::Tarball { .. } => KernelLabel::from_version(&self.version),
            SourceRecord::Local { path, .. } => KernelLabel::from_path(path, false),
            // Two commits of one run may call themselves the same.
            SourceRecord::Git { commit, .. } => {
                let short = commit.get(..7).unwrap_or(commit);
                KernelLabel::from_version(&format!("{}-git-{short}", self.version))
            }
        }
    }
}

fn is_plain(name: &str) -> bool {
    Path::new(name).file_name() == Some(name.as_ref()) && is_word(name)
}

/// As versions, architectures and file names are: something, but no more than a line takes.
fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fragment::BaseConfig;
    use proptest::prelude::*;

    pub(crate) fn sample(key: &str, built: &str) -> Metadata {
        let file = |name: &str| FileRecord {
            name: name.to_owned(),
            size: 4,
            sha256: "0".repeat(64),
            xxh3: None,
            modified: None,
        };
        let config_origin = ConfigOrigin::Base(BaseConfig::Lean);
        Metadata {
            schema: Metadata::SCHEMA,
            key: CacheKey::parse(key).unwrap(),
            version: "6.12.9".into(),
            arch: "x86_64".into(),
            source: SourceRecord::Tarball {
                name: "linux.tar.xz".into(),
                sha256: "1".repeat(64),
            },
            kconfig_hash: config_origin.kconfig_hash(),
            extra_kconfig: None,
            toolchain: None,
            config_origin,
            built: built.into(),
            build_seconds: 300,
            make_steps: 2000,
            image: file("bzImage"),
            vmlinux: file("vmlinux"),
            config: file(".config"),
        }
    }

    #[test]
    fn survives_a_round_trip() {
        let metadata = sample("a-b", "2026-07-04T23:06:12Z");
        let json = serde_json::to_vec_pretty(&metadata).unwrap();
        assert!(!String::from_utf8_lossy(&json).contains("extra_kconfig"));
        assert_eq!(Metadata::parse(&json), Ok(metadata));
        let mut extra = sample("a-b", "2026-07-04T23:06:12Z");
        extra.extra_kconfig = Some("0123abcd".into());
        extra.toolchain = Some("LLVM=1".into());
        let json = serde_json::to_vec_pretty(&extra).unwrap();
        assert_eq!(Metadata::parse(&json), Ok(extra));
    }

    #[test]
    fn an_image_is_that_of_the_metadata_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("bzImage");
        assert_eq!(Metadata::beside(&image), None);
        let metadata = sample("a-b", "2026-07-04T23:06:12Z");
        let json = serde_json::to_vec(&metadata).unwrap();
        std::fs::write(dir.path().join(Metadata::FILE), json).unwrap();
        assert_eq!(Metadata::beside(&image), Some(metadata));
        assert_eq!(Metadata::beside(&dir.path().join("vmlinuz")), None);
    }

    #[test]
    fn refuses_what_it_cannot_trust() {
        let mut escaping = sample("k", "2026-07-04T23:06:12Z");
        escaping.image.name = "../../boot/vmlinuz".into();
        let mut timeless = sample("k", "yesterday");
        timeless.image.name = "bzImage".into();
        let mut newer = sample("k", "2026-07-04T23:06:12Z");
        newer.schema = 9;
        for (metadata, part) in [(escaping, "plain"), (timeless, "time"), (newer, "format 9")] {
            let error = Metadata::parse(&serde_json::to_vec(&metadata).unwrap()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Metadata::parse(b"{}").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_without_names_of_types() {
        let good = serde_json::to_value(sample("k", "2026-07-04T23:06:12Z")).unwrap();
        for field in ["key", "source", "config_origin", "image", "built"] {
            for odd in [
                serde_json::json!(5),
                serde_json::json!("x"),
                serde_json::json!([]),
            ] {
                let mut json = good.clone();
                json[field] = odd;
                let error = Metadata::parse(json.to_string().as_bytes());
                let error = error.map_or_else(|error| error.to_string(), |_| String::new());
                for name in [
                    "struct",
                    "enum",
                    "Metadata",
                    "FileRecord",
                    "SourceRecord",
                    "Origin",
                ] {
                    assert!(!error.contains(name), "{field}: {error}");
                }
            }
        }
        let error = Metadata::parse(b"[]").unwrap_err().to_string();
        assert!(error.contains("expected an object"), "{error}");
    }

    /// Takes it, and then all of it can be used; or refuses it in a line.
    fn check(json: &[u8]) -> Result<(), TestCaseError> {
        match Metadata::parse(json) {
            Ok(metadata) => {
                let _ = (metadata.label(), metadata.release(), metadata.is_stale());
                prop_assert!(metadata.built_at().is_some());
                for file in metadata.files() {
                    let path = Path::new("entry").join(&file.name);
                    prop_assert_eq!(path.parent(), Some(Path::new("entry")));
                }
                let again = serde_json::to_vec(&metadata).unwrap();
                prop_assert_eq!(Metadata::parse(&again), Ok(metadata));
            }
            Err(why) => {
                let why = why.to_string();
                prop_assert!(!why.is_empty() && why.len() < 1200);
                prop_assert!(!why.chars().any(char::is_control), "{:?}", why);
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes_are_taken_or_refused_in_a_line(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            text in r#"(\{|\}|\[|\]|:|,|"schema"|"key"|"kind"|"tarball"|1|null|"[a-z\\n.]{0,4}"){0,20}"#,
            deep in 0..200usize,
        ) {
            check(&bytes)?;
            check(text.as_bytes())?;
            check("[".repeat(deep).as_bytes())?;
        }

        #[test]
        fn mutated_metadata_are_taken_or_refused_in_a_line(
            at in 0..1200usize,
            drop in 0..12usize,
            noise in prop_oneof![
                "(?s:.{0,4})",
                r#"[\[\]{}:,"a-z0-9\\/. -]{0,6}"#,
                r"(\\n|\\u000[0-9a]|\.\./|null|-1|1e99|18446744073709551616)",
            ],
            cut in prop_oneof![9 => Just(usize::MAX), 1 => 0..1200usize],
        ) {
            let mut metadata = sample("6.12.9-tarball-x86_64-kc1", "2026-07-04T23:06:12Z");
            metadata.extra_kconfig = Some("0123abcd".into());
            metadata.image.xxh3 = Some("0123456789abcdef".into());
            metadata.image.modified = Some(-7);
            let mut json = serde_json::to_vec(&metadata).unwrap();
            let at = at % json.len();
            let end = (at + drop).min(json.len());
            json.splice(at..end, noise.bytes());
            json.truncate(cut);
            check(&json)?;
        }
    }
}
