//! Several processes that want the same kernel at once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Child;

use crate::kills::{kill, victim_of};
use crate::standin::{World, fault, wait_until};

/// Starts `count` processes that resolve `source`, whose build stops at a gate: all but one wait then.
fn start(world: &World, source: &Path, count: usize) -> Vec<Child> {
    let all: Vec<Child> = (0..count).map(|_| victim_of(world, source, "")).collect();
    wait_until("one compiles", || world.path("steps.waiting").exists());
    wait_until("the others wait", || {
        told(world, "waiting").len() >= count - 1
    });
    all
}

/// What processes wrote in files of that name, by their ids.
fn told(world: &World, what: &str) -> HashMap<u32, String> {
    let items = fs::read_dir(world.path("")).unwrap().flatten();
    let files = items.filter_map(|item| {
        let name = item.file_name().into_string().unwrap();
        let pid = name.strip_prefix(what)?.strip_prefix('.')?.parse().ok()?;
        Some((pid, fs::read_to_string(item.path()).unwrap()))
    });
    files.collect()
}

fn wait(all: &mut [Child]) {
    for child in all {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn of_many_processes_one_builds_and_the_others_name_it() {
    for count in [2, 8] {
        let world = World::new();
        let tree = world.git_tree("linux");
        fault(&tree, "gate");
        for source in [&tree, &world.tarball(&tree, "a.tar.gz")] {
            let mut all = start(&world, source, count);
            let waiting = told(&world, "waiting");
            let builders: Vec<u32> = all
                .iter()
                .map(Child::id)
                .filter(|pid| !waiting.contains_key(pid))
                .collect();
            let [builder] = builders[..] else {
                panic!("{builders:?}: {waiting:?}")
            };
            for text in waiting.values() {
                assert!(text.starts_with(&format!("{builder} ")), "{text}");
            }
            fs::write(world.path("steps.go"), "").unwrap();
            wait(&mut all);
            let ended = told(&world, "ended");
            let images: Vec<&String> = ended.values().collect();
            assert_eq!(images.len(), count);
            assert!(images.iter().all(|image| *image == images[0]), "{images:?}");
            assert!(Path::new(images[0]).is_file(), "{images:?}");
            assert_eq!(world.made("bzImage"), 1);
            assert_eq!(world.leftovers(), [""; 0]);
            // For the next source.
            for name in ["steps", "steps.go", "steps.waiting"] {
                fs::remove_file(world.path(name)).unwrap();
            }
            for (what, pids) in [("waiting", &waiting), ("ended", &ended)] {
                for pid in pids.keys() {
                    fs::remove_file(world.path(&format!("{what}.{pid}"))).unwrap();
                }
            }
        }
    }
}

#[test]
fn when_the_builder_is_killed_another_builds() {
    let mut world = World::new();
    let tree = world.tree("linux");
    fault(&tree, "gate");
    let tarball = world.tarball(&tree, "a.tar.gz");
    let mut all = start(&world, &tarball, 3);
    let waiting = told(&world, "waiting");
    let at = all
        .iter()
        .position(|child| !waiting.contains_key(&child.id()));
    let mut builder = all.remove(at.unwrap());
    kill(&mut builder, "KILL");
    wait_until("another compiles", || world.made("bzImage") == 2);
    fs::write(world.path("steps.go"), "").unwrap();
    wait(&mut all);
    for ending in told(&world, "ended").values() {
        assert!(Path::new(ending).is_file(), "{ending}");
    }
    assert_eq!(world.made("bzImage"), 2);
    assert_eq!(world.cache().list().unwrap().len(), 1);
    // The compilers of the killed one may have ended after the others were done.
    world.options.force = true;
    wait_until("nothing is left", || {
        world.built(&tarball);
        world.leftovers().is_empty()
    });
}
