use std::fs::File;

use ktstr_core::host::{LockFile, LockMode};

use super::metadata::tests::sample;
use super::*;

fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    (dir, cache)
}

fn put(cache: &Cache, key: &str, built: &str) -> PathBuf {
    let metadata = sample(key, built);
    let dir = cache.entry_dir(&metadata.key);
    fs::create_dir_all(&dir).unwrap();
    for file in metadata.files() {
        fs::write(dir.join(&file.name), b"1234").unwrap();
    }
    let json = serde_json::to_vec(&metadata).unwrap();
    fs::write(dir.join(Metadata::FILE), json).unwrap();
    dir
}

fn keys(entries: &[CacheEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

fn key(text: &str) -> CacheKey {
    CacheKey::parse(text).unwrap()
}

#[test]
fn an_empty_cache_is_no_error() {
    let (_dir, cache) = cache();
    assert_eq!(cache.list().unwrap(), []);
    assert_eq!(cache.newest().unwrap(), None);
}

#[test]
fn newest_first_and_corrupt_last() {
    let (_dir, cache) = cache();
    put(&cache, "old", "2026-01-01T00:00:00Z");
    put(&cache, "new", "2026-03-01T00:00:00Z");
    put(&cache, "mid", "2026-02-01T00:00:00Z");
    let broken = put(&cache, "broken", "2026-04-01T00:00:00Z");
    fs::remove_file(broken.join("bzImage")).unwrap();
    fs::create_dir(cache.kernels_dir().join(".tmp.1-1.tmp")).unwrap();
    fs::write(cache.kernels_dir().join("stray"), b"").unwrap();
    let entries = cache.list().unwrap();
    assert_eq!(keys(&entries), ["new", "mid", "old", "broken"]);
    assert_eq!(cache.newest().unwrap().unwrap().key.as_str(), "new");
    let kernel = cache.lookup(&key("new")).unwrap();
    assert_eq!(kernel.label.as_str(), "kernel_6_12_9");
    assert!(kernel.image.ends_with("kernels/new/bzImage"));
}

#[test]
fn damage_is_named() {
    let (_dir, cache) = cache();
    let time = "2026-01-01T00:00:00Z";
    fs::remove_file(put(&cache, "no-metadata", time).join(Metadata::FILE)).unwrap();
    fs::write(put(&cache, "short", time).join("vmlinux"), b"1").unwrap();
    fs::write(
        put(&cache, "garbage", time).join(Metadata::FILE),
        b"{\"schema\":",
    )
    .unwrap();
    let moved = put(&cache, "moved", time);
    fs::rename(&moved, moved.with_file_name("renamed")).unwrap();
    for (name, part) in [
        ("no-metadata", "metadata.json: No such file"),
        ("short", "vmlinux has 1 bytes, was 4"),
        ("garbage", "metadata.json"),
        ("renamed", "its metadata belongs to `moved`"),
    ] {
        let message = cache.lookup(&key(name)).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        let error = cache.lookup(&key(name)).unwrap_err();
        assert_eq!(error.remedy(), Some(Remedy::RemoveCorrupt));
        assert!(!message.contains('\n'));
    }
}

#[test]
fn an_unknown_key_shows_what_is_like_it() {
    let (_dir, cache) = cache();
    put(&cache, "6.12.9-tarball-x86_64-kc1", "2026-01-01T00:00:00Z");
    put(&cache, "local-aaaaaaa-x86_64-kc1", "2026-01-01T00:00:00Z");
    let message = cache.lookup(&key("6.12.9")).unwrap_err().to_string();
    assert!(message.contains("`6.12.9-tarball-x86_64-kc1`"), "{message}");
    assert!(!message.contains("local-"), "{message}");
    let message = cache.lookup(&key("zzz")).unwrap_err().to_string();
    assert!(message.contains("a path starts with ./"), "{message}");
    let error = cache.lookup(&key("zzz")).unwrap_err();
    assert_eq!(error.remedy(), Some(Remedy::ListKeys));
}

#[test]
fn cleaning_keeps_the_newest_valid_ones() {
    let (_dir, cache) = cache();
    put(&cache, "a", "2026-01-01T00:00:00Z");
    put(&cache, "b", "2026-02-01T00:00:00Z");
    put(&cache, "c", "2026-03-01T00:00:00Z");
    fs::remove_file(put(&cache, "d", "2026-04-01T00:00:00Z").join("vmlinux")).unwrap();
    let plan = |keep, corrupt_only| {
        let plan = CleanOptions { keep, corrupt_only };
        let entries = cache.plan_clean(&plan).unwrap().entries;
        keys(&entries).join(" ")
    };
    assert_eq!(plan(2, false), "a d");
    assert_eq!(plan(9, false), "d");
    assert_eq!(plan(0, false), "c b a d");
    assert_eq!(plan(0, true), "d");
    cache.remove(&key("d")).unwrap();
    cache.remove(&key("d")).unwrap();
    assert_eq!(plan(0, true), "");
    assert_eq!(fs::read_dir(cache.kernels_dir()).unwrap().count(), 3);
}

#[test]
fn what_is_being_built_is_not_removed() {
    let (_dir, cache) = cache();
    put(&cache, "a", "2026-01-01T00:00:00Z");
    let path = cache.lock_path(&key("a"));
    let _held = LockFile::try_acquire(&path, LockMode::Exclusive)
        .unwrap()
        .unwrap();
    assert!(matches!(
        cache.remove(&key("a")),
        Err(CacheError::Busy { .. })
    ));
}

#[test]
fn other_fragments_make_an_entry_stale() {
    let (_dir, cache) = cache();
    let dir = put(&cache, "a", "2026-01-01T00:00:00Z");
    assert!(!cache.get(&key("a")).unwrap().is_stale());
    let mut metadata = sample("a", "2026-01-01T00:00:00Z");
    metadata.kconfig_hash = "00000000".into();
    fs::write(
        dir.join(Metadata::FILE),
        serde_json::to_vec(&metadata).unwrap(),
    )
    .unwrap();
    assert!(cache.get(&key("a")).unwrap().is_stale());
}

/// Writes into an entry what a build of this version writes down of its files.
fn stamp(dir: &Path) {
    let json = fs::read(dir.join(Metadata::FILE)).unwrap();
    let mut metadata = Metadata::parse(&json).unwrap();
    for file in [
        &mut metadata.image,
        &mut metadata.vmlinux,
        &mut metadata.config,
    ] {
        let path = dir.join(&file.name);
        file.xxh3 = Some(integrity::digest(&path).unwrap());
        file.modified = Some(integrity::modified(&fs::metadata(&path).unwrap()));
    }
    fs::write(
        dir.join(Metadata::FILE),
        serde_json::to_vec(&metadata).unwrap(),
    )
    .unwrap();
}

#[test]
fn content_is_looked_at_where_it_is_used() {
    let (_dir, cache) = cache();
    let dir = put(&cache, "a", "2026-03-01T00:00:00Z");
    put(&cache, "older", "2026-01-01T00:00:00Z");
    stamp(&dir);
    let newest = || cache.newest().unwrap().unwrap().key.to_string();
    let change = |name: &str, text: &str, keep_time: bool| {
        let path = dir.join(name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, text).unwrap();
        if keep_time {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(modified).unwrap();
        }
    };
    assert_eq!(newest(), "a");
    for name in ["bzImage", "vmlinux", ".config"] {
        change(name, "4321", false);
        let entry = cache.get(&key("a")).unwrap();
        // A listing reads nothing.
        assert!(entry.metadata().is_some());
        let message = entry.kernel().unwrap_err().to_string();
        let part = format!("corrupt ({name} has other content than was stored)");
        assert!(message.contains(&part), "{message}");
        assert!(entry.verify().is_err());
        assert_eq!(newest(), "older");
        change(name, "1234", false);
        assert_eq!((entry.verify(), newest().as_str()), (Ok(()), "a"));
        stamp(&dir);
    }
    // A disk that lies touches no time: found by those who read.
    change("bzImage", "4321", true);
    let entry = cache.get(&key("a")).unwrap();
    assert!(entry.kernel().is_ok());
    assert!(entry.verify().is_err());
    let plan = CleanOptions {
        keep: 1,
        corrupt_only: false,
    };
    assert_eq!(keys(&cache.plan_clean(&plan).unwrap().entries), ["a"]);
}

#[test]
fn entries_of_older_versions_have_sizes_alone() {
    let (_dir, cache) = cache();
    let dir = put(&cache, "a", "2026-03-01T00:00:00Z");
    let json = fs::read_to_string(dir.join(Metadata::FILE)).unwrap();
    assert!(
        !json.contains("xxh3") && !json.contains("modified"),
        "{json}"
    );
    fs::write(dir.join("bzImage"), "4321").unwrap();
    assert_eq!(cache.get(&key("a")).unwrap().verify(), Ok(()));
}

#[test]
fn what_a_wrong_clock_built_hides_nothing() {
    let (_dir, cache) = cache();
    put(&cache, "future", "2999-01-01T00:00:00Z");
    put(&cache, "farther", "9999-12-31T23:59:59Z");
    put(&cache, "old", "1970-01-01T00:00:00Z");
    put(&cache, "new", "2026-03-01T00:00:00Z");
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let soon = humantime::format_rfc3339_seconds(soon).to_string();
    put(&cache, "soon", &soon);
    let broken = put(&cache, "broken", "2026-04-01T00:00:00Z");
    fs::remove_file(broken.join("bzImage")).unwrap();
    let entries = cache.list().unwrap();
    assert_eq!(
        keys(&entries),
        ["soon", "new", "old", "farther", "future", "broken"]
    );
}

#[test]
fn a_cache_that_is_a_file_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Cache::new(file.path());
    let message = cache.list().unwrap_err().to_string();
    assert!(message.contains("KTSTR_CACHE_DIR"), "{message}");
}

#[test]
fn a_pipe_for_metadata_keeps_nobody_waiting() {
    let (_dir, cache) = cache();
    let dir = put(&cache, "piped", "2026-01-01T00:00:00Z");
    fs::remove_file(dir.join(Metadata::FILE)).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(dir.join(Metadata::FILE))
        .status();
    assert!(made.unwrap().success());
    let entries = cache.list().unwrap();
    let why = "metadata.json: not a regular file".to_owned();
    assert_eq!(entries[0].state, EntryState::Corrupt(why));
}

#[test]
fn what_another_version_made_is_left_to_it() {
    let (_dir, cache) = cache();
    put(&cache, "ours", "2026-01-01T00:00:00Z");
    let dir = put(&cache, "theirs", "2026-02-01T00:00:00Z");
    // All that is known of other formats is that they have a number.
    fs::write(dir.join(Metadata::FILE), br#"{"schema": 9, "files": []}"#).unwrap();
    fs::remove_file(put(&cache, "broken", "2026-03-01T00:00:00Z").join("vmlinux")).unwrap();
    let entry = cache.get(&key("theirs")).unwrap();
    let why = "metadata.json has format 9, this ktstr reads 1".to_owned();
    assert_eq!(entry.state, EntryState::OtherVersion(why.clone()));
    assert!(entry.metadata().is_none() && entry.verify() == Err(why));
    assert_eq!(cache.newest().unwrap().unwrap().key.as_str(), "ours");
    let message = cache.lookup(&key("theirs")).unwrap_err().to_string();
    assert!(message.contains("is from another ktstr version (metadata.json has format 9"));
    assert!(!message.contains("clean"), "{message}");
    let plan = |keep, corrupt_only| {
        let plan = CleanOptions { keep, corrupt_only };
        keys(&cache.plan_clean(&plan).unwrap().entries).join(" ")
    };
    assert_eq!(plan(0, true), "broken");
    assert_eq!(plan(1, false), "broken");
    assert_eq!(plan(0, false), "ours broken theirs");
}

#[test]
fn a_name_of_something_beside_is_told_how_to_write_it() {
    let (dir, cache) = cache();
    fs::create_dir(dir.path().join("linux")).unwrap();
    let message = |name: &str| {
        let error = cache.lookup_beside(&key(name), dir.path()).unwrap_err();
        error.to_string()
    };
    assert!(message("linux").ends_with("write ./linux"));
    assert!(message("other").contains("a path starts with ./"));
}
