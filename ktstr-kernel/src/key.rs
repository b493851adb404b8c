//! Cache keys: the names of cache entries.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fragment::{BaseConfig, kconfig_hash};
use crate::text::line;

/// The name of a cache entry, and of its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CacheKey(String);

/// A text that cannot be a cache key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a cache key: {why}", line(text))]
pub struct CacheKeyError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What the configuration of a kernel was made from, as its cache key has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "a configuration's origin")]
pub enum ConfigOrigin {
    /// One of the bases.
    Base(BaseConfig),
    /// The tree's own `.config`, by the eight digits of its hash.
    Own(String),
}

impl ConfigOrigin {
    /// The hash of the fragments merged over it.
    pub fn kconfig_hash(&self) -> String {
        match self {
            Self::Base(base) => kconfig_hash(*base),
            Self::Own(_) => kconfig_hash(BaseConfig::Defconfig),
        }
    }

    fn key_part(&self) -> String {
        let kc = self.kconfig_hash();
        match self {
            Self::Base(BaseConfig::Defconfig) => format!("kc{kc}"),
            Self::Base(BaseConfig::Lean) => format!("lean-kc{kc}"),
            Self::Own(hash) => format!("cfg{hash}-kc{kc}"),
        }
    }
}

impl CacheKey {
    /// Checks that `text` can be a key: 1 to 128 of ASCII letters, digits, `.`, `_`, `+` and `-`,
    /// with a letter or digit first.
    pub fn parse(text: &str) -> Result<Self, CacheKeyError> {
        let error = |why| CacheKeyError {
            text: text.to_owned(),
            why,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
        match text.bytes().next() {
            None => Err(error("it is empty")),
            Some(b) if !b.is_ascii_alphanumeric() => {
                Err(error("it does not start with a letter or digit"))
            }
            _ if text.len() > 128 => Err(error("it is longer than 128 characters")),
            _ if !text.bytes().all(plain) => Err(error("keys consist of letters, digits and ._+-")),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The key of a release built from a tarball.
    pub fn tarball(
        version: &str,
        arch: &str,
        config: &ConfigOrigin,
    ) -> Result<Self, CacheKeyError> {
        Self::parse(&format!("{version}-tarball-{arch}-{}", config.key_part()))
    }

    /// The key of a commit of a local git tree.
    pub fn local(commit: &str, arch: &str, config: &ConfigOrigin) -> Result<Self, CacheKeyError> {
        let short = commit.get(..7).unwrap_or(commit);
        Self::parse(&format!("local-{short}-{arch}-{}", config.key_part()))
    }

    /// The key of a commit of a repository that was fetched.
    pub fn git(commit: &str, arch: &str, config: &ConfigOrigin) -> Result<Self, CacheKeyError> {
        let short = commit.get(..7).unwrap_or(commit);
        Self::parse(&format!("git-{short}-{arch}-{}", config.key_part()))
    }

    /// The key of the same kernel with an extra kconfig of that [hash](crate::Metadata::extra_kconfig), if there is one.
    pub fn with_extra_kconfig(self, hash: Option<&str>) -> Result<Self, CacheKeyError> {
        match hash {
            Some(hash) => Self::parse(&format!("{self}-xkc{hash}")),
            None => Ok(self),
        }
    }

    /// The key of the same kernel built with a tool chain of that hash, if it is not make's own.
    pub fn with_toolchain(self, hash: Option<&str>) -> Result<Self, CacheKeyError> {
        match hash {
            Some(hash) => Self::parse(&format!("{self}-tc{hash}")),
            None => Ok(self),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for CacheKey {
    type Error = CacheKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<CacheKey> for String {
    fn from(key: CacheKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_say_what_was_built() {
        let kc = kconfig_hash(BaseConfig::Defconfig);
        let lean_kc = kconfig_hash(BaseConfig::Lean);
        let commit = "b4dc42d0123456789012345678901234567890ab";
        let base = ConfigOrigin::Base;
        let key = |key: Result<CacheKey, CacheKeyError>| key.unwrap().to_string();
        assert_eq!(
            key(CacheKey::tarball(
                "7.0.14",
                "x86_64",
                &base(BaseConfig::Defconfig)
            )),
            format!("7.0.14-tarball-x86_64-kc{kc}")
        );
        assert_eq!(
            key(CacheKey::tarball(
                "7.0.14",
                "x86_64",
                &base(BaseConfig::Lean)
            )),
            format!("7.0.14-tarball-x86_64-lean-kc{lean_kc}")
        );
        assert_eq!(
            key(CacheKey::local(
                commit,
                "x86_64",
                &base(BaseConfig::Defconfig)
            )),
            format!("local-b4dc42d-x86_64-kc{kc}")
        );
        assert_eq!(
            key(CacheKey::local(
                commit,
                "x86_64",
                &ConfigOrigin::Own("1982ad42".into())
            )),
            format!("local-b4dc42d-x86_64-cfg1982ad42-kc{kc}")
        );
        let plain = CacheKey::git(commit, "x86_64", &base(BaseConfig::Lean)).unwrap();
        assert_eq!(plain.clone().with_extra_kconfig(None), Ok(plain.clone()));
        assert_eq!(
            key(plain.with_extra_kconfig(Some("0123abcd"))),
            format!("git-b4dc42d-x86_64-lean-kc{lean_kc}-xkc0123abcd")
        );
        let plain = CacheKey::git(commit, "x86_64", &base(BaseConfig::Lean)).unwrap();
        assert_eq!(plain.clone().with_toolchain(None), Ok(plain.clone()));
        assert_eq!(
            key(plain.with_toolchain(Some("89abcdef"))),
            format!("git-b4dc42d-x86_64-lean-kc{lean_kc}-tc89abcdef")
        );
    }

    proptest! {
        #[test]
        fn a_key_is_a_plain_file_name(text in ".{0,140}") {
            if let Ok(key) = CacheKey::parse(&text) {
                let path = std::path::Path::new(key.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert_eq!(path.file_name(), Some(path.as_os_str()));
                prop_assert!(!key.as_str().starts_with('.'));
            }
        }
    }
}
