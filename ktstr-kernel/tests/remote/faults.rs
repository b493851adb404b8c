//! Servers that misbehave: the right file in the end, or one clear line.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use ktstr_kernel::FetchError;

use crate::server::{Fault, Server};
use crate::world::{INDEX, SUMS, TARBALL, World, sha256, tarball};

const NAME: &str = "linux-6.14.2.tar.xz";

#[test]
fn what_passes_is_tried_again() {
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(429),
        Fault::Truncate(0),
        Fault::Longer,
        Fault::Corrupt,
        Fault::Shorter,
        Fault::UnsizedTruncate(1 << 20),
        Fault::NoHttp(b"\0\xff\r\n\r\n".to_vec()),
        Fault::NoHttp(Vec::new()),
    ];
    for fault in faults {
        let world = World::new();
        world.server.fault(TARBALL, fault.clone(), 1);
        let (tarball, told) = world.fetched("6.14.2");
        assert!(tarball.verified);
        assert!(
            told.has(&format!("retrying {NAME}")),
            "{fault:?}: {}",
            told.all()
        );
        assert_eq!(world.downloads().len(), 2, "{fault:?}");
    }
    for path in [SUMS, INDEX] {
        let world = World::new();
        for fault in [
            Fault::Status(502),
            Fault::Truncate(50),
            Fault::NoHttp(b"x".to_vec()),
        ] {
            world.server.fault(path, fault, 1);
        }
        world.releases().0.unwrap();
        world.fetched("6.14.2");
        assert_eq!(world.server.requests(path).len(), 4);
    }
}

#[test]
fn what_lasts_is_one_clear_line() {
    for (path, status, tries, part) in [
        (TARBALL, 500, 4, "the server answers 500; try again later"),
        (TARBALL, 403, 1, "the server answers 403; check https_proxy"),
        (SUMS, 500, 4, "sha256sums.asc: the server answers 500"),
        (SUMS, 401, 1, "the server answers 401; check https_proxy"),
        (TARBALL, 407, 1, "the proxy wants a name and a password"),
    ] {
        let world = World::new();
        world.server.fault(path, Fault::Status(status), usize::MAX);
        let (text, _) = world.refused("6.14.2");
        assert!(text.contains(part), "{text}");
        assert!(
            text.contains("KTSTR_KERNEL_MIRROR") || status == 407,
            "{text}"
        );
        assert!(text.ends_with("or give a source tree or tarball"), "{text}");
        assert_eq!(world.server.requests(path).len(), tries, "{text}");
        world.server.heal();
        world.fetched("6.14.2");
    }
}

#[test]
fn a_server_that_asks_to_wait_for_long_is_not_asked_again() {
    let date = SystemTime::now() + Duration::from_secs(110 * 60);
    let date = Command::new("date")
        .args(["--utc", "+%a, %d %b %Y %H:%M:%S GMT"])
        .arg(format!(
            "--date=@{}",
            date.duration_since(UNIX_EPOCH).unwrap().as_secs()
        ))
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let date = String::from_utf8(date.stdout).unwrap().trim().to_owned();
    for (path, status, when, part) in [
        (
            TARBALL,
            503,
            "3600".to_owned(),
            "the server answers 503 and asks to wait 1h; try again after that",
        ),
        (
            INDEX,
            429,
            "86400".to_owned(),
            "the server answers 429 and asks to wait 1day; try again after that",
        ),
        (
            SUMS,
            503,
            date,
            "the server answers 503 and asks to wait 1h ",
        ),
    ] {
        let world = World::new();
        world
            .server
            .fault(path, Fault::Later(status, when), usize::MAX);
        let (text, told) = match path {
            INDEX => {
                let (releases, told) = world.releases();
                (releases.unwrap_err().to_string(), told)
            }
            _ => world.refused("6.14.2"),
        };
        assert!(text.contains(part), "{text}");
        assert_eq!(world.server.requests(path).len(), 1, "{text}");
        assert!(!told.all().contains("retrying"), "{}", told.all());
    }
    // Who asks for a moment gets it.
    let world = World::new();
    world
        .server
        .fault(TARBALL, Fault::Later(503, "0".to_owned()), 1);
    world.fetched("6.14.2");
}

