//! Whoever fetches is killed, or is one of many.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ktstr_kernel::progress::{Event, Progress};
use ktstr_kernel::{Cache, Mirror, Release, Remote, RemoteOptions};

use crate::server::Fault;
use crate::world::{TARBALL, World, wait_until};

/// Makes a file when there is a note.
struct Noting(PathBuf);

impl Progress for Noting {
    fn event(&self, event: Event<'_>) {
        if let Event::Note(text) = event {
            assert!(text.contains("waiting"), "{text}");
            fs::write(&self.0, "").unwrap();
        }
    }
}

/// Not a test by itself: the process that is killed, or waits.
#[test]
#[ignore = "run by the tests beside it"]
fn victim() {
    let Some(mirror) = std::env::var_os("KTSTR_VICTIM_MIRROR") else {
        return;
    };
    let mirror = Mirror::parse(mirror.to_str().unwrap()).unwrap();
    let cache = Cache::new(PathBuf::from(
        std::env::var_os("KTSTR_VICTIM_CACHE").unwrap(),
    ));
    let noting = Noting(std::env::var_os("KTSTR_VICTIM_NOTE").unwrap().into());
    let remote = Remote::new(mirror, cache, RemoteOptions::default()).unwrap();
    let release = Release::parse("6.14.2").unwrap();
    assert!(remote.tarball(release, &noting).unwrap().verified);
}

fn victim_of(world: &World, note: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kills::victim", "--exact", "--ignored"])
        .env("KTSTR_VICTIM_MIRROR", world.server.base())
        .env("KTSTR_VICTIM_CACHE", world.path(""))
        .env("KTSTR_VICTIM_NOTE", world.dir.path().join(note))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_it_goes_on_where_it_was() {
    let world = World::new();
    let part = world.path("downloads/linux-6.14.2.tar.xz.part");
    let len = || fs::metadata(&part).map_or(0, |found| found.len());
    // At its start, on its way, and again; shortly before its end.
    let stops = [0, 1 << 20, 1000, (2 << 20) - 1001];
    let mut done = 0;
    for stop in stops {
        world.server.fault(TARBALL, Fault::Hold(stop), 1);
        let asked = world.server.requests(TARBALL).len();
        let mut victim = victim_of(&world, "note");
        done += stop as u64;
        wait_until("it is asked for", || {
            world.server.requests(TARBALL).len() > asked
        });
        wait_until("what was sent is there", || len() == done);
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    let (tarball, told) = world.fetched("6.14.2");
    assert!(tarball.verified);
    let start = format!("started linux-6.14.2.tar.xz {done} Some({})", 3 << 20);
    assert!(told.has(&start), "{}", told.all());
    let requests = world.server.requests(TARBALL);
    let from: Vec<_> = requests.iter().map(|request| request.from).collect();
    let first = 1 << 20;
    assert_eq!(
        from,
        [None, None, Some(first), Some(first + 1000), Some(done)]
    );
    assert_eq!(world.server.sent(TARBALL), 3 << 20);
    assert_eq!(world.downloads().len(), 2);
    assert!(!world.dir.path().join("note").exists());
}

#[test]
fn of_many_processes_one_fetches() {
    for count in [2, 8] {
        let world = World::new();
        world.server.fault(TARBALL, Fault::Hold(1000), 1);
        let mut first = victim_of(&world, "first");
        wait_until("the first asks", || {
            !world.server.requests(TARBALL).is_empty()
        });
        let mut others: Vec<Child> = (1..count)
            .map(|n| victim_of(&world, &format!("note{n}")))
            .collect();
        wait_until("the others wait", || {
            (1..count).all(|n| world.dir.path().join(format!("note{n}")).exists())
        });
        world.server.release();
        assert!(first.wait().unwrap().success());
        for other in &mut others {
            assert!(other.wait().unwrap().success());
        }
        assert_eq!(world.server.requests(TARBALL).len(), 1);
        assert_eq!(world.server.sent(TARBALL), 3 << 20);
        assert!(world.fetched("6.14.2").1.is_silent());
    }
}

#[test]
fn who_waits_for_a_killed_one_goes_on() {
    let world = World::new();
    world.server.fault(TARBALL, Fault::Hold(1 << 20), 1);
    let mut first = victim_of(&world, "first");
    let part = world.path("downloads/linux-6.14.2.tar.xz.part");
    wait_until("half of it is there", || {
        fs::metadata(&part).is_ok_and(|found| found.len() == 1 << 20)
    });
    let mut second = victim_of(&world, "second");
    wait_until("the second waits", || {
        world.dir.path().join("second").exists()
    });
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap().success());
    let requests = world.server.requests(TARBALL);
    assert_eq!((requests.len(), requests[1].from), (2, Some(1 << 20)));
}
