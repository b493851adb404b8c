//! Whose `.config` a tree has, and making the one a kernel is built with.
//!
//! A tree's own `.config` is the base of its kernel and part of its cache key. But our build leaves a
//! `.config` there as well, which must not be taken for the user's. So we note the checksum of every
//! configuration we put there, and what it was made from, in a file beside it (dot files are ignored
//! in the kernel's git, and untracked files make no tree dirty).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use ktstr_core::files::write_atomic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::ConfigOrigin;
use crate::error::Error;
use crate::fragment::{BaseConfig, KTSTR_KCONFIG, config_hash};
use crate::hash::hex;

/// The configuration of a tree.
pub(super) const CONFIG: &str = ".config";
/// Where a new one is made, so that the tree keeps the old one until the new one is checked.
pub(super) const DRAFT: &str = ".config.ktstr-draft";
/// What the last one was.
const OLD: &str = ".config.old";
/// Our notes.
const NOTES: &str = ".config.ktstr";
/// The user's own, as it was before ours took its place.
const OWN: &str = ".config.ktstr-own";

/// A distribution's has some 300 KiB.
const MAX_CONFIG: u64 = 8 << 20;
const MAX_NOTES: u64 = 64 << 10;
/// How many configurations are remembered: the newest, and those an interrupted build may have left.
const REMEMBERED: usize = 8;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    /// The newest first.
    made: Vec<Made>,
}

/// A configuration that we made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    /// The SHA-256 of its bytes.
    sha256: String,
    /// What it was made from.
    origin: ConfigOrigin,
    /// The hash of the extra kconfig that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
}

/// What a build in `tree` with that extra kconfig starts from: the tree's own `.config` if it has one, else `base`.
pub(super) fn origin(
    tree: &Path,
    base: BaseConfig,
    extra: Option<&str>,
) -> Result<ConfigOrigin, Error> {
    let Some(config) = read(&tree.join(CONFIG))? else {
        return Ok(ConfigOrigin::Base(base));
    };
    let sha256 = digest(&config);
    let made = notes(tree)
        .made
        .into_iter()
        .find(|made| made.sha256 == sha256);
    Ok(match made.map(|made| (made.origin, made.extra)) {
        // Ours, without anything of the user in it.
        Some((ConfigOrigin::Base(_), _)) => ConfigOrigin::Base(base),
        // Ours, from the user's: of use where the user's is still there, or no other extra kconfig is in it.
        Some((ConfigOrigin::Own(hash), with))
            if with.is_none() || with.as_deref() == extra || saved_own(tree, &hash)?.is_some() =>
        {
            ConfigOrigin::Own(hash)
        }
        _ => ConfigOrigin::Own(config_hash(&config)),
    })
}

/// The user's own configuration of that hash: in its place, or where it was saved; else what was made of it.
pub(super) fn own(tree: &Path, hash: &str) -> Result<Option<Vec<u8>>, Error> {
    let config = read(&tree.join(CONFIG))?;
    if config.as_ref().is_some_and(|it| config_hash(it) == hash) {
        return Ok(config);
    }
    Ok(saved_own(tree, hash)?.or(config))
}

fn saved_own(tree: &Path, hash: &str) -> Result<Option<Vec<u8>>, Error> {
    let saved = read(&tree.join(OWN))?;
    Ok(saved.filter(|it| config_hash(it) == hash))
}

/// The fragments that are merged over that.
pub(super) fn fragments(origin: &ConfigOrigin) -> &'static [&'static str] {
    match origin {
        ConfigOrigin::Base(base) => base.fragments(),
        ConfigOrigin::Own(_) => &[KTSTR_KCONFIG],
    }
}

/// Reads a configuration; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
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

/// Makes the draft the tree's configuration, noting that it is ours.
///
/// The note comes first: killed in between, the tree still has the old one, which is noted too if it was ours.
pub(super) fn adopt(tree: &Path, origin: &ConfigOrigin, extra: Option<&str>) -> Result<(), Error> {
    let (draft, config) = (tree.join(DRAFT), tree.join(CONFIG));
    let made = read(&draft)?.unwrap_or_default();
    note(tree, &made, origin, extra)?;
    // Left as it is, an unchanged one has nothing built again.
    let before = read(&config)?;
    if before.as_deref() != Some(&made) {
        if let Some(before) = before {
            if *origin == ConfigOrigin::Own(config_hash(&before)) {
                let own = tree.join(OWN);
                write_atomic(&own, &before).map_err(|error| Error::io(&own, "write", error))?;
            }
            // As kconfig itself does.
            let old = tree.join(OLD);
            write_atomic(&old, &before).map_err(|error| Error::io(&old, "write", error))?;
        }
        fs::rename(&draft, &config).map_err(|error| Error::io(&config, "write", error))?;
    }
    discard(tree);
    Ok(())
}

