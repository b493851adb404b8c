//! Servers that misbehave, at each step of a conversation. Whatever they do, the next try succeeds.

use std::sync::Arc;
use std::time::Duration;

use crate::server::{Fault, Kind, Server, Step};
use crate::standin::{commit, git};
use crate::world::{Place, output};

const STEPS: [Step; 3] = [Step::Greeting, Step::Listing, Step::Pack];

/// A repository behind a server.
struct Served {
    place: Place,
    server: Server,
    url: String,
}

impl Served {
    fn new(kind: Kind) -> Self {
        let place = Place::new();
        let server = Server::start(kind, &place.world.path(""));
        let url = server.url("linux");
        Self { place, server, url }
    }

    /// The line that it ends with where one answer goes wrong so.
    fn refused(&self, step: Step, skipped: usize, fault: Fault) -> String {
        self.server.fault(step, skipped, fault);
        let error = self.place.refused(&self.url, "branch=main");
        assert!(error.contains(&self.url), "{error}");
        error
    }

    /// Nothing went wrong for good.
    fn recovers(&self) {
        self.place.built(&self.url, "branch=main");
        assert_eq!(self.place.keys().len(), 1);
    }

    /// How long the answers are of each step: those of one good resolution.
    fn sizes(&self, step: Step) -> Vec<usize> {
        let before = self.server.sizes(step).len();
        self.recovers();
        std::fs::remove_dir_all(self.place.world.path("cache")).unwrap();
        self.server.sizes(step).split_off(before)
    }
}

#[test]
fn a_status_is_told() {
    let served = Served::new(Kind::Web);
    for step in STEPS {
        for (status, part) in [
            (401, "asks for a login"),
            (403, "asks for a login"),
            (404, "there is no repository (HTTP status 404"),
            (429, "HTTP status 429"),
            (500, "HTTP status 500"),
            (503, "HTTP status 503"),
            (204, "HTTP status 204"),
        ] {
            let error = served.refused(step, 0, Fault::Status(status));
            assert!(error.contains(part), "{step:?}: {error}");
        }
    }
    served.recovers();
}

#[test]
fn silence_is_not_waited_for() {
    let (mut web, mut daemon) = (Served::new(Kind::Web), Served::new(Kind::Daemon));
    // Silent for longer than anybody waits; who waited on would hear the end of the connection, after two minutes.
    let silent = |served: &mut Served, step, skipped, at| {
        let patient = served.place.limits;
        let mut silence = Duration::from_millis(250);
        loop {
            served.place.limits.silence = silence;
            served.server.lasting_fault(step, skipped, Fault::Stall(at));
            let error = served.place.refused(&served.url, "branch=main");
            let seconds = silence.as_secs_f32();
            let part = format!("the server has said nothing for {seconds} s; try again later");
            assert!(error.contains(&part), "{step:?} {skipped} {at}: {error}");
            if served.server.has_struck() {
                break;
            }
            // A busy host was silent for so long before it came to that.
            silence *= 2;
        }
        served.server.heal();
        served.place.limits = patient;
    };
    for step in STEPS {
        for at in [0, 3, 20] {
            silent(&mut web, step, 0, at);
        }
    }
    silent(&mut web, Step::Pack, 0, 400);
    for at in [0, 3, 20] {
        silent(&mut daemon, Step::Greeting, 0, at);
        silent(&mut daemon, Step::Greeting, 1, at);
    }
    web.recovers();
    daemon.recovers();
}

/// Whether an answer that goes wrong so is refused. What is built nevertheless is right: all of it was there.
fn is_refused(served: &Served, step: Step, skipped: usize, fault: Fault) -> bool {
    served.server.fault(step, skipped, fault);
    let (kernel, _) = served.place.resolve(&served.url, "branch=main");
    let Err(error) = kernel else {
        let entry = served.place.world.cache().list().unwrap().remove(0);
        let source = format!("{:?}", entry.metadata().unwrap().source);
        assert!(source.contains(&served.place.id("HEAD")), "{source}");
        std::fs::remove_dir_all(served.place.world.path("cache")).unwrap();
        return false;
    };
    let error = error.to_string();
    assert!(
        [
            "cannot be reached",
            "is not valid git protocol",
            "sends more than",
            "missing object"
        ]
        .iter()
        .any(|part| error.contains(part)),
        "{step:?} {skipped}: {error}"
    );
    assert!(!error.contains(char::is_control), "{error}");
    assert!(served.place.keys().is_empty() && served.place.world.leftovers().is_empty());
    true
}