#[test]
fn an_index_that_was_packed_on_its_way_is_read() {
    let gzip = |text: &[u8]| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    };
    let world = World::new();
    let packed = gzip(crate::world::index().as_bytes());
    world.server.fault(INDEX, Fault::Gzip(packed.clone()), 1);
    assert_eq!(world.releases().0.unwrap().entries().len(), 3);
    for (bytes, part) in [
        (packed[..packed.len() - 9].to_vec(), "damaged gzip data"),
        (
            gzip(&vec![b' '; 2 << 20]),
            "larger than 1 MiB, so that it is not a releases.json",
        ),
        (gzip(b"<html>"), "a web page instead of releases.json"),
    ] {
        let world = World::new();
        world.server.fault(INDEX, Fault::Gzip(bytes), usize::MAX);
        let text = world.releases().0.unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
        assert_eq!(world.server.requests(INDEX).len(), 1);
    }
}

#[test]
fn a_release_that_is_not_there_is_named_with_the_newest() {
    let world = World::new();
    let (text, _) = world.refused("6.14.99");
    let base = world.server.base();
    let address = format!("{base}/v6.x/linux-6.14.99.tar.xz");
    let expected = format!("there is no release 6.14.99 ({address}: 404); check its number");
    assert_eq!(text, expected);
    world.releases().0.unwrap();
    let (text, _) = world.refused("6.14.99");
    assert!(text.ends_with("; the newest of 6.14 is 6.14.2"), "{text}");
    // Neither a directory of that number, nor a list of checksums.
    let (text, _) = world.refused("9.1.7");
    assert!(text.starts_with("there is no release 9.1.7 ("), "{text}");
    let (text, _) = world.refused("6.15-rc9");
    assert!(text.ends_with("; the newest of 6.15 is 6.15-rc3"), "{text}");
}

#[test]
fn a_wrong_checksum_names_both_sums() {
    let world = World::new();
    world.server.fault(TARBALL, Fault::Corrupt, usize::MAX);
    let (text, told) = world.refused("6.14.2");
    let good = tarball(3 << 20, 1);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let sums = format!(
        "its SHA-256 is {}, but {} is published",
        sha256(&bad),
        sha256(&good)
    );
    assert!(text.contains(&sums), "{text}");
    assert!(told.has(&format!("retrying {NAME} it has a wrong checksum")));
    assert!(told.has(&format!("failed {NAME}")));
    assert_eq!(world.server.requests(TARBALL).len(), 2);
    assert_eq!(world.downloads(), [""; 0]);
    world.server.heal();
    world.fetched("6.14.2");
}

#[test]
fn a_server_that_stalls_is_left() {
    // Nothing comes of what stalls, however long it is waited for; the rest has seconds to come from this very process.
    std::thread::scope(|scope| {
        for at in [0, 1 << 20] {
            scope.spawn(move || {
                let mut world = World::new();
                world.options.stall_timeout = Duration::from_secs(4);
                world.server.fault(TARBALL, Fault::Stall(at), 1);
                let (_, told) = world.fetched("6.14.2");
                let why = format!("retrying {NAME} nothing came within 4 s");
                assert!(told.has(&why), "{}", told.all());
                let last = world.server.requests(TARBALL).pop().unwrap();
                assert_eq!(last.from, (at > 0).then_some(at as u64));
            });
        }
    });
    let mut world = World::new();
    world.options.stall_timeout = Duration::from_millis(200);
    world.server.fault(SUMS, Fault::Stall(10), usize::MAX);
    let (text, _) = world.refused("6.14.2");
    assert!(
        text.contains("sha256sums.asc: nothing came within 0.2 s; check the network"),
        "{text}"
    );
}

#[test]
fn what_drips_too_slowly_is_left_and_what_is_merely_slow_is_not() {
    // What is slow is measured with a clock of its own in the unit tests; here is one byte per second much, one GiB little.
    let drip = || Fault::Drip(2000, Duration::from_millis(20));
    let mut world = World::new();
    world.publish(&[(NAME, tarball(400_000, 1))]);
    world.options.stall_timeout = Duration::from_secs(2);
    world.options.slowest = 1;
    world.server.fault(TARBALL, drip(), 1);
    world.fetched("6.14.2");
    assert_eq!(world.server.requests(TARBALL).len(), 1);
    let mut world = World::new();
    world.options.stall_timeout = Duration::from_secs(2);
    world.options.slowest = 1 << 30;
    world.options.tries = 1;
    world.server.fault(TARBALL, drip(), usize::MAX);
    let (text, _) = world.refused("6.14.2");
    assert!(text.contains("almost nothing came within 2 s"), "{text}");
    // What came of it is not lost.
    world.server.heal();
    let (_, told) = world.fetched("6.14.2");
    assert!(!told.has(&format!("started {NAME} 0 ")), "{}", told.all());
}

