//! An interrupted download resumes, and what is kept is right.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use ktstr_kernel::{Mirror, Release, Remedy, Remote};

use crate::server::Fault;
use crate::world::{SUMS, TARBALL, Told, World, tarball};

const NAME: &str = "linux-6.14.2.tar.xz";
const SIZE: u64 = 3 << 20;

#[test]
fn a_tarball_is_fetched_once_and_stays() {
    let world = World::new();
    let (tarball, told) = world.fetched("6.14.2");
    assert!(tarball.verified);
    assert_eq!(tarball.path, world.path("downloads/linux-6.14.2.tar.xz"));
    assert!(told.has(&format!("started {NAME} 0 Some({SIZE})")));
    assert!(told.has(&format!("finished {NAME} {SIZE}")));
    let asked = world.server.count();
    let (again, told) = world.fetched("6.14.2");
    assert_eq!(again.sha256, tarball.sha256);
    assert!(told.is_silent(), "{}", told.all());
    assert_eq!(world.server.count(), asked);
    assert_eq!(world.downloads(), [NAME, "linux-6.14.2.tar.xz.json"]);
}

#[test]
fn each_kind_of_release_is_found() {
    let world = World::new();
    world.publish(&[
        ("linux-6.14.tar.xz", tarball(1000, 2)),
        ("linux-6.14.1.tar.xz", tarball(1000, 3)),
    ]);
    let mut candidate = tarball(1000, 4);
    candidate[..2].copy_from_slice(b"\x1f\x8b");
    world
        .server
        .put("/testing/linux-6.15-rc3.tar.gz", candidate);
    for (release, name) in [
        ("6.14.0", "linux-6.14.tar.xz"),
        ("6.14", "linux-6.14.tar.xz"),
        ("6.14.1", "linux-6.14.1.tar.xz"),
    ] {
        let (tarball, _) = world.fetched(release);
        assert!(tarball.path.ends_with(name) && tarball.verified);
    }
    for _ in 0..2 {
        let (tarball, told) = world.fetched("6.15-rc3");
        assert!(tarball.path.ends_with("linux-6.15-rc3.tar.gz") && !tarball.verified);
        assert!(
            told.has("note linux-6.15-rc3.tar.gz: not verified"),
            "{}",
            told.all()
        );
    }
    assert_eq!(
        world
            .server
            .requests("/testing/linux-6.15-rc3.tar.gz")
            .len(),
        1
    );
    assert_eq!(world.server.requests("/v6.x/linux-6.14.tar.xz").len(), 1);
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let world = World::new();
    for at in [1 << 20, 1000, 700_000] {
        world.server.fault(TARBALL, Fault::Truncate(at), 1);
    }
    let (_, told) = world.fetched("6.14.2");
    let requests = world.server.requests(TARBALL);
    let from: Vec<_> = requests.iter().map(|request| request.from).collect();
    let (first, second) = (1 << 20, (1 << 20) + 1000);
    assert_eq!(
        from,
        [None, Some(first), Some(second), Some(second + 700_000)]
    );
    assert!(
        requests[1..]
            .iter()
            .all(|request| request.if_range.is_some())
    );
    assert_eq!(world.server.sent(TARBALL), SIZE);
    let why = "retrying linux-6.14.2.tar.xz the connection broke off";
    assert!(told.has(why), "{}", told.all());
    assert!(told.has(&format!("started {NAME} {first} Some({SIZE})")));
}

#[test]
fn tries_that_get_further_do_not_count() {
    let mut world = World::new();
    world.options.tries = 2;
    world.publish(&[(NAME, tarball(9 << 20, 1))]);
    world.server.fault(TARBALL, Fault::Truncate(1 << 20), 8);
    world.fetched("6.14.2");
    assert_eq!(world.server.requests(TARBALL).len(), 9);
}

#[test]
fn where_servers_know_no_ranges_it_begins_again() {
    for fault in [Fault::NoRange, Fault::Unsized] {
        let world = World::new();
        world.server.fault(TARBALL, Fault::Truncate(1 << 20), 1);
        world.server.fault(TARBALL, fault, 1);
        world.fetched("6.14.2");
        let requests = world.server.requests(TARBALL);
        assert_eq!((requests.len(), requests[1].status), (2, 200));
    }
}

#[test]
fn a_rest_that_does_not_fit_is_not_taken() {
    let world = World::new();
    world.server.fault(TARBALL, Fault::Truncate(1 << 20), 1);
    world.server.fault(TARBALL, Fault::WrongRange, 1);
    let (_, told) = world.fetched("6.14.2");
    assert!(
        told.has("retrying linux-6.14.2.tar.xz the rest"),
        "{}",
        told.all()
    );
    let last = world.server.requests(TARBALL).pop().unwrap();
    assert_eq!((last.from, last.status), (None, 200));
}

/// Leaves 1 MiB of the tarball, as a fetch that failed does.
fn left_behind(world: &mut World) {
    world.server.fault(TARBALL, Fault::Truncate(1 << 20), 1);
    world.options.tries = 1;
    world.refused("6.14.2");
    world.options.tries = 4;
    let part = fs::metadata(world.path("downloads/linux-6.14.2.tar.xz.part")).unwrap();
    assert_eq!(part.len(), 1 << 20);
}

