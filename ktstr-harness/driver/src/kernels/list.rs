//! Lists of kernels and releases, as documents.

use std::path::PathBuf;

use ktstr_kernel::cache::{ConfigOrigin, SourceRecord};
use ktstr_kernel::{Cache, CacheEntry, CacheKey, EntryState, Metadata, Release, Releases};
use serde::Serialize;

/// The kernels of a cache: the document that `cargo ktstr kernel list --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelList {
    /// The directory that holds the entries.
    pub cache: PathBuf,
    /// The entries: those that can be used, newest first, then the others by key.
    pub kernels: Vec<ListedKernel>,
}

/// An entry of the cache, usable or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedKernel {
    /// Its key.
    pub key: CacheKey,
    /// Its directory.
    pub dir: PathBuf,
    /// Whether ktstr's configuration fragments changed since it was built. It is built again when asked for by name.
    pub stale: bool,
    /// Whether it can be used. In JSON, its fields stand beside the others, and the field `state` says which it is:
    /// `valid`, `corrupt` or `other_version`.
    #[serde(flatten)]
    pub state: KernelState,
}

/// Whether an entry can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum KernelState {
    /// Everything is there.
    Valid(Box<CachedKernel>),
    /// Something is missing or damaged.
    Corrupt {
        /// What, in one clause.
        why: String,
    },
    /// It is in the format of another version of ktstr, which can use it.
    OtherVersion {
        /// Which format, in one clause.
        why: String,
    },
}

/// A kernel that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedKernel {
    /// The version the sources declare.
    pub version: String,
    /// Whether its series gets no more releases; `None` where that is not known here.
    pub eol: Option<bool>,
    /// Where the sources came from; in JSON, its `kind` is `tarball`, `local` or `git`.
    pub source: SourceRecord,
    /// Architecture, as `uname -m` spells it.
    pub arch: String,
    /// When the build ended, RFC 3339, UTC, whole seconds.
    pub built: String,
    /// How long configuring and compiling took, seconds.
    pub build_seconds: u64,
    /// What it was configured from.
    pub config_origin: ConfigOrigin,
    /// Hash of ktstr's fragments that were merged over that.
    pub kconfig_hash: String,
    /// Hash of the user's extra kconfig, if there was one.
    pub extra_kconfig: Option<String>,
    /// What it was compiled with, as it would be typed after `make`; `None` where that was make's own choice.
    pub toolchain: Option<String>,
    /// The boot image.
    pub image: PathBuf,
    /// The ELF kernel, without debug sections.
    pub vmlinux: PathBuf,
    /// The configuration.
    pub config: PathBuf,
}

/// The releases that a range stands for: the document that `cargo ktstr kernel list --kernel RANGE --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedReleases {
    /// The range, as it was given.
    pub range: String,
    /// The releases as kernel.org spells them, oldest first.
    pub versions: Vec<String>,
}

impl KernelList {
    /// Lists `entries` of `cache`; `releases` say which series are at their end of life.
    pub fn of(cache: &Cache, entries: &[CacheEntry], releases: Option<&Releases>) -> Self {
        let kernels = entries.iter();
        Self {
            cache: cache.kernels_dir(),
            kernels: kernels.map(|entry| listed(entry, releases)).collect(),
        }
    }
}

fn listed(entry: &CacheEntry, releases: Option<&Releases>) -> ListedKernel {
    let state = match &entry.state {
        EntryState::Valid(metadata) => {
            KernelState::Valid(Box::new(kernel(entry, metadata, releases)))
        }
        EntryState::Corrupt(why) => KernelState::Corrupt { why: why.clone() },
        EntryState::OtherVersion(why) => KernelState::OtherVersion { why: why.clone() },
    };
    ListedKernel {
        key: entry.key.clone(),
        dir: entry.dir.clone(),
        stale: entry.is_stale(),
        state,
    }
}

fn kernel(entry: &CacheEntry, metadata: &Metadata, releases: Option<&Releases>) -> CachedKernel {
    let metadata = metadata.clone();
    let release = Release::of_kernel(&metadata.version);
    let series = release.map(|release| (release.major, release.minor));
    CachedKernel {
        eol: series.and_then(|series| releases?.is_eol(series)),
        version: metadata.version,
        source: metadata.source,
        arch: metadata.arch,
        built: metadata.built,
        build_seconds: metadata.build_seconds,
        config_origin: metadata.config_origin,
        kconfig_hash: metadata.kconfig_hash,
        extra_kconfig: metadata.extra_kconfig,
        toolchain: metadata.toolchain,
        image: entry.dir.join(metadata.image.name),
        vmlinux: entry.dir.join(metadata.vmlinux.name),
        config: entry.dir.join(metadata.config.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_used_says_why_in_the_document() {
        let key = CacheKey::parse("6.12.9-a").unwrap();
        let entry = |state| CacheEntry {
            dir: "/c/kernels/6.12.9-a".into(),
            key: key.clone(),
            state,
        };
        let entries = [
            entry(EntryState::Corrupt("no image".to_owned())),
            entry(EntryState::OtherVersion("format 2".to_owned())),
        ];
        let list = KernelList::of(&Cache::new("/c"), &entries, None);
        let listed = |state: &str, why: &str| {
            json!({
                "key": "6.12.9-a",
                "dir": "/c/kernels/6.12.9-a",
                "stale": false,
                "state": state,
                "why": why,
            })
        };
        let expected = json!({
            "cache": "/c/kernels",
            "kernels": [listed("corrupt", "no image"), listed("other_version", "format 2")],
        });
        assert_eq!(serde_json::to_value(list).unwrap(), expected);
    }
}