#[test]
fn redirects_are_followed_but_not_in_circles() {
    let world = World::new();
    world.server.put("/elsewhere", tarball(3 << 20, 1));
    world
        .server
        .fault(TARBALL, Fault::Redirect("/elsewhere".into()), 1);
    world
        .server
        .fault("/elsewhere", Fault::Truncate(1 << 20), 1);
    world.fetched("6.14.2");
    let world = World::new();
    world
        .server
        .fault(TARBALL, Fault::Redirect("/a".into()), usize::MAX);
    world
        .server
        .fault("/a", Fault::Redirect(TARBALL.into()), usize::MAX);
    let (text, _) = world.refused("6.14.2");
    assert!(text.contains(": more than 5 redirects; "), "{text}");
    assert!(world.server.requests(TARBALL).len() <= 4);
}

#[test]
fn nothing_larger_than_a_release_is_taken() {
    for fault in [None, Some(Fault::Endless), Some(Fault::Unsized)] {
        let mut world = World::new();
        world.options.size_limit = 2 << 20;
        if let Some(fault) = fault {
            world.server.fault(TARBALL, fault, usize::MAX);
        }
        let (text, _) = world.refused("6.14.2");
        assert!(
            text.contains("larger than 2 MiB, so that it is not a release"),
            "{text}"
        );
        assert_eq!(world.server.requests(TARBALL).len(), 1);
        assert_eq!(world.downloads(), [""; 0]);
    }
    for (path, part) in [
        (
            SUMS,
            "larger than 16 MiB, so that it is not a sha256sums.asc",
        ),
        (
            INDEX,
            "larger than 1 MiB, so that it is not a releases.json",
        ),
    ] {
        let world = World::new();
        world.server.fault(path, Fault::Endless, usize::MAX);
        let text = match path {
            INDEX => world.releases().0.unwrap_err().to_string(),
            _ => world.refused("6.14.2").0,
        };
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_is_something_else_is_said() {
    let page = |text: &str| Fault::Instead("text/html", text.as_bytes().to_vec());
    for (path, fault, part) in [
        (
            TARBALL,
            page("\n <html>Log in"),
            "a web page instead of linux-6.14.2.tar.xz",
        ),
        (
            TARBALL,
            page("hello"),
            "something else instead of linux-6.14.2.tar.xz",
        ),
        (
            SUMS,
            page("<html>Log in"),
            "a web page instead of checksums",
        ),
        (SUMS, page("hello"), "it holds no checksums of tarballs"),
        (SUMS, page(""), "nothing instead of checksums"),
        (
            INDEX,
            page("<!doctype html>"),
            "a web page instead of releases.json",
        ),
        (
            INDEX,
            page("{\"releases\": [{"),
            "not in the form of kernel.org's releases.json",
        ),
        (
            INDEX,
            page("{\"releases\": []}"),
            "it lists no stable or longterm release",
        ),
        (INDEX, page(""), "nothing instead of releases.json"),
    ] {
        let world = World::new();
        world.server.fault(path, fault, usize::MAX);
        let text = match path {
            INDEX => world.releases().0.unwrap_err().to_string(),
            _ => world.refused("6.14.2").0,
        };
        assert!(text.contains(part), "{text}");
        assert!(
            text.starts_with(&format!("{}{path}: ", world.server.base())),
            "{text}"
        );
        assert!(
            text.contains("check https_proxy") && !text.contains('\n'),
            "{text}"
        );
        assert_eq!(world.server.requests(path).len(), 1);
        assert_eq!(world.downloads(), [""; 0]);
    }
}

#[test]
fn a_server_that_is_not_there_is_said() {
    let mut world = World::new();
    // Its port was free a moment ago.
    world.server = Server::start();
    let gone = std::mem::replace(&mut world.server, Server::start()).base();
    let mirror = ktstr_kernel::Mirror::parse(&gone).unwrap();
    let remote = ktstr_kernel::Remote::new(mirror, world.cache(), world.options.clone()).unwrap();
    let silent = ktstr_kernel::progress::Silent;
    let release = ktstr_kernel::Release::parse("6.14.2").unwrap();
    for error in [
        remote.releases(&silent).unwrap_err(),
        remote.tarball(release, &silent).unwrap_err(),
    ] {
        assert!(matches!(error, FetchError::Unreachable { .. }));
        let text = error.to_string();
        assert!(text.contains("Connection refused"), "{text}");
        assert!(text.contains("KTSTR_KERNEL_MIRROR") && text.ends_with("source tree or tarball"));
    }
}
