//! A cache of initramfs archives that cannot be written still gives what it has, and nothing fails for it.

use std::fs;
use std::path::Path;

use ktstr_vmm::initramfs::{Initramfs, PackedInitramfs};

#[path = "../../ktstr-kernel/tests/support/mounted.rs"]
mod mounted;
use mounted::Mounted;

fn initramfs(content: &[u8]) -> Initramfs {
    let builder = Initramfs::builder();
    builder.inline(content, "/content", 0o644).build()
}

fn written(initramfs: &Initramfs) -> Vec<u8> {
    let mut bytes = Vec::new();
    initramfs.write(&mut bytes).unwrap();
    bytes
}

/// Its bytes, read by its path by another process, as QEMU does.
fn read_elsewhere(packed: &PackedInitramfs) -> Vec<u8> {
    let cat = std::process::Command::new("cat")
        .arg(packed.path())
        .output();
    cat.unwrap().stdout
}

/// Packs `initramfs` where nothing can be cached, and looks at what comes of it.
fn packs_without_a_cache(initramfs: &Initramfs, cache: &Path) {
    let packed = initramfs.build_cached(cache).unwrap();
    let why = packed.not_cached().unwrap();
    assert!(why.contains(cache.to_str().unwrap()), "{why}");
    assert!(!packed.hit());
    let bytes = written(initramfs);
    assert_eq!(packed.size(), bytes.len() as u64);
    assert!(read_elsewhere(&packed) == bytes);
    let path = packed.path().to_owned();
    drop(packed);
    // Another file may have its number by now.
    let is_left = fs::read(&path).is_ok_and(|left| left == bytes);
    assert!(!is_left, "{} is left", path.display());
}

#[test]
fn where_no_cache_can_be_made_archives_are_packed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    packs_without_a_cache(&initramfs(b"x"), &file.join("cache"));
}

#[test]
fn a_read_only_cache_gives_what_it_has_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::new(dir.path(), "size=8m") else {
        return;
    };
    let known = initramfs(b"known");
    assert!(!known.build_cached(dir.path()).unwrap().hit());
    assert!(mounted.remount("ro"));
    let packed = known.build_cached(dir.path()).unwrap();
    assert!(packed.hit() && packed.not_cached().is_none());
    assert!(packed.path().starts_with(dir.path()));
    packs_without_a_cache(&initramfs(b"unknown"), dir.path());
}

#[test]
fn a_full_cache_is_no_failure_and_nothing_is_left_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), "size=64k") else {
        return;
    };
    packs_without_a_cache(&initramfs(&b"x".repeat(1 << 20)), dir.path());
    let left = fs::read_dir(dir.path().join("initramfs")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"]);
}
