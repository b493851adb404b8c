//! From names to kernels: releases of a mirror on the loopback device, looked up, fetched, built and cached.

#[path = "../support/server.rs"]
mod server;
#[path = "../pipeline/standin.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod standin;

mod mirror;

use std::ffi::OsStr;
use std::time::{Duration, SystemTime};

use ktstr_kernel::{Remedy, Resolver};
use mirror::{Place, spec};
use server::Fault;
use standin::Told;

#[test]
fn a_release_is_fetched_built_and_cached() {
    let place = Place::new(&["6.14.2"]);
    let (versions, told) = place.versions(&["6.14.2"]);
    assert_eq!(versions, ["6.14.2"]);
    assert!(told.has("finished compiling"), "{}", told.all());
    let asked = place.server.count();
    // A name that is cached needs no network.
    let (_, told) = place.versions(&["6.14.2"]);
    assert!(told.is_silent_hit(), "{}", told.all());
    assert_eq!(place.server.count(), asked);
    // The tarball is still there for another configuration.
    let mut place = place;
    place.world.options.base_config = ktstr_kernel::BaseConfig::Defconfig;
    place.versions(&["6.14.2"]);
    assert_eq!(place.server.requests("/v6.x/linux-6.14.2.tar.xz").len(), 1);
    assert_eq!(place.world.made("bzImage"), 2);
}

#[test]
fn names_of_one_release_are_one_kernel() {
    let place = Place::new(&["6.12.23", "6.14.2"]);
    let (versions, told) = place.versions(&["6.14", "6.14.2", "6.13..6.14", "6.14"]);
    assert_eq!(versions, ["6.14.2"]);
    assert!(
        told.has("note latest 6.14.x kernel: 6.14.2"),
        "{}",
        told.all()
    );
    assert_eq!(place.world.made("bzImage"), 1);
}

#[test]
fn a_release_without_sched_ext_is_refused_before_it_is_fetched() {
    let place = Place::new(&["6.11.5", "6.12.23"]);
    let failures = place.failures(&["6.11.5", "6.12.23"]);
    assert_eq!(failures.len(), 1);
    let (_, error) = &failures[0];
    assert!(error.contains("Linux 6.11.5 has no sched_ext"), "{error}");
    let fetched = place.server.requests("/v6.x/linux-6.11.5.tar.xz");
    assert_eq!(fetched.len(), 0);
    assert_eq!(place.world.made("bzImage"), 0);
}

#[test]
fn a_range_is_every_maintained_series_within() {
    let place = Place::new(&["6.11.5", "6.12.23", "6.13.9", "6.14.2", "7.0.1"]);
    let releases = |range: &str| {
        let releases = place.resolver().releases(&spec(range), &Told::default());
        let releases = releases.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        releases.map_err(|error| (error.remedy(), error.to_string()))
    };
    assert_eq!(
        releases("6.12..6.14").unwrap(),
        ["6.12.23", "6.13.9", "6.14.2"]
    );
    assert_eq!(releases("6.12.24..6.14.1").unwrap(), ["6.13.9"]);
    assert_eq!(releases("6.14..7.0").unwrap(), ["6.14.2", "7.0.1"]);
    let (remedy, none) = releases("6.15..6.20").unwrap_err();
    assert_eq!(remedy, Some(Remedy::IncludeEol), "{none}");
    let (_, other) = releases("./linux").unwrap_err();
    assert!(other.contains("names no release"), "{other}");
    // Nothing but the index was asked for.
    assert_eq!(place.server.count(), 1);

    let (versions, told) = place.versions(&["7.0.1", "6.12..6.14"]);
    assert_eq!(versions, ["7.0.1", "6.12.23", "6.13.9", "6.14.2"]);
    // All sources are there before the first is built.
    let told = told.all();
    let (before, _) = told.split_once("started compiling").unwrap();
    let fetched = ["6.12.23", "6.13.9", "6.14.2", "7.0.1"]
        .iter()
        .all(|release| {
            let path = format!("/v{}.x/linux-{release}.tar.xz", &release[..1]);
            place.server.requests(&path).len() == 1
        });
    assert!(fetched && !before.contains("compiling"), "{told}");
}

