//! Fetching goes on where it stopped, and what is kept is right.

use std::fs;

use crate::server::Fault;
use crate::world::{INDEX, SUMS, TARBALL, World, wait_until};

#[test]
fn a_tarball_is_fetched_once_and_stays() {
    let world = World::new();
    let (tarball, told) = world.fetched("6.14.2");
    assert!(tarball.verified);
    assert_eq!(tarball.path, world.path("downloads/linux-6.14.2.tar.xz"));
    let size = 3 << 20;
    assert!(told.has(&format!("started linux-6.14.2.tar.xz 0 Some({size})")));
    assert!(told.has(&format!("finished linux-6.14.2.tar.xz {size}")));
    let asked = world.server.count();
    let (again, told) = world.fetched("6.14.2");
    assert_eq!(again.sha256, tarball.sha256);
    assert!(told.is_silent(), "{}", told.all());
    assert_eq!(world.server.count(), asked);
    assert_eq!(
        world.downloads(),
        ["linux-6.14.2.tar.xz", "linux-6.14.2.tar.xz.json"]
    );
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
    assert_eq!(world.server.sent(TARBALL), 3 << 20);
    assert!(
        told.has("retrying linux-6.14.2.tar.xz the connection broke off"),
        "{}",
        told.all()
    );
}

#[test]
fn the_index_is_asked_for_once_an_hour() {
    let world = World::new();
    let (releases, told) = world.releases();
    let releases = releases.unwrap();
    assert_eq!(releases.entries().len(), 3);
    assert!(told.is_silent(), "{}", told.all());
    assert_eq!(world.releases().0.unwrap().entries(), releases.entries());
    assert_eq!(world.server.requests(INDEX).len(), 1);
    let _ = (SUMS, fs::metadata("/"), wait_until as fn(_, fn() -> bool));
}
