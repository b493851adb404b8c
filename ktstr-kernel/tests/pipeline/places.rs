//! Where source trees are built: beside them, so that they stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ktstr_core::host::Host;
use ktstr_kernel::discover::{Origin, discover};

use crate::mounted::Mounted;
use crate::standin::{World, commit};

/// Every file below `dir` but git's own, with its content.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for item in fs::read_dir(dir).unwrap().flatten() {
        let path = item.path();
        if path.is_dir() && !path.ends_with(".git") {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

fn out(world: &World, tree: &Path) -> PathBuf {
    world.cache().build_dir(&fs::canonicalize(tree).unwrap())
}

#[test]
fn a_tree_stays_as_it_is_and_usable_for_builds_elsewhere() {
    let world = World::new();
    let (clean, plain) = (world.git_tree("clean"), world.tree("plain"));
    for tree in [&clean, &plain] {
        let before = files(tree);
        let (kernel, told) = world.built(tree);
        assert_eq!(files(tree), before);
        assert!(!told.all().contains("in place"), "{}", told.all());
        assert!(kernel.image.starts_with(world.path("cache")));
        let elsewhere = world.path("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        let mut make = Command::new("make");
        make.arg("-C").arg(tree).arg("tinyconfig");
        make.arg(format!("O={}", elsewhere.display()));
        make.env_remove("KCONFIG_CONFIG");
        assert!(make.status().unwrap().success());
    }
}

#[test]
fn what_was_built_of_a_tree_is_found_again() {
    let world = World::new();
    let tree = world.tree("linux");
    let (built, _) = world.built(&tree);
    let dir = world.path("");
    let cache = world.cache();
    let host = Host {
        root: "/none".into(),
        path: world.options.host.path.clone(),
        ..Host::default()
    };
    let found = discover(&host, &cache, &dir).unwrap();
    assert_eq!(found.origin, Origin::Tree(dir.join("linux")));
    assert_eq!(found.kernel.image, built.image);
    // What was made in the tree itself since then is newer.
    let image = tree.join("arch/x86/boot/bzImage");
    fs::write(&image, crate::standin::bz_image("6.99.1-own")).unwrap();
    let later = fs::metadata(&built.image).unwrap().modified().unwrap();
    let later = later + std::time::Duration::from_secs(5);
    fs::File::open(&image).unwrap().set_modified(later).unwrap();
    let found = discover(&host, &cache, &dir).unwrap().kernel.image;
    assert_eq!(found, fs::canonicalize(&image).unwrap());
}

#[test]
fn a_trees_own_config_is_left_alone_and_its_own_make_sees_it() {
    let world = World::new();
    let tree = world.git_tree("linux");
    let own = "CONFIG_64BIT=y\nCONFIG_MADE_BY=\"me\"\nCONFIG_SCHED_CLASS_EXT=y\n";
    fs::write(tree.join(".config"), own).unwrap();
    let make = || {
        let mut make = Command::new("make");
        make.arg("-C").arg(&tree).arg("bzImage");
        make.env_remove("KCONFIG_CONFIG");
        assert!(make.status().unwrap().success());
        fs::read_to_string(tree.join("include/config/auto.conf")).unwrap()
    };
    let used = || fs::read_to_string(tree.join("include/config/auto.conf")).unwrap();
    let (first, told) = world.built(&tree);
    assert!(told.all().contains("only in place"), "{}", told.all());
    assert_eq!(fs::read_to_string(tree.join(".config")).unwrap(), own);
    assert!(used().contains("CONFIG_NR_CPUS=512"), "{}", used());
    let key = first.cache_key.unwrap();
    // Make takes the one for the other if their times are wrong.
    assert_eq!(make(), own);
    commit(&tree);
    let (second, _) = world.built(&tree);
    assert!(used().contains("CONFIG_NR_CPUS=512"), "{}", used());
    assert_ne!(second.cache_key, Some(key));
    assert_eq!(make(), own);
    assert!(!out(&world, &tree).exists());
}

#[test]
fn a_tree_that_was_built_in_place_still_is() {
    let world = World::new();
    let tree = world.tree("linux");
    fs::create_dir_all(tree.join("include/config")).unwrap();
    let (kernel, told) = world.built(&tree);
    assert!(told.all().contains("only in place"), "{}", told.all());
    let tree = fs::canonicalize(&tree).unwrap();
    assert_eq!(kernel.image, tree.join("arch/x86/boot/bzImage"));
    assert!(!tree.join(".config").exists());
    let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
    assert!(config.contains("CONFIG_SCHED_CLASS_EXT=y"), "{config}");
}

#[test]
fn a_path_that_make_cannot_build_in_is_told_first() {
    let world = World::new();
    let text = world.refused(&world.tree("a b"));
    assert!(
        text.contains("/a b: the kernel's make cannot build in a path with a space in it")
            && text.contains("move the source tree"),
        "{text}"
    );
    assert_eq!(world.made("tinyconfig"), 0);
}

#[test]
fn clean_begins_with_nothing() {
    let mut world = World::new();
    let tree = world.tree("linux");
    world.built(&tree);
    let left = out(&world, &tree).join("left");
    fs::write(&left, "").unwrap();
    world.built(&tree);
    assert!(left.exists(), "it builds on what is there");
    world.options.clean = true;
    world.built(&tree);
    assert!(!left.exists());
}

#[test]
fn what_was_built_goes_when_its_tree_does() {
    let world = World::new();
    let (gone, other) = (world.tree("gone"), world.tree("other"));
    world.built(&gone);
    let (old, dir) = (out(&world, &gone), world.path("gone"));
    assert!(old.join("arch/x86/boot/bzImage").exists());
    fs::remove_dir_all(dir).unwrap();
    world.built(&other);
    assert!(!old.exists() && out(&world, &other).exists());
}

#[test]
fn a_tree_that_cannot_be_written_is_built_or_told() {
    let world = World::new();
    let source = world.tree("source");
    let tree = world.path("linux");
    fs::create_dir(&tree).unwrap();
    let Some(mounted) = Mounted::new(&tree, "size=2m") else {
        return;
    };
    let copy = |from: &Path| {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(from.join(".")).arg(&tree);
        assert!(copy.status().unwrap().success());
    };
    copy(&source);
    assert!(mounted.remount("ro"));
    let (kernel, _) = world.built(&tree);
    assert!(kernel.image.starts_with(world.path("cache")));
    assert!(mounted.remount("rw"));
    fs::write(tree.join(".config"), "CONFIG_64BIT=y\n").unwrap();
    assert!(mounted.remount("ro"));
    let made = world.made("olddefconfig");
    let text = world.refused(&tree);
    assert!(
        text.contains("cannot be written (Read-only file system") && text.contains("make mrproper"),
        "{text}"
    );
    assert_eq!(world.made("olddefconfig"), made);
}
