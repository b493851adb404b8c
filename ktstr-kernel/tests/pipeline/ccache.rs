//! Compilers that are run through ccache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    world.options.host.path = world.with_program("ccache", "exec \"$@\"");
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
    world.options.host.path = world.with_program("ccache", "exec \"$@\"");
    world.built(&tree);
    assert_eq!(seen(&world), plain());
    // Not there.
    world.options.ccache = true;
    let path = std::env::var_os("PATH").unwrap();
    let dirs = std::env::split_paths(&path).filter(|dir| !dir.join("ccache").exists());
    let without = std::env::join_paths(dirs).unwrap();
    let usable = std::env::split_paths(&without).any(|dir| dir.join("make").exists());
    if usable {
        world.options.host.path = without;
        let (_, told) = world.built(&tree);
        assert!(!told.all().contains("ccache"), "{}", told.all());
        assert_eq!(seen(&world), plain());
    }
    // There, but of no use: as real ones say it that cannot make their directory.
    world.options.host.path = world.with_program(
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

#[test]
fn a_real_one_hits_in_another_scratch_directory_and_in_no_other_tree() {
    let paths = std::env::var_os("PATH").unwrap();
    if !std::env::split_paths(&paths).any(|dir| dir.join("ccache").exists()) {
        eprintln!("SKIP a_real_one_hits_in_another_scratch_directory: no ccache");
        return;
    }
    let mut world = World::new();
    let dir = world.path("ccache");
    // The user's own is left alone.
    let script = format!(
        "PATH=${{PATH#*:}} CCACHE_DIR={} exec ccache \"$@\"",
        dir.display()
    );
    world.options.host.path = world.with_program("ccache", &script);
    world.options.ccache = true;
    world.options.force = true;
    let misses = || {
        let mut stats = Command::new("ccache");
        let output = stats.arg("--print-stats").env("CCACHE_DIR", &dir).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix("cache_miss\t"));
        count.unwrap().parse::<u32>().unwrap()
    };
    let tree = |name: &str| {
        let tree = world.tree(name);
        let makefile = fs::read_to_string(tree.join("Makefile")).unwrap();
        let line = "\t@$(CC) -g -c -o thing.o thing.c\n\t@STEPS=";
        fs::write(tree.join("Makefile"), makefile.replace("\t@STEPS=", line)).unwrap();
        fs::write(tree.join("thing.c"), "int thing(int a) { return a; }\n").unwrap();
        tree
    };
    let (one, other) = (tree("one"), tree("other"));
    let tarball = world.tarball(&one, "a.tar.gz");
    world.built(&tarball);
    let first = misses();
    assert!(first > 0);
    for (source, more) in [
        (&tarball, 0),
        (&one, 1),
        (&other, 2),
        (&one, 2),
        (&tarball, 2),
    ] {
        let (_, told) = world.built(source);
        assert!(told.has("note compiling through ccache"), "{}", told.all());
        assert_eq!(misses(), first + more, "{}", source.display());
    }
}
