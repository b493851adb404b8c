//! Whoever resolves is killed, or is one of many.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_kernel::progress::{Event, Progress};
use ktstr_kernel::{Cache, KernelSpec, Resolver};

use crate::server::{Fault, Kind, Server, Step};
use crate::standin::{World, git, wait_until};
use crate::world::{Place, told};

/// Notes what is told in a file; goes no further at the first event whose text starts as given.
struct Halting {
    at: String,
    notes: PathBuf,
}

impl Progress for Halting {
    fn event(&self, event: Event<'_>) {
        let text = told(&event);
        if text.starts_with("waiting ") {
            fs::write(self.notes.with_extension("waiting"), "").unwrap();
        }
        if !self.at.is_empty() && text.starts_with(&self.at) {
            fs::write(&self.notes, "").unwrap();
            // Killed long before.
            sleep(Duration::from_secs(600));
        }
    }
}

/// Not a test by itself: the process that is killed, or waits.
#[test]
#[ignore = "run by the tests beside it"]
fn victim() {
    let Some(source) = std::env::var_os("KTSTR_VICTIM_SOURCE") else {
        return;
    };
    let text = |name: &str| std::env::var(name).unwrap();
    let mut options = World::new().options;
    options.force = text("KTSTR_VICTIM_FORCE") == "1";
    let halting = Halting {
        at: text("KTSTR_VICTIM_HALT"),
        notes: text("KTSTR_VICTIM_NOTES").into(),
    };
    let spec = KernelSpec::parse(source.to_str().unwrap(), &Host::default()).unwrap();
    let resolver = Resolver::new(Cache::new(text("KTSTR_VICTIM_CACHE")), options);
    resolver.resolve(&spec, &halting).unwrap();
}

