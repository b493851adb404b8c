//! Proxies, and hosts that are asked without.

use ktstr_kernel::remote::ProxySetting;
use ktstr_kernel::{FetchError, Mirror, Release, Remote, RemoteOptions};

use crate::server::Fault;
use crate::world::{INDEX, TARBALL, Told, World};

fn proxy(address: String) -> ProxySetting {
    let variable = "http_proxy".to_owned();
    ProxySetting { address, variable }
}

/// A mirror at a host that only the proxy knows.
fn remote(world: &World, options: RemoteOptions) -> Result<Remote, FetchError> {
    let mirror = Mirror::parse("http://mirror.invalid/").unwrap();
    Remote::new(mirror, world.cache(), options)
}

#[test]
fn a_proxy_is_asked_for_the_mirror() {
    let world = World::new();
    let mut options = world.options.clone();
    options.http_proxy = Some(proxy(world.server.base()));
    let remote = remote(&world, options).unwrap();
    let told = Told::default();
    let release = Release::parse("6.14.2").unwrap();
    assert!(remote.tarball(release, &told).unwrap().verified);
    assert_eq!(world.server.requests("mirror.invalid:80").len(), 2);
    assert_eq!(world.server.requests(TARBALL).len(), 1);
    let note = "note http://mirror.invalid/releases.json: without https nothing shows";
    assert!(told.has(note), "{}", told.all());
    // Once.
    remote.releases(&told).unwrap();
    assert_eq!(told.all().matches("without https").count(), 1);
}

#[test]
fn a_proxy_that_refuses_is_said() {
    let world = World::new();
    let mut options = world.options.clone();
    options.http_proxy = Some(proxy(world.server.base().replace("//", "//me:secret@")));
    world
        .server
        .fault("CONNECT", Fault::Status(407), usize::MAX);
    let text = remote(&world, options).unwrap().releases(&Told::default());
    let text = text.unwrap_err().to_string();
    assert!(
        text.contains("the proxy refuses") && text.contains("https_proxy"),
        "{text}"
    );
    assert!(!text.contains("secret") && !text.contains('\n'), "{text}");
}

#[test]
fn some_hosts_are_asked_directly() {
    for (no_proxy, directly) in [
        ("mirror.invalid", true),
        (".invalid", true),
        ("*.invalid", true),
        ("invalid", true),
        ("*", true),
        ("other.invalid", false),
        ("rror.invalid", false),
    ] {
        let world = World::new();
        let mut options = world.options.clone();
        options.http_proxy = Some(proxy(world.server.base()));
        options.no_proxy = vec![no_proxy.to_owned()];
        options.tries = 1;
        let result = remote(&world, options).unwrap().releases(&Told::default());
        // No resolver knows that host.
        assert_eq!(result.is_err(), directly, "{no_proxy}: {result:?}");
        assert_eq!(world.server.count() == 0, directly, "{no_proxy}");
    }
    // Nor does a proxy know our loopback device.
    let mut world = World::new();
    world.options.http_proxy = Some(proxy("http://mirror.invalid:1".to_owned()));
    world.releases().0.unwrap();
    assert_eq!(world.server.requests(INDEX).len(), 1);
}

#[test]
fn what_is_no_proxy_is_said_without_showing_it() {
    let world = World::new();
    for address in [
        "",
        "me:secret",
        "ftp://me:secret@proxy:1",
        "http://me:sec ret@proxy",
    ] {
        let mut options = world.options.clone();
        options.http_proxy = Some(proxy(address.to_owned()));
        match remote(&world, options) {
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.starts_with("http_proxy: its value is not an address; set"),
                    "{text}"
                );
                assert!(!text.contains("sec"), "{text}");
            }
            Ok(_) => panic!("{address}"),
        }
    }
}