#[test]
fn what_ends_too_early_is_no_kernel() {
    let web = Served::new(Kind::Web);
    for step in STEPS {
        let size = web.sizes(step)[0];
        let mut cuts = vec![0, 1, 3, 4, 5, size / 3, size / 2];
        cuts.extend([200, 120, 30, 5, 4, 1].map(|end| size.saturating_sub(end)));
        for at in cuts {
            for fault in [Fault::Truncate(at), Fault::Short(at)] {
                let refused = is_refused(&web, step, 0, fault);
                // What comes after a pack is talk.
                let may_do = step == Step::Pack && at + 90 >= size;
                assert!(refused || may_do, "{step:?} {at} of {size}");
            }
        }
    }
    web.recovers();
    let daemon = Served::new(Kind::Daemon);
    let sizes = daemon.sizes(Step::Greeting);
    assert_eq!(sizes.len(), 2);
    for (connection, size) in sizes.into_iter().enumerate() {
        for at in [0, 1, 4, 30, size / 2, size - 30, size - 5, size - 1] {
            let refused = is_refused(&daemon, Step::Greeting, connection, Fault::Truncate(at));
            assert!(
                refused || (connection == 1 && at + 90 >= size),
                "{connection} {at} of {size}"
            );
        }
    }
    daemon.recovers();
}

#[test]
fn packs_that_were_changed_on_the_way_are_refused() {
    let served = Served::new(Kind::Web);
    let size = served.sizes(Step::Pack)[0];
    let places: Vec<usize> = (0..size).step_by(37).collect();
    let refused = places
        .iter()
        .filter(|at| is_refused(&served, Step::Pack, 0, Fault::Corrupt(**at)));
    // The rest is what the server tells of its progress.
    let refused = refused.count();
    assert!(refused * 2 > places.len(), "{refused} of {}", places.len());
    served.recovers();
}

#[test]
fn what_does_not_speak_git_is_told() {
    let answers: [&[u8]; 6] = [
        b"",
        b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>",
        &[0; 5000],
        &[0xff; 5000],
        b"zzzz",
        b"fff0 short",
    ];
    let web = Served::new(Kind::Web);
    let daemon = Served::new(Kind::Daemon);
    let makes_no_sense = |error: &str| {
        assert!(
            error.contains("is not valid git protocol") || error.contains("ended too early"),
            "{error}"
        );
    };
    for answer in answers {
        for step in STEPS {
            makes_no_sense(&web.refused(step, 0, Fault::Instead(answer.to_vec())));
        }
        for connection in [0, 1] {
            let fault = Fault::Instead(answer.to_vec());
            makes_no_sense(&daemon.refused(Step::Greeting, connection, fault));
        }
    }
    // A listing of nothing is one, but is asked for again.
    let none = || Fault::Instead(b"0000".to_vec());
    web.server.fault(Step::Listing, 0, none());
    web.server.fault(Step::Listing, 0, none());
    let error = web.place.refused(&web.url, "branch=main");
    assert!(error.contains("has no branch main"), "{error}");
    web.server.fault(Step::Listing, 0, none());
    web.recovers();
    std::fs::remove_dir_all(web.place.world.path("cache")).unwrap();
    makes_no_sense(&web.refused(Step::Greeting, 0, none()));
    makes_no_sense(&web.refused(Step::Pack, 0, none()));
    // Words of the server, whatever they hold, are one line.
    let said = b"0021ERR \x1b[31mgo away\nnow\x07 please\n".to_vec();
    let error = web.refused(Step::Pack, 0, Fault::Instead(said.clone()));
    assert!(error.contains("go away"), "{error}");
    let error = daemon.refused(Step::Greeting, 0, Fault::Instead(said));
    assert!(
        error.contains("the server says: go away now? please"),
        "{error}"
    );
    web.recovers();
    daemon.recovers();
}