fn victim_of(place: &Place, source: &str, halt: &str, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kills::victim", "--exact", "--ignored"])
        .env("KTSTR_VICTIM_SOURCE", format!("git+{source}"))
        .env("KTSTR_VICTIM_CACHE", place.world.path("cache"))
        .env("KTSTR_VICTIM_HALT", halt)
        .env("KTSTR_VICTIM_FORCE", if place.force { "1" } else { "0" })
        .env("KTSTR_VICTIM_NOTES", place.world.path(name))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_at_each_stage_it_leaves_nothing_that_lasts() {
    for stage in [
        "fetching ",
        "fetched ",
        "started checking out",
        "finished checking out",
        "started configuring",
        "finished configuring",
        "started compiling",
        "finished compiling",
        "started storing",
        "finished storing",
    ] {
        let place = Place::new();
        let source = format!("{}#branch=main", place.file());
        let mut victim = victim_of(&place, &source, stage, "reached");
        wait_until(stage, || {
            assert!(victim.try_wait().unwrap().is_none(), "{stage}: it ended");
            place.world.path("reached").exists()
        });
        victim.kill().unwrap();
        victim.wait().unwrap();
        let is_stored = stage == "finished storing";
        assert!(is_stored || !place.world.leftovers().is_empty(), "{stage}");
        assert_eq!(place.keys().len(), usize::from(is_stored), "{stage}");
        let (kernel, told) = place.resolve(&place.file(), "branch=main");
        let kernel = kernel.unwrap_or_else(|error| panic!("{stage}: {error}"));
        assert!(kernel.image.is_file());
        assert_eq!(told.is_silent_hit(), is_stored, "{stage}: {}", told.all());
        if !is_stored {
            assert_eq!(place.world.leftovers(), [""; 0], "{stage}");
        }
    }
}

#[test]
fn killed_amid_a_fetch_it_leaves_nothing_that_lasts() {
    for kind in [Kind::Web, Kind::Daemon] {
        let place = Place::new();
        let server = Server::start(kind, &place.world.path(""));
        let url = server.url("linux");
        // Amid the pack, and amid its listing.
        let (step, count) = match kind {
            Kind::Web | Kind::OldWeb => (Step::Pack, 1),
            Kind::Daemon => (Step::Greeting, 2),
        };
        server.fault(step, count - 1, Fault::Hold(700));
        let source = format!("{url}#branch=main");
        let mut victim = victim_of(&place, &source, "", "reached");
        wait_until("it fetches", || server.count(step) == count);
        wait_until("it has begun", || !place.world.leftovers().is_empty());
        wait_until("it has a part", || server.is_holding());
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(place.keys().is_empty());
        server.release();
        place.built(&url, "branch=main");
        assert_eq!((place.keys().len(), place.world.made("bzImage")), (1, 1));
    }
}

#[test]
fn a_killed_fetch_takes_upload_pack_along() {
    let mut place = Place::new();
    // A git that listens and says nothing, and tells its process id.
    let bin = place.world.path("bin");
    fs::create_dir(&bin).unwrap();
    let pid = place.world.path("pid");
    let script = format!(
        "#!/bin/sh\necho $$ > {0}.part\nmv {0}.part {0}\ncat > /dev/null\n",
        pid.display()
    );
    fs::write(bin.join("git"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("git"), mode).unwrap();
    let path = std::env::join_paths([bin.clone(), "/usr/bin".into(), "/bin".into()]).unwrap();
    let is_gone = || {
        let pid = fs::read_to_string(&pid).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim()));
        let status = status.unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    };
    // Given up, it is ended.
    place.world.options.host.path.clone_from(&path);
    place.limits.silence = Duration::from_millis(150);
    while !pid.exists() {
        // Once more where a busy host did not even start it in that time.
        place.limits.silence *= 2;
        let error = place.refused(&place.file(), "branch=main");
        assert!(error.contains("has said nothing"), "{error}");
    }
    assert!(is_gone());
    // Killed with us too.
    fs::remove_file(&pid).unwrap();
    let source = format!("{}#branch=main", place.file());
    let mut victim = Command::new(std::env::current_exe().unwrap());
    let mut victim = victim
        .args(["kills::victim", "--exact", "--ignored"])
        .env("PATH", &path)
        .env("KTSTR_VICTIM_SOURCE", format!("git+{source}"))
        .env("KTSTR_VICTIM_CACHE", place.world.path("cache"))
        .env("KTSTR_VICTIM_HALT", "")
        .env("KTSTR_VICTIM_FORCE", "0")
        .env("KTSTR_VICTIM_NOTES", place.world.path("notes"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("git runs", || pid.exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("git ends", is_gone);
}

#[test]
fn of_many_processes_one_fetches_and_builds() {
    for count in [2, 8] {
        let place = Place::new();
        git(&place.tree, &["tag", "v6.99.1"]);
        let server = Server::start(Kind::Web, &place.world.path(""));
        server.fault(Step::Pack, 0, Fault::Hold(300));
        // By different names of one commit, and over another way.
        let commit = place.id("HEAD");
        let web = server.url("linux");
        let names = [
            format!("{web}#branch=main"),
            format!("{web}#tag=v6.99.1"),
            format!("{web}#sha={commit}"),
            format!("{}#branch=main", place.file()),
        ];
        let mut first = victim_of(&place, &names[0], "", "first");
        wait_until("the first fetches", || server.count(Step::Pack) == 1);
        let mut others: Vec<Child> = (1..count)
            .map(|n| victim_of(&place, &names[n % 4], "", &format!("other{n}")))
            .collect();
        wait_until("the others wait", || {
            (1..count).all(|n| place.world.path(&format!("other{n}.waiting")).exists())
        });
        server.release();
        assert!(first.wait().unwrap().success());
        for other in &mut others {
            assert!(other.wait().unwrap().success());
        }
        assert_eq!(
            (server.count(Step::Pack), place.world.made("bzImage")),
            (1, 1)
        );
        assert_eq!(place.keys().len(), 1);
        assert_eq!(place.world.leftovers(), [""; 0]);
    }
}

#[test]
fn who_waits_for_a_killed_one_goes_on() {
    let place = Place::new();
    let server = Server::start(Kind::Web, &place.world.path(""));
    server.fault(Step::Pack, 0, Fault::Hold(300));
    let source = format!("{}#branch=main", server.url("linux"));
    let mut first = victim_of(&place, &source, "", "first");
    wait_until("the first fetches", || server.count(Step::Pack) == 1);
    let mut second = victim_of(&place, &source, "", "second");
    wait_until("the second waits", || {
        place.world.path("second.waiting").exists()
    });
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap().success());
    assert_eq!((place.keys().len(), place.world.made("bzImage")), (1, 1));
    assert_eq!(place.world.leftovers(), [""; 0]);
}