/// Notes that `config` is ours.
pub(super) fn note(
    tree: &Path,
    config: &[u8],
    origin: &ConfigOrigin,
    extra: Option<&str>,
) -> Result<(), Error> {
    let made = Made {
        sha256: digest(config),
        origin: origin.clone(),
        extra: extra.map(str::to_owned),
    };
    let mut notes = notes(tree);
    if notes.made.first() == Some(&made) {
        return Ok(());
    }
    notes.made.retain(|known| known.sha256 != made.sha256);
    notes.made.insert(0, made);
    notes.made.truncate(REMEMBERED);
    let path = tree.join(NOTES);
    serde_json::to_vec_pretty(&notes)
        .map_err(io::Error::other)
        .and_then(|json| write_atomic(&path, &json))
        .map_err(|error| Error::io(&path, "write", error))
}

/// Removes what a draft, finished or not, leaves.
pub(super) fn discard(tree: &Path) {
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

    fn adopt_text(tree: &Path, text: &str, origin: &ConfigOrigin) {
        fs::write(tree.join(DRAFT), text).unwrap();
        adopt(tree, origin, None).unwrap();
        assert_eq!(fs::read_to_string(tree.join(CONFIG)).unwrap(), text);
        assert!(!tree.join(DRAFT).exists());
    }

    #[test]
    fn ours_is_told_from_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        let (lean, default) = (BaseConfig::Lean, BaseConfig::Defconfig);
        let of = |asked| origin(tree, asked, None).unwrap();
        assert_eq!(of(lean), base(lean));
        adopt_text(tree, "ours, lean", &base(lean));
        assert_eq!(of(lean), base(lean));
        assert_eq!(of(default), base(default));
        adopt_text(tree, "ours, default", &base(default));
        assert_eq!(of(lean), base(lean));
        // Back to what an interrupted build had left.
        fs::write(tree.join(CONFIG), "ours, lean").unwrap();
        assert_eq!(of(default), base(default));

        fs::write(tree.join(CONFIG), "the user's").unwrap();
        let own = of(lean);
        assert_eq!(own, ConfigOrigin::Own(config_hash(b"the user's")));
        adopt_text(tree, "the user's and ours", &own);
        assert_eq!(of(lean), own);
        assert_eq!(fs::read_to_string(tree.join(OLD)).unwrap(), "the user's");
        fs::write(tree.join(CONFIG), "edited").unwrap();
        assert_ne!(of(lean), own);
        fs::remove_file(tree.join(CONFIG)).unwrap();
        assert_eq!(of(lean), base(lean));
    }

    #[test]
    fn an_extra_kconfig_does_not_stay_behind() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        let of = |extra| origin(tree, BaseConfig::Lean, extra).unwrap();
        let adopt_with = |text: &str, origin: &ConfigOrigin, extra| {
            fs::write(tree.join(DRAFT), text).unwrap();
            adopt(tree, origin, extra).unwrap();
        };
        fs::write(tree.join(CONFIG), "the user's").unwrap();
        let mine = of(None);
        let ConfigOrigin::Own(hash) = &mine else {
            panic!("{mine:?}")
        };
        let base = || own(tree, hash).unwrap().unwrap();
        for (text, extra) in [
            ("with a", Some("a")),
            ("with b", Some("b")),
            ("plain", None),
        ] {
            assert_eq!((of(extra), base()), (mine.clone(), b"the user's".to_vec()));
            adopt_with(text, &mine, extra);
        }
        adopt_with("with a", &mine, Some("a"));
        // Without the user's, what is there is what there is.
        fs::remove_file(tree.join(OWN)).unwrap();
        assert_eq!((of(Some("a")), base()), (mine.clone(), b"with a".to_vec()));
        let there = ConfigOrigin::Own(config_hash(b"with a"));
        assert_eq!((of(None), of(Some("b"))), (there.clone(), there));
        // As a ktstr left it that saved nothing, and knew of no extra kconfig.
        adopt_with("plain", &mine, None);
        assert_eq!((of(Some("a")), base()), (mine.clone(), b"plain".to_vec()));
    }

    #[test]
    fn broken_notes_make_every_config_the_users() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        adopt_text(tree, "ours", &base(BaseConfig::Lean));
        let own = ConfigOrigin::Own(config_hash(b"ours"));
        let evil = format!(
            "{{\"made\":[{{\"sha256\":\"{}\",\"origin\":{{\"own\":\"../../x\"}}}}]}}",
            digest(b"ours")
        );
        for text in ["", "{", "{\"made\":7}", &evil] {
            fs::write(tree.join(NOTES), text).unwrap();
            assert_eq!(origin(tree, BaseConfig::Lean, None).unwrap(), own, "{text}");
        }
    }
}