#[test]
fn what_has_no_end_is_given_up() {
    let mut web = Served::new(Kind::Web);
    web.place.limits.listing_size = 1 << 20;
    web.place.limits.fetch_size = 1 << 20;
    // Lines of the protocol; its progress; noise.
    let listed = b"003a0123456789abcdef0123456789abcdef01234567 refs/heads/a\n".to_vec();
    let told = [b"0015".as_slice(), b"\x02still counting.."].concat();
    for step in STEPS {
        for bytes in [&listed, &told, &vec![b'f'; 4096], &vec![0; 4096]] {
            let error = web.refused(step, 0, Fault::Endless(bytes.clone()));
            assert!(
                error.contains("sends more than 1 MiB")
                    || error.contains("is not valid git protocol"),
                "{step:?}: {error}"
            );
        }
    }
    let packfile = [b"000dpackfile\n".to_vec(), told.clone()].concat();
    let error = web.refused(Step::Pack, 0, Fault::Endless(packfile));
    assert!(
        error.contains("is not valid git protocol") || error.contains("sends more"),
        "{error}"
    );
    let error = web.refused(Step::Listing, 0, Fault::Endless(listed));
    assert!(error.contains("sends more than 1 MiB"), "{error}");
    web.recovers();
    let mut daemon = Served::new(Kind::Daemon);
    daemon.place.limits.listing_size = 1 << 20;
    let error = daemon.refused(Step::Greeting, 0, Fault::Endless(b"000aagent=".to_vec()));
    assert!(
        error.contains("sends more than 1 MiB") || error.contains("is not valid git protocol"),
        "{error}"
    );
}

#[test]
fn a_slow_server_is_given_up_in_the_end() {
    const TIME: Duration = Duration::from_millis(100);
    let mut web = Served::new(Kind::Web);
    let patient = web.place.limits;
    // It answers when the time is over, however fast the rest was, and slower hosts have none left before.
    let late = Fault::First(Arc::new(|| std::thread::sleep(TIME)));
    web.place.limits.listing = TIME;
    let error = web.refused(Step::Greeting, 0, late.clone());
    assert!(error.contains("was not done after 0.1 s"), "{error}");
    web.server.heal();
    web.place.limits = patient;
    web.place.limits.fetch = TIME;
    let error = web.refused(Step::Pack, 0, late);
    assert!(error.contains("was not done after 0.1 s"), "{error}");
    web.server.heal();
    web.place.limits = patient;
    web.recovers();
}

#[test]
fn packs_larger_than_allowed_are_given_up() {
    let mut web = Served::new(Kind::Web);
    web.place.limits.fetch_size = 600;
    let error = web.place.refused(&web.url, "branch=main");
    assert!(error.contains("sends more than"), "{error}");
}

#[test]
fn redirections_are_followed_only_to_web_servers() {
    let web = Served::new(Kind::Web);
    let query = "info/refs?service=git-upload-pack";
    // To another name of it, on another server.
    let other = Server::start(Kind::Web, &web.place.world.path(""));
    let to = format!("{}/{query}", other.url("linux"));
    for _ in 0..2 {
        web.server
            .fault(Step::Greeting, 0, Fault::Redirect(to.clone()));
    }
    web.place.built(&web.url, "branch=main");
    assert_eq!(
        (web.server.count(Step::Pack), other.count(Step::Pack)),
        (0, 1)
    );
    std::fs::remove_dir_all(web.place.world.path("cache")).unwrap();
    for to in [
        web.place.file(),
        "ext::sh -c true".to_owned(),
        "git://127.0.0.1:1/linux".to_owned(),
        String::new(),
    ] {
        let error = web.refused(Step::Greeting, 0, Fault::Redirect(to));
        assert!(error.contains("cannot be reached"), "{error}");
    }
    for _ in 0..9 {
        let to = format!("{}/{query}", web.url);
        web.server.fault(Step::Greeting, 0, Fault::Redirect(to));
    }
    let error = web.place.refused(&web.url, "branch=main");
    assert!(error.contains("redirect"), "{error}");
    // What was asked in full is not asked elsewhere.
    let to = format!("{}/git-upload-pack", other.url("linux"));
    let web = Served::new(Kind::Web);
    let error = web.refused(Step::Pack, 0, Fault::Redirect(to));
    assert!(error.contains("HTTP status 302"), "{error}");
}

