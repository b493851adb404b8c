//! Disks that are full or cannot be written.

use std::fs;

use crate::mounted::Mounted;
use crate::world::Place;

#[test]
fn a_disk_without_room_is_told_before_anything_is_fetched() {
    let place = Place::new();
    let Some(_mounted) = Mounted::new(&place.world.path("cache"), "size=64m") else {
        return;
    };
    let error = place.refused(&place.file(), "branch=main");
    assert!(
        error.contains("GiB") && error.contains("KTSTR_CACHE_DIR"),
        "{error}"
    );
    assert!(!error.contains("cannot be reached"), "{error}");
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_told() {
    // Room is seen for all of it, but there are too few inodes: to the system it is the same fault.
    for inodes in [12, 24, 40, 56] {
        let place = Place::new();
        for n in 0..60 {
            fs::write(place.tree.join(format!("file{n}")), n.to_string()).unwrap();
        }
        place.commit();
        let options = format!("size=64g,nr_inodes={inodes}");
        let Some(_mounted) = Mounted::new(&place.world.path("cache"), &options) else {
            return;
        };
        let error = place.refused(&place.file(), "branch=main");
        assert!(
            error.contains("no space left on the device") && error.contains("KTSTR_CACHE_DIR"),
            "{inodes}: {error}"
        );
        assert!(!error.contains("name another"), "{error}");
    }
}

#[test]
fn a_read_only_cache_is_told() {
    let place = Place::new();
    let Some(mounted) = Mounted::new(&place.world.path("cache"), "size=64g") else {
        return;
    };
    assert!(mounted.remount("ro"));
    let error = place.refused(&place.file(), "branch=main");
    assert!(error.contains("Read-only file system"), "{error}");
}
