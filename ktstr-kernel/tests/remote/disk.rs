//! Disks that are full or cannot be written.

use std::fs;

use crate::mounted::Mounted;
use crate::server::Fault;
use crate::world::{TARBALL, World};

#[test]
fn a_full_disk_is_said_and_left_as_it_was() {
    // Known before, and found out on the way.
    for fault in [None, Some(Fault::Unsized)] {
        let world = World::new();
        let Some(_mounted) = Mounted::new(&world.path(""), "size=2m") else {
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
    let Some(mounted) = Mounted::new(&world.path(""), "size=2m") else {
        return;
    };
    assert!(mounted.remount("ro"));
    let (text, _) = world.refused("6.14.2");
    assert!(
        text.contains("downloads cannot be written: Read-only file system"),
        "{text}"
    );
    assert_eq!(world.server.count(), 0);
    assert_eq!(world.releases().0.unwrap().entries().len(), 3);
}
