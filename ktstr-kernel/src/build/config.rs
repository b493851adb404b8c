//! Whose `.config` a tree has, and making the one a kernel is built with.
//!
//! A tree's own `.config` is the base of its kernel and part of its cache key. It is only read. Earlier versions of ktstr
//! put their own in its place, and noted the checksums of what they put there in a file beside it: such a `.config` must
//! not be taken for the user's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cache::ConfigOrigin;
use crate::error::Error;
use crate::fragment::{BaseConfig, KTSTR_KCONFIG, config_hash};
use crate::hash::hex;

/// The configuration of a tree.
pub(crate) const CONFIG: &str = ".config";
/// Where a new one is made, so that the build keeps the old one until the new one is checked.
pub(crate) const DRAFT: &str = ".config.ktstr-draft";
/// What earlier versions noted.
const NOTES: &str = ".config.ktstr";
/// The user's own, as it was before earlier versions took its place.
const OWN: &str = ".config.ktstr-own";

/// A distribution's has some 300 KiB.
const MAX_CONFIG: u64 = 8 << 20;
const MAX_NOTES: u64 = 64 << 10;

#[derive(Debug, Default, Deserialize)]
struct Notes {
    made: Vec<Made>,
}

/// A configuration that an earlier version made.
#[derive(Debug, Deserialize)]
struct Made {
    /// The SHA-256 of its bytes.
    sha256: String,
    /// What it was made from.
    origin: ConfigOrigin,
}

/// What a build of `tree` starts from: the tree's own `.config` if it has one, else `base`.
pub(crate) fn origin(tree: &Path, base: BaseConfig) -> Result<ConfigOrigin, Error> {
    let Some(config) = read(&tree.join(CONFIG))? else {
        return Ok(ConfigOrigin::Base(base));
    };
    let sha256 = digest(&config);
    let made = notes(tree)
        .made
        .into_iter()
        .find(|made| made.sha256 == sha256);
    Ok(match made.map(|made| made.origin) {
        // Ours, without anything of the user in it.
        Some(ConfigOrigin::Base(_)) => ConfigOrigin::Base(base),
        // Ours, from the user's, which is still there.
        Some(ConfigOrigin::Own(hash)) if saved_own(tree, &hash)?.is_some() => {
            ConfigOrigin::Own(hash)
        }
        _ => ConfigOrigin::Own(config_hash(&config)),
    })
}

/// The user's own configuration of that hash: in its place, or where it was saved.
pub(crate) fn own(tree: &Path, hash: &str) -> Result<Option<Vec<u8>>, Error> {
    let config = read(&tree.join(CONFIG))?;
    if config.as_ref().is_some_and(|it| config_hash(it) == hash) {
        return Ok(config);
    }
    saved_own(tree, hash)
}

fn saved_own(tree: &Path, hash: &str) -> Result<Option<Vec<u8>>, Error> {
    let saved = read(&tree.join(OWN))?;
    Ok(saved.filter(|it| config_hash(it) == hash))
}

/// The fragments that are merged over that.
pub(crate) fn fragments(origin: &ConfigOrigin) -> &'static [&'static str] {
    match origin {
        ConfigOrigin::Base(base) => base.fragments(),
        ConfigOrigin::Own(_) => &[KTSTR_KCONFIG],
    }
}

/// Reads a configuration; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| Error::io(path, "read", error))?,
    };
    file.take(MAX_CONFIG)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(path, "read", error))?;
    Ok(Some(bytes))
}

/// Makes the draft the configuration `name` in `dir`.
pub(crate) fn adopt(dir: &Path, name: &str) -> Result<(), Error> {
    let (draft, config) = (dir.join(DRAFT), dir.join(name));
    // Left as it is, an unchanged one has nothing built again.
    if read(&config)? != read(&draft)? {
        fs::rename(&draft, &config).map_err(|error| Error::io(&config, "write", error))?;
    }
    discard(dir);
    Ok(())
}