#[test]
fn another_file_of_that_name_is_fetched_whole() {
    let mut world = World::new();
    left_behind(&mut world);
    world.publish(&[(NAME, tarball(2 << 20, 7))]);
    world.fetched("6.14.2");
    let last = world.server.requests(TARBALL).pop().unwrap();
    // It was asked for the rest, if it is still the same.
    assert_eq!((last.from, last.status), (Some(1 << 20), 200));
}

#[test]
fn parts_of_another_address_are_worth_nothing() {
    let mut world = World::new();
    left_behind(&mut world);
    world
        .server
        .put("/other/v6.x/linux-6.14.2.tar.xz", tarball(3 << 20, 1));
    world.server.put("/other/v6.x/sha256sums.asc", sums(&world));
    let mirror = Mirror::parse(&format!("{}/other/", world.server.base())).unwrap();
    let remote = Remote::new(mirror, world.cache(), world.options.clone()).unwrap();
    let told = Told::default();
    let release = Release::parse("6.14.2").unwrap();
    remote.tarball(release, &told).unwrap();
    assert!(told.has(&format!("started {NAME} 0 ")), "{}", told.all());
    // Back at the first mirror, its checksum is enough.
    let asked = world.server.requests(TARBALL).len();
    world.fetched("6.14.2");
    assert_eq!(world.server.requests(TARBALL).len(), asked);
}

fn sums(world: &World) -> String {
    let bytes = tarball(3 << 20, 1);
    let sum = crate::world::sha256(&bytes);
    assert!(!world.server.base().is_empty());
    format!("{sum}  {NAME}\n")
}

#[test]
fn what_was_all_there_is_not_asked_for_again() {
    let mut world = World::new();
    left_behind(&mut world);
    let part = world.path("downloads/linux-6.14.2.tar.xz.part");
    let mut file = OpenOptions::new().append(true).open(&part).unwrap();
    file.write_all(&tarball(3 << 20, 1)[1 << 20..]).unwrap();
    world.fetched("6.14.2");
    assert_eq!(world.server.requests(TARBALL).len(), 1);
}

#[test]
fn damaged_leftovers_are_fetched_again() {
    let damages: [fn(&World); 5] = [
        // The bytes.
        |world| {
            fs::write(
                world.path("downloads/linux-6.14.2.tar.xz.part"),
                vec![7; 1 << 20],
            )
            .unwrap();
        },
        // More than there should be.
        |world| {
            let part = world.path("downloads/linux-6.14.2.tar.xz.part");
            File::options()
                .write(true)
                .open(part)
                .unwrap()
                .set_len(9 << 20)
                .unwrap();
        },
        // What they are of.
        |world| {
            fs::write(
                world.path("downloads/linux-6.14.2.tar.xz.part.json"),
                "{\"addr",
            )
            .unwrap();
        },
        |world| fs::remove_file(world.path("downloads/linux-6.14.2.tar.xz.part.json")).unwrap(),
        // The bytes, all of them.
        |world| fs::remove_file(world.path("downloads/linux-6.14.2.tar.xz.part")).unwrap(),
    ];
    for damage in damages {
        let mut world = World::new();
        left_behind(&mut world);
        damage(&world);
        world.fetched("6.14.2");
        assert_eq!(world.downloads(), [NAME, "linux-6.14.2.tar.xz.json"]);
    }
}

#[test]
fn a_damaged_tarball_is_fetched_again() {
    let world = World::new();
    let (tarball, _) = world.fetched("6.14.2");
    let path = tarball.path.clone();
    drop(tarball);
    for damage in [0, 1000, SIZE] {
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(damage as usize);
        bytes.resize(SIZE as usize, 0);
        bytes[100] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (_, told) = world.fetched("6.14.2");
        assert!(
            told.has("note linux-6.14.2.tar.xz: the kept copy"),
            "{}",
            told.all()
        );
    }
    // Without a record it is checked against the published sum, and stays.
    fs::write(world.path("downloads/linux-6.14.2.tar.xz.json"), "{").unwrap();
    let asked = world.server.requests(TARBALL).len();
    let (tarball, _) = world.fetched("6.14.2");
    assert!(tarball.verified);
    assert_eq!(world.server.requests(TARBALL).len(), asked);
}

#[test]
fn without_a_checksum_it_is_taken_only_when_told_to() {
    let mut world = World::new();
    world.publish(&[("linux-6.14.1.tar.xz", tarball(1000, 1))]);
    let (text, _) = world.refused("6.14.2");
    assert!(
        text.contains("it has no checksum of linux-6.14.2.tar.xz;"),
        "{text}"
    );
    let refused = world.tarball("6.14.2").0.unwrap_err();
    assert_eq!(refused.remedy(), Some(Remedy::SkipChecksums));
    world.server.remove(SUMS);
    let (text, _) = world.refused("6.14.2");
    assert!(
        text.contains("it has no checksum of linux-6.14.2.tar.xz;"),
        "{text}"
    );
    world.options.skip_sha256 = true;
    let (tarball, told) = world.fetched("6.14.2");
    assert!(!tarball.verified);
    let note = "note linux-6.14.2.tar.xz: not verified: checksums are skipped";
    assert!(told.has(note), "{}", told.all());
    drop(tarball);
    // Who wants to know gets it checked, without another transfer.
    world.options.skip_sha256 = false;
    world.publish(&[(NAME, crate::world::tarball(3 << 20, 1))]);
    let asked = world.server.requests(TARBALL).len();
    assert!(world.fetched("6.14.2").0.verified);
    assert_eq!(world.server.requests(TARBALL).len(), asked);
}