#[test]
fn ended_series_come_when_asked_for() {
    let mut place = Place::new(&["6.12.23", "6.14.2"]);
    place.publish("6.13.12", "6.13.12");
    place.tags(&[
        "v6.12.1",
        "v6.13",
        "v6.13.2",
        "v6.13.12",
        "v6.13-rc7",
        "v6.14.1",
        "v5.4.9",
    ]);
    let releases = |place: &Place| {
        let releases = place
            .resolver()
            .releases(&spec("6.12..6.14"), &Told::default());
        let releases = releases.unwrap();
        releases.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(releases(&place), ["6.12.23", "6.14.2"]);
    place.include_eol = true;
    assert_eq!(releases(&place), ["6.12.23", "6.13.12", "6.14.2"]);
    // A series that is named itself needs no option.
    place.include_eol = false;
    assert_eq!(place.versions(&["6.13"]).0, ["6.13.12"]);
    let (_, none) = &place.failures(&["6.99"])[0];
    assert!(none.contains("no such series"), "{none}");
}

#[test]
fn the_newest_of_a_kind_is_a_name() {
    let place = Place::new(&["6.12.23", "6.14.2"]);
    let (versions, told) = place.versions(&["stable", "longterm", "6.14"]);
    assert_eq!(versions, ["6.14.2"]);
    assert!(told.has("note stable kernel: 6.14.2"), "{}", told.all());
    let releases = |name: &str| place.resolver().releases(&spec(name), &Told::default());
    for (name, release) in [
        ("latest", "6.14.2"),
        ("longterm", "6.14.2"),
        ("mainline", "6.15-rc3"),
    ] {
        assert_eq!(releases(name).unwrap()[0].to_string(), release);
    }
    place.server.put(
        "/releases.json",
        r#"{"releases": [{"version": "6.14.2", "moniker": "stable"}]}"#,
    );
    std::fs::remove_file(place.world.path("cache/releases.json")).unwrap();
    let none = releases("mainline").unwrap_err().to_string();
    assert!(none.contains("kernel.org lists no such release"), "{none}");
}

#[test]
fn a_range_beyond_what_is_out_names_the_newest() {
    let mut place = Place::new(&["6.6.94", "6.12.99", "6.14.2"]);
    place.tags(&["v6.12.5"]);
    for include_eol in [false, true] {
        place.include_eol = include_eol;
        let none = |range: &str| {
            let releases = place.resolver().releases(&spec(range), &Told::default());
            let error = releases.unwrap_err();
            assert_eq!(error.remedy(), None, "{error}");
            error.to_string()
        };
        for (range, said) in [
            (
                "6.12.5..6.12.9",
                "the newest of 6.12 is 6.12.99; give 6.12 for that",
            ),
            (
                "6.12.100..6.14.1",
                "the newest of 6.14 is 6.14.2, the newest of 6.12 is 6.12.99; give 6.14 for that",
            ),
            ("6.15..7.0", "no release lies within: the newest is 6.14.2"),
        ] {
            let text = none(range);
            assert!(text.contains(said), "{text}");
        }
    }
    place.include_eol = false;
    let ended = place
        .resolver()
        .releases(&spec("6.1..6.5"), &Told::default());
    assert_eq!(ended.unwrap_err().remedy(), Some(Remedy::IncludeEol));
}

#[test]
fn a_single_release_is_fetched_too() {
    let place = Place::new(&["6.12.23", "6.14.2"]);
    let resolve = |name: &str| place.resolver().resolve(&spec(name), &Told::default());
    for name in ["6.14.2", "6.14", "stable", "6.14..6.14"] {
        let kernel = resolve(name).unwrap();
        assert_eq!(kernel.version, "6.14.2", "{name}");
    }
    assert_eq!(place.world.made("bzImage"), 1);
    let text = resolve("6.12..6.14").unwrap_err().to_string();
    let said = "stands for several releases (6.12.23, 6.14.2); give one of them";
    assert!(text.contains(said), "{text}");
    let text = resolve("6.14.7").unwrap_err().to_string();
    assert!(text.contains("there is no release 6.14.7"), "{text}");
    assert_eq!(place.world.made("bzImage"), 1);
}

#[test]
fn the_order_of_a_resolvers_options_does_not_matter() {
    let place = Place::new(&["6.12.23", "6.14.2"]);
    place.tags(&["v6.13.12"]);
    let first = Resolver::new(place.world.cache(), place.world.options.clone()).including_eol(true);
    let resolver = first.fetching(place.remote());
    let releases = resolver.releases(&spec("6.12..6.14"), &Told::default());
    assert_eq!(releases.unwrap().len(), 3);
}

#[test]
fn a_cache_that_make_cannot_build_in_is_told_before_anything_is_fetched() {
    let place = Place::new(&["6.14.2"]);
    let tree = place.world.tree("good");
    let tarball = place.world.tarball(&tree, "good.tar.gz");
    // Make sees where links lead.
    let real = place.world.path("a b:c");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, place.world.path("cache")).unwrap();
    let failures = place.failures(&["6.14.2", "6.14", tarball.to_str().unwrap()]);
    let named: Vec<&str> = failures.iter().map(|(spec, _)| spec.as_str()).collect();
    assert_eq!(named, ["6.14.2", tarball.to_str().unwrap()]);
    for (_, text) in &failures {
        let said = "a b:c: the kernel's make cannot build in a path with a space in it; set KTSTR_CACHE_DIR";
        assert!(text.contains(said), "{text}");
    }
    // The index, of which 6.14 is looked up.
    assert_eq!(place.server.count(), 1);
    assert!(!place.world.cache().root().join("downloads").exists());
    // A single one likewise.
    for name in ["6.14.2", tarball.to_str().unwrap()] {
        let error = place.resolver().resolve(&spec(name), &Told::default());
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("set KTSTR_CACHE_DIR")
        );
    }
    // Trees are built below the cache as well.
    let error = place
        .resolver()
        .resolve(&spec(tree.to_str().unwrap()), &Told::default());
    let text = error.unwrap_err().to_string();
    assert!(text.contains("set KTSTR_CACHE_DIR"), "{text}");
}

