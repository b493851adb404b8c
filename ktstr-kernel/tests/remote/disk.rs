//! Disks that are full or cannot be written.

use std::fs;
use std::process::Command;

use crate::server::Fault;
use crate::world::{TARBALL, World};

/// A small file system where the cache is; unmounted when dropped.
struct Mounted<'a>(&'a World);

impl<'a> Mounted<'a> {
    fn new(world: &'a World, test: &str) -> Option<Self> {
        fs::create_dir_all(world.path("")).unwrap();
        if mount(world, "size=2m") {
            return Some(Self(world));
        }
        eprintln!("SKIP {test}: mounting takes root");
        None
    }
}

fn mount(world: &World, options: &str) -> bool {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
    let status = command.arg(world.path("")).status();
    status.is_ok_and(|status| status.success())
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.0.path(""))
            .status();
    }
}

#[test]
fn a_full_disk_is_said_and_left_as_it_was() {
    // Known before, and found out on the way.
    for fault in [None, Some(Fault::Unsized)] {
        let world = World::new();
        let Some(_mounted) = Mounted::new(&world, "a_full_disk_is_said_and_left_as_it_was") else {
            return;
        };
        let announced = fault.is_none();
        if let Some(fault) = fault {
            world.server.fault(TARBALL, fault, 1);
        }
        let (text, _) = world.refused("6.14.2");
        let part = "downloads: no space left on the device for linux-6.14.2.tar.xz";
        assert!(text.contains(part), "{text}");
        assert_eq!(text.contains("(3 MiB more)"), announced, "{text}");
        assert!(
            text.ends_with("set KTSTR_CACHE_DIR to a directory with more room"),
            "{text}"
        );
        assert_eq!(world.downloads(), [""; 0]);
        assert_eq!(world.server.requests(TARBALL).len(), 1);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_said() {
    let world = World::new();
    fs::write(world.dir.path().join("cache"), "a file").unwrap();
    let (text, _) = world.refused("6.14.2");
    assert!(
        text.contains("cannot be written") && text.contains("KTSTR_CACHE_DIR"),
        "{text}"
    );
    assert_eq!(world.server.count(), 0);
    // The index is of use even so.
    assert_eq!(world.releases().0.unwrap().entries().len(), 3);
}

#[test]
fn a_read_only_cache_is_said() {
    let world = World::new();
    let Some(_mounted) = Mounted::new(&world, "a_read_only_cache_is_said") else {
        return;
    };
    assert!(mount(&world, "remount,ro"));
    let (text, _) = world.refused("6.14.2");
    assert!(
        text.contains("downloads cannot be written: Read-only file system"),
        "{text}"
    );
    assert_eq!(world.server.count(), 0);
    assert_eq!(world.releases().0.unwrap().entries().len(), 3);
}
