//! Compilers that are run through ccache.

use std::fs;
use std::path::{Path, PathBuf};

use crate::standin::World;

/// What the commands of the last build saw: a line of `CC`, `CCACHE_BASEDIR` and `CCACHE_NOHASHDIR` each.
fn seen(world: &World) -> Vec<String> {
    let seen = fs::read_to_string(world.path("seen")).unwrap();
    fs::remove_file(world.path("seen")).unwrap();
    seen.lines().map(str::to_owned).collect()
}

/// A tree whose Makefile writes down what it is given.
fn watched(world: &World) -> PathBuf {
    let tree = world.tree("linux");
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap();
    let line = format!(
        "\t@echo \"$(CC)|$$CCACHE_BASEDIR|$$CCACHE_NOHASHDIR\" >> {}\n\t@STEPS=",
        world.path("seen").display()
    );
    fs::write(tree.join("Makefile"), makefile.replace("\t@STEPS=", &line)).unwrap();
    tree
}

#[test]
fn it_is_used_where_it_is_and_works() {
    let mut world = World::new();
    let tree = watched(&world);
    let tarball = world.tarball(&tree, "a.tar.gz");
    world.options.ccache = true;
    world.options.path = world.with_program("ccache", "exec \"$@\"");
    let (_, told) = world.built(&tree);
    assert!(told.has("note compiling through ccache"), "{}", told.all());
    assert_eq!(seen(&world), vec!["ccache gcc||"; 3]);
    // What another directory compiled serves only where the directory does not matter.
    world.built(&tarball);
    let seen = seen(&world);
    assert_eq!(seen.len(), 3);
    for line in seen {
        let words: Vec<&str> = line.split('|').collect();
        assert_eq!((words[0], words[2]), ("ccache gcc", "1"), "{line}");
        let base = Path::new(words[1]);
        assert!(base.starts_with(world.path("cache/.scratch")), "{line}");
    }
}

#[test]
fn without_it_gcc_is_run_alone() {
    let mut world = World::new();
    let tree = watched(&world);
    let plain = || vec!["cc||"; 3];
    // Turned off.
    world.options.path = world.with_program("ccache", "exec \"$@\"");
    world.built(&tree);
    assert_eq!(seen(&world), plain());
    // Not there.
    world.options.ccache = true;
    let path = std::env::var_os("PATH").unwrap();
    let dirs = std::env::split_paths(&path).filter(|dir| !dir.join("ccache").exists());
    let without = std::env::join_paths(dirs).unwrap();
    let usable = std::env::split_paths(&without).any(|dir| dir.join("make").exists());
    if usable {
        world.options.path = without;
        let (_, told) = world.built(&tree);
        assert!(!told.all().contains("ccache"), "{}", told.all());
        assert_eq!(seen(&world), plain());
    }
    // There, but of no use: as real ones say it that cannot make their directory.
    world.options.path = world.with_program(
        "ccache",
        "echo 'ccache: error: Failed to create' >&2; exit 1",
    );
    let (_, told) = world.built(&tree);
    assert!(
        told.all()
            .contains("building without ccache, which does not work: ")
            && told.all().contains("Failed to create"),
        "{}",
        told.all()
    );
    assert_eq!(seen(&world), plain());
}