#[test]
fn whatever_fails_is_told_at_once_and_before_anything_is_built() {
    let place = Place::new(&["6.12.23", "6.14.2"]);
    let tree = place.world.tree("good");
    let good = tree.to_str().unwrap();
    let failures = place.failures(&[good, "./none", "6.20", "6.20..6.21", "6.14.2"]);
    let named: Vec<&str> = failures.iter().map(|(spec, _)| spec.as_str()).collect();
    assert_eq!(named, ["./none", "6.20", "6.20..6.21"]);
    // Also what is on disk, in the order in which it was asked for.
    let failures = place.failures(&["no-such-key", "6.20", good, "./none"]);
    let named: Vec<&str> = failures.iter().map(|(spec, _)| spec.as_str()).collect();
    assert_eq!(named, ["no-such-key", "6.20", "./none"]);
    // A cache key is looked at before anything is fetched, and all downloads are tried.
    let failures = place.failures(&[good, "no-such-key", "6.14.7"]);
    assert_eq!(failures.len(), 1);
    assert_eq!(place.server.requests("/v6.x/linux-6.14.2.tar.xz").len(), 0);
    let failures = place.failures(&[good, "6.14.7", "6.14.2", "6.12.99"]);
    let named: Vec<&str> = failures.iter().map(|(spec, _)| spec.as_str()).collect();
    assert_eq!(named, ["6.14.7", "6.12.99"]);
    assert!(
        failures[0].1.contains("there is no release 6.14.7"),
        "{failures:?}"
    );
    assert!(failures[0].1.contains("6.14.2"), "{failures:?}");
    assert_eq!(place.world.made("bzImage"), 0);
    // What is well goes on from what is there.
    assert_eq!(place.versions(&[good, "6.14.2"]).0, ["6.99.1", "6.14.2"]);
    assert_eq!(place.server.requests("/v6.x/linux-6.14.2.tar.xz").len(), 1);
}

