//! The index in the cache.

use std::fs;
use std::time::{Duration, SystemTime};

use ktstr_core::timestamp::rfc3339;

use crate::server::Fault;
use crate::world::{INDEX, World, index};

/// Puts an index of 6.11.1 into the cache that was fetched at that time.
fn cached(world: &World, fetched: SystemTime, from: &str) {
    let text = format!(
        r#"{{"fetched": "{}", "from": "{from}", "releases": [{{"version": "6.11.1", "moniker": "stable"}}]}}"#,
        rfc3339(fetched)
    );
    fs::create_dir_all(world.path("")).unwrap();
    fs::write(world.path("releases.json"), text).unwrap();
}

fn ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}

fn address(world: &World) -> String {
    format!("{}{INDEX}", world.server.base())
}

/// Whether it is the index of [`cached`], not the server's.
fn is_cached(world: &World) -> bool {
    let (releases, told) = world.releases();
    assert!(told.is_silent(), "{}", told.all());
    releases.unwrap().newest_of((6, 11)).is_some()
}

#[test]
fn it_is_asked_for_once_an_hour() {
    let world = World::new();
    assert_eq!(world.remote().cached_releases(), None);
    let (releases, told) = world.releases();
    let releases = releases.unwrap();
    assert_eq!(releases.entries().len(), 3);
    assert!(told.is_silent(), "{}", told.all());
    assert_eq!(world.releases().0.unwrap().entries(), releases.entries());
    let known = world.remote().cached_releases().unwrap();
    assert_eq!(known.entries(), releases.entries());
    assert_eq!(world.server.requests(INDEX).len(), 1);
    cached(&world, ago(3500), &address(&world));
    assert!(is_cached(&world));
    cached(&world, ago(3700), &address(&world));
    assert!(!is_cached(&world));
    assert_eq!(world.server.requests(INDEX).len(), 2);
}

#[test]
fn what_cannot_be_trusted_counts_as_none() {
    let world = World::new();
    let address = address(&world);
    cached(
        &world,
        SystemTime::now() + Duration::from_secs(3600),
        &address,
    );
    assert!(!is_cached(&world));
    // Clocks are corrected by a little.
    cached(
        &world,
        SystemTime::now() + Duration::from_secs(30),
        &address,
    );
    assert!(is_cached(&world));
    cached(&world, ago(10), "https://other.example.com/releases.json");
    assert!(!is_cached(&world));
    cached(&world, ago(10), &address);
    let whole = fs::read_to_string(world.path("releases.json")).unwrap();
    let stamp = rfc3339(ago(10));
    for text in [
        whole[..whole.len() / 2].to_owned(),
        whole[..whole.len() - 1].to_owned(),
        String::new(),
        "\0".repeat(4096),
        whole.replace("6.11.1", "6.11.x"),
        whole.replace("stable", "staple"),
        whole.replace(&stamp[..4], "yesterday"),
        index().to_owned(),
    ] {
        fs::write(world.path("releases.json"), text).unwrap();
        assert!(!is_cached(&world));
        // It was replaced by a good one.
        assert!(world.remote().cached_releases().is_some());
    }
    fs::remove_file(world.path("releases.json")).unwrap();
    fs::create_dir(world.path("releases.json")).unwrap();
    assert!(!is_cached(&world));
}

#[test]
fn without_network_an_old_one_will_do_and_its_age_is_told() {
    for fault in [
        Fault::Status(503),
        Fault::NoHttp(Vec::new()),
        Fault::Instead("text/html", b"<html>Log in".to_vec()),
    ] {
        let world = World::new();
        cached(&world, ago(3 * 86400 + 7200), &address(&world));
        world.server.fault(INDEX, fault, usize::MAX);
        let remote = world.remote();
        let told = crate::world::Told::default();
        let releases = remote.releases(&told).unwrap();
        assert!(releases.newest_of((6, 11)).is_some());
        assert!(releases.age() > Duration::from_secs(3 * 86400));
        let start = format!("note {}: ", address(&world));
        assert!(told.has(&start), "{}", told.all());
        assert!(
            told.all().contains("the index fetched 3days 2h ago"),
            "{}",
            told.all()
        );
        // Once is enough for one process.
        let asked = world.server.count();
        let told = crate::world::Told::default();
        assert_eq!(remote.releases(&told).unwrap(), releases);
        assert!(told.is_silent());
        assert_eq!(world.server.count(), asked);
        // What is there is left as it was.
        assert!(world.remote().cached_releases().unwrap().age() > Duration::from_secs(3 * 86400));
    }
}