/// Removes what a draft, finished or not, leaves.
pub(crate) fn discard(tree: &Path) {
    for name in [DRAFT.to_owned(), format!("{DRAFT}.old")] {
        let _ = fs::remove_file(tree.join(name));
    }
}

/// Notes that are not there, or unreadable, say that no configuration is ours: the careful answer.
fn notes(tree: &Path) -> Notes {
    let mut json = Vec::new();
    let read =
        File::open(tree.join(NOTES)).and_then(|file| file.take(MAX_NOTES).read_to_end(&mut json));
    let mut notes: Notes = match read {
        Ok(_) => serde_json::from_slice(&json).unwrap_or_default(),
        Err(_) => Notes::default(),
    };
    // The digits become part of a cache key.
    notes.made.retain(|made| match &made.origin {
        ConfigOrigin::Base(_) => true,
        ConfigOrigin::Own(hash) => hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
    });
    notes
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(base: BaseConfig) -> ConfigOrigin {
        ConfigOrigin::Base(base)
    }

    /// As an earlier version left a tree: `config` is its own, made from `origin`.
    fn leave(tree: &Path, config: &str, origin: &str) {
        fs::write(tree.join(CONFIG), config).unwrap();
        let sha256 = digest(config.as_bytes());
        let json = format!(r#"{{"made":[{{"sha256":"{sha256}","origin":{origin},"extra":"x"}}]}}"#);
        fs::write(tree.join(NOTES), json).unwrap();
    }

    #[test]
    fn ours_is_told_from_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        let of = |asked| origin(tree, asked).unwrap();
        let lean = BaseConfig::Lean;
        assert_eq!(of(lean), base(lean));
        leave(tree, "ours, lean", r#"{"base":"lean"}"#);
        for asked in [lean, BaseConfig::Defconfig] {
            assert_eq!(of(asked), base(asked));
        }
        fs::write(tree.join(CONFIG), "the user's").unwrap();
        let hash = config_hash(b"the user's");
        assert_eq!(of(lean), ConfigOrigin::Own(hash.clone()));
        assert_eq!(own(tree, &hash).unwrap().unwrap(), b"the user's");
        // Ours of the user's: the user's is what counts, where it was saved.
        let made = config_hash(b"both");
        leave(tree, "both", &format!(r#"{{"own":"{hash}"}}"#));
        assert_eq!(of(lean), ConfigOrigin::Own(made));
        fs::write(tree.join(OWN), "the user's").unwrap();
        assert_eq!(of(lean), ConfigOrigin::Own(hash.clone()));
        assert_eq!(own(tree, &hash).unwrap().unwrap(), b"the user's");
    }

    #[test]
    fn an_unchanged_configuration_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (config, draft) = (dir.path().join("it"), dir.path().join(DRAFT));
        let age = || fs::metadata(&config).unwrap().modified().unwrap();
        let mut ages = Vec::new();
        for text in ["a", "a", "b"] {
            fs::write(&draft, text).unwrap();
            adopt(dir.path(), "it").unwrap();
            assert!(!draft.exists());
            assert_eq!(fs::read_to_string(&config).unwrap(), text);
            ages.push(age());
            // Times come in steps.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(ages[0] == ages[1] && ages[1] < ages[2], "{ages:?}");
    }

    #[test]
    fn broken_notes_make_every_config_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        leave(tree, "ours", r#"{"base":"lean"}"#);
        let own = ConfigOrigin::Own(config_hash(b"ours"));
        let evil = format!(
            "{{\"made\":[{{\"sha256\":\"{}\",\"origin\":{{\"own\":\"../../x\"}}}}]}}",
            digest(b"ours")
        );
        for text in ["", "{", "{\"made\":7}", &evil] {
            fs::write(tree.join(NOTES), text).unwrap();
            assert_eq!(origin(tree, BaseConfig::Lean).unwrap(), own, "{text}");
        }
    }
}