#[test]
fn a_reference_that_moves_meanwhile_is_built_where_it_is() {
    for kind in [Kind::Web, Kind::Daemon] {
        let served = Served::new(kind);
        let before = served.place.id("HEAD");
        let tree = served.place.tree.clone();
        let moves = Fault::First(Arc::new(move || commit(&tree)));
        // Between the listing and the fetch.
        served.server.fault(Step::Greeting, 1, moves.clone());
        let (kernel, _) = served.place.built(&served.url, "branch=main");
        let now = served.place.id("HEAD");
        assert_ne!(now, before);
        let key = kernel.cache_key.unwrap();
        assert!(key.as_str().contains(&now[..7]), "{key}");
        assert_eq!(served.place.keys().len(), 1);
        // Each time.
        output(&served.place.tree, &["branch", "restless"]);
        git(&served.place.tree, &["checkout", "--quiet", "restless"]);
        served.place.commit();
        for _ in 0..20 {
            served.server.fault(Step::Greeting, 0, moves.clone());
        }
        let error = served.place.refused(&served.url, "branch=restless");
        assert!(error.contains("branch=restless keeps moving"), "{error}");
        assert_eq!(served.place.world.made("bzImage"), 1);
    }
}

#[test]
fn a_reference_that_is_gone_meanwhile_is_told() {
    let served = Served::new(Kind::Web);
    git(&served.place.tree, &["branch", "short-lived"]);
    let tree = served.place.tree.clone();
    let gone = Fault::First(Arc::new(move || {
        git(&tree, &["branch", "--quiet", "-D", "short-lived"]);
    }));
    served.server.fault(Step::Greeting, 1, gone);
    let error = served.place.refused(&served.url, "branch=short-lived");
    assert!(error.contains("short-lived"), "{error}");
    let error = served.place.refused(&served.url, "branch=short-lived");
    assert!(error.contains("has no branch short-lived"), "{error}");
}

#[test]
fn a_server_that_is_away_is_no_harm_to_what_is_cached() {
    let mut served = Served::new(Kind::Web);
    let patient = served.place.limits;
    let (first, _) = served.place.built(&served.url, "branch=main");
    let commit = served.place.id("HEAD");
    served.place.commit();
    for fault in [
        Fault::Status(503),
        Fault::Stall(0),
        Fault::Instead(b"<html>".to_vec()),
        Fault::Short(10),
    ] {
        if matches!(fault, Fault::Stall(_)) {
            served.place.limits.silence = Duration::from_millis(300);
        }
        served.server.lasting_fault(Step::Greeting, 0, fault);
        let (kernel, told) = served.place.built(&served.url, "branch=main");
        served.server.heal();
        served.place.limits = patient;
        assert_eq!(kernel.image, first.image);
        let told = told.all();
        let part = format!(
            "; cached `{}` is used, built ",
            first.cache_key.as_ref().unwrap()
        );
        assert!(
            told.contains(&part) && told.contains("from branch=main"),
            "{told}"
        );
    }
    // A commit needs no server at all; another branch does.
    let asked = served.server.count(Step::Greeting);
    served.place.built(&served.url, &format!("sha={commit}"));
    served
        .place
        .built(&served.url, &format!("sha={}", &commit[..7]));
    assert_eq!(served.server.count(Step::Greeting), asked);
    served.server.fault(Step::Greeting, 0, Fault::Status(503));
    let error = served.place.refused(&served.url, "branch=other");
    assert!(error.contains("503"), "{error}");
    // What the server says of itself counts.
    served.place.refused(&served.url, "tag=none");
    git(&served.place.tree, &["branch", "-M", "mainline"]);
    let error = served.place.refused(&served.url, "branch=main");
    assert!(
        error.contains("has no branch main (there is branch mainline"),
        "{error}"
    );
}
