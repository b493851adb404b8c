//! The short name of a kernel in test names.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The name of a kernel in the test matrix: `kernel_6_16_1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelLabel(String);

impl KernelLabel {
    /// The label of a released version: `6.16.1` becomes `kernel_6_16_1`.
    ///
    /// Letters become lower case; each run of other characters becomes one `_`.
    #[must_use]
    pub fn from_version(version: &str) -> Self {
        Self(format!("kernel_{}", squash(version)))
    }

    /// The label of a source tree or image at `path`, which must be absolute.
    ///
    /// Six hex digits of a hash of the path distinguish trees of the same name; `dirty` marks uncommitted changes.
    #[must_use]
    pub fn from_path(path: &Path, dirty: bool) -> Self {
        let base = path.file_name().unwrap_or_default().to_string_lossy();
        let hash = xxh3_64(path.as_os_str().as_encoded_bytes()) & 0xff_ffff;
        let dirty = if dirty { "_dirty" } else { "" };
        Self(format!("kernel_path_{}_{hash:06x}{dirty}", squash(&base)))
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a label, for example from a test name; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("kernel_")?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        (!rest.is_empty() && rest.bytes().all(plain)).then(|| Self(text.to_owned()))
    }
}

fn squash(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out.trim_matches('_').to_owned()
}

impl fmt::Display for KernelLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_versions_and_paths() {
        assert_eq!(
            KernelLabel::from_version("6.16.1").as_str(),
            "kernel_6_16_1"
        );
        assert_eq!(
            KernelLabel::from_version("7.0-RC2+").as_str(),
            "kernel_7_0_rc2"
        );
        let clean = KernelLabel::from_path(Path::new("/src/Linux--next"), false);
        let dirty = KernelLabel::from_path(Path::new("/src/Linux--next"), true);
        assert!(
            clean.as_str().starts_with("kernel_path_linux_next_"),
            "{clean}"
        );
        assert_eq!(dirty.as_str(), format!("{clean}_dirty"));
        assert_ne!(
            KernelLabel::from_path(Path::new("/other/Linux--next"), false),
            clean
        );
        assert_eq!(KernelLabel::parse(clean.as_str()), Some(clean));
        assert_eq!(KernelLabel::parse("kernel_"), None);
        assert_eq!(KernelLabel::parse("kernel_6.1"), None);
    }
}
