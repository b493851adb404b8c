//! Room for a build.

use std::path::Path;

use crate::cache::ConfigOrigin;
use crate::error::Error;
use crate::fragment::BaseConfig;

const MIB: u64 = 1 << 20;

/// What Linux 6.12 takes unpacked, bytes.
const SOURCE: u64 = 1600 * MIB;

/// About what a build of 6.12 leaves in its tree, bytes: 1.5 GB measured for the lean configuration.
pub(crate) fn of_build(origin: &ConfigOrigin) -> u64 {
    match origin {
        ConfigOrigin::Base(BaseConfig::Lean) => 1400 * MIB,
        // A distribution's own takes up to ten times as much, a small one less: the user will know.
        ConfigOrigin::Base(BaseConfig::Defconfig) | ConfigOrigin::Own(_) => 3500 * MIB,
    }
}

/// As [`of_build`], with the sources.
pub(crate) fn of_tarball(origin: &ConfigOrigin) -> u64 {
    SOURCE + of_build(origin)
}

/// As [`of_tarball`], with the repository that one commit comes in.
#[cfg(feature = "git")]
pub(crate) fn of_git(origin: &ConfigOrigin) -> u64 {
    400 * MIB + of_tarball(origin)
}

/// Checks that there is room for `needed` bytes in `dir`. What the system does not tell is no error.
pub(crate) fn check(dir: &Path, needed: u64, hint: &'static str) -> Result<(), Error> {
    let Ok(found) = rustix::fs::statvfs(dir) else {
        return Ok(());
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= needed {
        return Ok(());
    }
    Err(Error::Space {
        dir: dir.to_owned(),
        needed,
        free,
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), 1, "").unwrap();
        let error = check(dir.path(), 1 << 62, ", or else")
            .unwrap_err()
            .to_string();
        assert!(error.contains("needs about 4294967296.0 GiB"), "{error}");
        assert!(error.ends_with("free some, or else"), "{error}");
    }
}