#[test]
fn identifiers_that_make_no_sense_are_told_with_all_others() {
    let mut place = Place::new(&["6.14.2"]);
    // Nobody knows what `~` is.
    place.world.options.host.env.remove(OsStr::new("HOME"));
    let resolve = |identifiers: &[&str]| {
        let told = Told::default();
        let resolver = place.resolver();
        let kernels = resolver.resolve_identifiers(identifiers, &told, &mut |_, _| {});
        (kernels, told)
    };
    let names = ["6.14.2", "v6.14", "./none", "6.14.2", "~/linux", "6.20"];
    let failures = resolve(&names).0.unwrap_err().0;
    let told = failures
        .iter()
        .map(|failed| (failed.position, failed.kernel.as_str()));
    let expected = [(1, "v6.14"), (2, "./none"), (4, "~/linux"), (5, "6.20")];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    // Each is a line that has the identifier in it.
    for failed in &failures {
        let text = failed.to_string();
        assert!(text.contains(&failed.kernel), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
    assert_eq!(place.server.requests("/v6.x/linux-6.14.2.tar.xz").len(), 0);
    // Passwords of addresses stay out of sight.
    let secret = resolve(&["https://me:secret@h/linux.git"]).0.unwrap_err();
    assert!(!secret.to_string().contains("secret"), "{secret}");

    let (kernels, _) = resolve(&["6.14", "6.14.2"]);
    let versions: Vec<String> = kernels.unwrap().into_iter().map(|it| it.version).collect();
    assert_eq!(versions, ["6.14.2"]);
}

#[test]
fn no_identifier_is_the_latest_release() {
    let place = Place::new(&["6.12.23", "6.14.2"]);
    let told = Told::default();
    let none: [&str; 0] = [];
    let kernels = place
        .resolver()
        .resolve_identifiers(&none, &told, &mut |_, _| {});
    assert_eq!(kernels.unwrap()[0].version, "6.12.23");
    let note = "note no kernel was named: taking 6.12.23,";
    assert!(told.has(note), "{}", told.all());
}

#[test]
fn without_a_network_what_is_cached_is_used_and_told() {
    let place = Place::new(&["6.14.2"]);
    place.versions(&["6.14"]);
    // The index knows of a later one that cannot be had.
    place.index(&["6.14.3"]);
    let index = place.world.path("cache/releases.json");
    std::fs::remove_file(&index).unwrap();
    place
        .server
        .fault("/v6.x/linux-6.14.3.tar.xz", Fault::Truncate(0), 100);
    place
        .server
        .fault("/v6.x/sha256sums.asc", Fault::Truncate(0), 100);
    let (versions, told) = place.versions(&["6.14"]);
    assert_eq!(versions, ["6.14.2"]);
    assert!(told.has("note taking 6.14.2-tarball-"), "{}", told.all());
    // By its number there is no other that would do.
    let (_, error) = &place.failures(&["6.14.3"])[0];
    assert!(error.contains("check the network"), "{error}");

    // Without the index.
    std::fs::remove_file(&index).unwrap();
    place
        .server
        .fault("/releases.json", Fault::Status(503), 100);
    let (versions, told) = place.versions(&["6.14"]);
    assert_eq!(versions, ["6.14.2"]);
    assert!(told.has("note taking 6.14.2-tarball-"), "{}", told.all());
    let failures = place.failures(&["6.13", "6.12..6.14"]);
    assert_eq!(failures.len(), 2);
    assert!(
        failures.iter().all(|(_, text)| text.contains("503")),
        "{failures:?}"
    );
    let latest = place.resolver().latest_release(&Told::default());
    assert!(latest.unwrap_err().to_string().contains("503"));
}

#[test]
fn an_old_index_is_better_than_none() {
    let place = Place::new(&["6.14.2"]);
    place.versions(&["6.14"]);
    let index = place.world.path("cache/releases.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let before = SystemTime::now() - Duration::from_secs(2 * 86_400 + 60);
    kept["fetched"] = humantime::format_rfc3339_seconds(before).to_string().into();
    std::fs::write(&index, kept.to_string()).unwrap();
    place
        .server
        .fault("/releases.json", Fault::Status(500), 100);
    let (versions, told) = place.versions(&["6.14"]);
    assert_eq!(versions, ["6.14.2"]);
    assert!(told.all().contains("2days"), "{}", told.all());
}

#[test]
fn a_tarball_of_another_release_is_not_built() {
    let place = Place::new(&["6.12.23"]);
    place.index(&["6.12.23", "6.14.2"]);
    place.publish("6.14.2", "6.14.1");
    let (_, error) = &place.failures(&["6.14.2"])[0];
    assert!(
        error.contains("fetched as Linux 6.14.2, but it is Linux 6.14.1"),
        "{error}"
    );
    assert_eq!(place.world.made("bzImage"), 0);
    assert!(place.world.cache().list().unwrap().is_empty());
}

#[test]
fn who_cannot_fetch_says_so() {
    let place = Place::new(&["6.14.2"]);
    let resolver = Resolver::new(place.world.cache(), place.world.options.clone());
    for name in ["6.14.2", "6.14", "6.12..6.14"] {
        let failures = resolver.resolve_all(&[spec(name)], &Told::default(), &mut |_, _| {});
        let text = failures.unwrap_err().to_string();
        assert!(text.contains("give a source tree"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
    assert_eq!(place.server.count(), 0);
}
