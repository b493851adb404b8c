//! The configurations ktstr brings, and the hash that names them in cache keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

/// What every kernel under test must have, merged over any base configuration.
pub const KTSTR_KCONFIG: &str = include_str!("config/ktstr.kconfig");

/// What the [`BaseConfig::Lean`] base adds to `make tinyconfig`.
pub const LEAN_KCONFIG: &str = include_str!("config/lean.kconfig");

/// Configuration that a source without a `.config` starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseConfig {
    /// The architecture's own default: `make defconfig`.
    #[default]
    Defconfig,
    /// A small kernel for virtual machines that builds three times as fast: `make tinyconfig` and [`LEAN_KCONFIG`].
    Lean,
}

/// Not the name of a base configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown base configuration `{0}`; use defconfig or lean")]
pub struct ParseBaseConfigError(String);

impl BaseConfig {
    /// Its name on the command line and in `KTSTR_BASE_CONFIG`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Defconfig => "defconfig",
            Self::Lean => "lean",
        }
    }

    /// The make target it starts from.
    pub fn make_target(self) -> &'static str {
        match self {
            Self::Defconfig => "defconfig",
            Self::Lean => "tinyconfig",
        }
    }

    /// The fragments merged over that target, in order. A later one wins.
    pub fn fragments(self) -> &'static [&'static str] {
        match self {
            Self::Defconfig => &[KTSTR_KCONFIG],
            Self::Lean => &[LEAN_KCONFIG, KTSTR_KCONFIG],
        }
    }
}

impl FromStr for BaseConfig {
    type Err = ParseBaseConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "defconfig" => Ok(Self::Defconfig),
            "lean" => Ok(Self::Lean),
            _ => Err(ParseBaseConfigError(text.to_owned())),
        }
    }
}

impl fmt::Display for BaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The eight digits behind `kc` in cache keys of kernels configured from `base`.
///
/// Only options count: a reworded comment causes no rebuild.
pub fn kconfig_hash(base: BaseConfig) -> String {
    let lines = base.fragments().iter().flat_map(|text| text.lines());
    options_hash(lines.map(str::trim).filter(|line| {
        let comment = line.starts_with('#') && !line.ends_with(" is not set");
        !line.is_empty() && !comment
    }))
}

/// Eight digits that stand for these lines, each of which sets an option.
pub(crate) fn options_hash(lines: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Xxh3Default::new();
    for line in lines {
        hash.update(line.as_ref());
        hash.update(b"\n");
    }
    short_hex(hash.digest())
}

/// The eight digits behind `cfg` in cache keys: a tree's own `.config`.
#[cfg(feature = "build")]
pub(crate) fn config_hash(config: &[u8]) -> String {
    short_hex(xxhash_rust::xxh3::xxh3_64(config))
}

fn short_hex(digest: u64) -> String {
    format!("{:08x}", digest & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_told_apart() {
        assert_ne!(
            kconfig_hash(BaseConfig::Defconfig),
            kconfig_hash(BaseConfig::Lean)
        );
        assert_eq!(kconfig_hash(BaseConfig::Lean).len(), 8);
        for base in [BaseConfig::Defconfig, BaseConfig::Lean] {
            assert_eq!(base.to_string().parse(), Ok(base));
        }
        assert!("tiny".parse::<BaseConfig>().is_err());
    }
}
