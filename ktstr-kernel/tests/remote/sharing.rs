//! Threads, and what stays of what they fetched.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use ktstr_kernel::progress::{Event, Progress, Silent, Transfer};
use ktstr_kernel::{FetchError, Release};

use crate::server::Fault;
use crate::world::{INDEX, SUMS, TARBALL, World, tarball, wait_until};

const DAY: Duration = Duration::from_secs(86400);

fn release(text: &str) -> Release {
    Release::parse(text).unwrap()
}

/// A mirror that has 6.14.1 to 6.14.`count`, of 1 MiB each.
fn many(count: u16) -> (World, Vec<Release>) {
    let world = World::new();
    let names: Vec<String> = (1..=count)
        .map(|n| format!("linux-6.14.{n}.tar.xz"))
        .collect();
    let tarballs = names.iter().enumerate();
    let tarballs: Vec<_> = tarballs
        .map(|(n, name)| (name.as_str(), tarball(1 << 20, n as u64)))
        .collect();
    world.publish(&tarballs);
    let releases = (1..=count).map(|n| release(&format!("6.14.{n}"))).collect();
    (world, releases)
}

#[test]
fn of_many_threads_one_fetches() {
    for count in [2, 8] {
        let world = World::new();
        let remote = world.remote();
        let start = Barrier::new(count);
        world
            .server
            .fault(TARBALL, Fault::Drip(64 << 10, Duration::from_millis(2)), 1);
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    start.wait();
                    remote.releases(&Silent).unwrap();
                    assert!(remote.tarball(release("6.14.2"), &Silent).unwrap().verified);
                });
            }
        });
        for path in [INDEX, SUMS, TARBALL] {
            assert_eq!(world.server.requests(path).len(), 1, "{path}");
        }
        assert_eq!(world.server.sent(TARBALL), 3 << 20);
    }
}

/// Counts how many transfers are going on, and at most were.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Progress for AtOnce {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Transfer {
                state: Transfer::Started { .. },
                ..
            } => {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
            }
            Event::Transfer {
                state: Transfer::Finished { .. } | Transfer::Failed,
                ..
            } => {
                self.now.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

#[test]
fn several_are_fetched_at_once_and_one_failure_is_one() {
    let (world, mut releases) = many(9);
    // Behind the four that are held: by then the checksums are known, and they are asked for once more.
    releases.insert(5, release("6.14.77"));
    for n in 1..=4 {
        world.server.fault(
            &format!("/v6.x/linux-6.14.{n}.tar.xz"),
            Fault::Hold(1000),
            1,
        );
    }
    let at_once = AtOnce::default();
    let remote = world.remote();
    let results = thread::scope(|scope| {
        let results = scope.spawn(|| remote.tarballs(&releases, &at_once));
        wait_until("four are on their way", || {
            at_once.now.load(Ordering::SeqCst) == 4
        });
        world.server.release();
        results.join().unwrap()
    });
    assert_eq!(at_once.most.load(Ordering::SeqCst), 4);
    let order: Vec<Release> = results.iter().map(|(release, _)| *release).collect();
    assert_eq!(order, releases);
    for (of, result) in &results {
        match result {
            Ok(tarball) => {
                let name = format!("linux-{of}.tar.xz");
                assert!(tarball.verified && tarball.path.ends_with(&name));
                // More than stay, but in use.
                assert!(tarball.path.exists(), "{name}");
            }
            Err(FetchError::NoRelease { .. }) => assert_eq!(*of, release("6.14.77")),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(world.server.requests(SUMS).len(), 2);
    // When they are not used any more, the newest three stay. Which those are is up to the order in which they came, on a
    // busy machine: it is settled here.
    drop(results);
    let now = SystemTime::now();
    for n in 1..=9 {
        let name = format!("linux-6.14.{n}.tar.xz");
        date(&world, &name, now - Duration::from_secs(60 * (10 - n)));
    }
    let (last, _) = world.fetched("6.14.9");
    assert_eq!(world.downloads().len(), 6, "{:?}", world.downloads());
    assert!(last.path.exists());
}

fn date(world: &World, name: &str, time: SystemTime) {
    let file = File::options()
        .write(true)
        .open(world.path("downloads").join(name));
    file.unwrap().set_modified(time).unwrap();
}

#[test]
fn what_nobody_uses_goes_after_a_week() {
    let (world, _) = many(4);
    let now = SystemTime::now();
    drop(world.fetched("6.14.1"));
    drop(world.fetched("6.14.2"));
    let (used, _) = world.fetched("6.14.3");
    let put = |name: &str, time| {
        fs::write(world.path("downloads").join(name), "x").unwrap();
        date(&world, name, time);
    };
    for name in [
        "linux-6.14.2.tar.xz",
        "linux-6.14.2.tar.xz.json",
        "linux-6.14.3.tar.xz",
    ] {
        date(&world, name, now - 8 * DAY);
    }
    put("linux-6.1.1.tar.xz.part", now - 8 * DAY);
    put("linux-6.1.1.tar.xz.part.json", now - 8 * DAY);
    put("linux-6.1.2.tar.xz.part", now - 6 * DAY);
    // Clocks jump: what comes from a far future came from a wrong one.
    put("linux-6.1.3.tar.xz.part", now + 6 * DAY);
    put("linux-6.1.4.tar.xz.part", now + 800 * DAY);
    put("linux-6.1.5.tar.xz.json", now - 8 * DAY);
    put(".linux-6.1.6.tar.xz.json.77-0.tmp", now - 8 * DAY);
    put("notes.txt", now - 800 * DAY);
    world.fetched("6.14.4");
    let left: BTreeSet<String> = world.downloads().into_iter().collect();
    let expected = [
        "linux-6.1.2.tar.xz.part",
        "linux-6.1.3.tar.xz.part",
        "linux-6.14.1.tar.xz",
        "linux-6.14.1.tar.xz.json",
        "linux-6.14.3.tar.xz",
        "linux-6.14.3.tar.xz.json",
        "linux-6.14.4.tar.xz",
        "linux-6.14.4.tar.xz.json",
        "notes.txt",
    ];
    assert_eq!(left, expected.map(str::to_owned).into());
    drop(used);
    drop(world.fetched("6.14.4"));
    assert!(!world.path("downloads/linux-6.14.3.tar.xz").exists());
}
