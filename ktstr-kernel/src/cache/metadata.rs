//! What is written down about a cached kernel.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ktstr_core::KernelLabel;
use serde::{Deserialize, Serialize};

use super::key::{CacheKey, ConfigOrigin};
use crate::release::Release;

/// `metadata.json` of a cache entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    pub source: Source,
    /// What it was configured from.
    pub config_origin: ConfigOrigin,
    /// Hash of the fragments merged over that.
    pub kconfig_hash: String,
    /// Hash of the user's extra kconfig that was merged over them, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_kconfig: Option<String>,
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

/// Where a cached kernel's sources came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
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
pub struct FileRecord {
    /// Name within the entry.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

impl Source {
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

    /// Reads `json`; the error is one clause, for a person.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let unreadable = |error: serde_json::Error| format!("{}: {error}", Self::FILE);
        let version: Version = serde_json::from_slice(json).map_err(unreadable)?;
        if version.schema != Self::SCHEMA {
            return Err(format!(
                "{} has format {}, this ktstr reads {}",
                Self::FILE,
                version.schema,
                Self::SCHEMA
            ));
        }
        let metadata: Self = serde_json::from_slice(json).map_err(unreadable)?;
        if metadata.built_at().is_none() {
            return Err(format!("{}: `built` is no time", Self::FILE));
        }
        // A name such as ../../x would lead out of the entry.
        if !metadata.files().iter().all(|file| is_plain(&file.name)) {
            return Err(format!("{}: a file name is no plain name", Self::FILE));
        }
        Ok(metadata)
    }

    /// The time in `built`.
    pub fn built_at(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.built).ok()
    }

    /// Every file of the entry but the metadata itself.
    pub fn files(&self) -> [&FileRecord; 3] {
        [&self.image, &self.vmlinux, &self.config]
    }

    /// The release it is of, as kernel.org spells it; its Makefile says `7.1.0-rc3` for `7.1-rc3`. Only what was built
    /// from a tarball is sure to be one.
    pub fn release(&self) -> Option<Release> {
        let is_tarball = matches!(self.source, Source::Tarball { .. });
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
            Source::Tarball { .. } => KernelLabel::from_version(&self.version),
            Source::Local { path, .. } => KernelLabel::from_path(path, false),
            // Two commits of one run may call themselves the same.
            Source::Git { commit, .. } => {
                let short = commit.get(..7).unwrap_or(commit);
                KernelLabel::from_version(&format!("{}-git-{short}", self.version))
            }
        }
    }
}

fn is_plain(name: &str) -> bool {
    Path::new(name).file_name() == Some(name.as_ref()) && !name.contains('\0')
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
        };
        let config_origin = ConfigOrigin::Base(BaseConfig::Lean);
        Metadata {
            schema: Metadata::SCHEMA,
            key: CacheKey::parse(key).unwrap(),
            version: "6.12.9".into(),
            arch: "x86_64".into(),
            source: Source::Tarball {
                name: "linux.tar.xz".into(),
                sha256: "1".repeat(64),
            },
            kconfig_hash: config_origin.kconfig_hash(),
            extra_kconfig: None,
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
        let json = serde_json::to_vec_pretty(&extra).unwrap();
        assert_eq!(Metadata::parse(&json), Ok(extra));
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
            assert!(error.contains(part), "{error}");
        }
        assert!(Metadata::parse(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Metadata::parse(&bytes);
        }

        #[test]
        fn no_damage_panics(at in 0..1000usize, byte in any::<u8>(), cut in 0..1200usize) {
            let mut json = serde_json::to_vec(&sample("k", "2026-07-04T23:06:12Z")).unwrap();
            let at = at % json.len();
            json[at] = byte;
            json.truncate(cut);
            let _ = Metadata::parse(&json);
        }
    }
}
