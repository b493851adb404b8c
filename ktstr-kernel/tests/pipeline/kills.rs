//! Whoever resolves is killed, at each stage: nothing of it goes on, and what it left is swept.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use ktstr_kernel::{BaseConfig, BuildOptions, Cache, Event, KernelSpec, Progress, Resolver};

use crate::standin::{Told, World, fault, wait_until};

/// Tells a file, and goes no further, at the first event whose text starts as given.
struct HaltAt {
    event: String,
    reached: PathBuf,
}

impl Progress for HaltAt {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Started { stage, .. } => format!("started {stage}"),
            Event::Finished { stage, .. } => format!("finished {stage}"),
            _ => return,
        };
        if text == self.event {
            fs::write(&self.reached, "").unwrap();
            // Killed long before.
            sleep(Duration::from_secs(600));
        }
    }
}

/// Not a test by itself: the process that is killed.
#[test]
#[ignore = "run by the tests beside it"]
fn victim() {
    let Some(source) = std::env::var_os("KTSTR_VICTIM_SOURCE") else {
        return;
    };
    let world = PathBuf::from(std::env::var_os("KTSTR_VICTIM_WORLD").unwrap());
    let options = BuildOptions {
        base_config: BaseConfig::Lean,
        extra_kconfig: None,
        force: false,
        clean: false,
        jobs: 2,
        ccache: false,
        path: std::env::var_os("PATH").unwrap(),
    };
    let halt = HaltAt {
        event: std::env::var("KTSTR_VICTIM_HALT").unwrap(),
        reached: world.join("reached"),
    };
    let resolver = Resolver::new(Cache::new(world.join("cache")), options);
    let _ = resolver.resolve(&KernelSpec::Path(source.into()), &halt);
}

fn victim_of(world: &World, source: &Path, halt: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kills::victim", "--exact", "--ignored"])
        .env("KTSTR_VICTIM_SOURCE", source)
        .env("KTSTR_VICTIM_WORLD", world.path(""))
        .env("KTSTR_VICTIM_HALT", halt)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(victim: &mut Child, signal: &str) {
    let pid = victim.id().to_string();
    let killed = Command::new("kill")
        .args(["-s", signal, &pid])
        .status()
        .unwrap();
    assert!(killed.success());
    let status = victim.wait().unwrap();
    assert!(status.signal().is_some(), "{status}");
}

/// The process id in a file that a build wrote.
fn pid_in(path: &Path) -> PathBuf {
    let pid = fs::read_to_string(path).unwrap();
    Path::new("/proc").join(pid.trim())
}

/// Ended, even if its parent has not asked yet.
fn is_gone(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

#[test]
fn killed_at_each_stage_it_leaves_nothing_that_lasts() {
    let stages = [
        "started checking",
        "started unpacking",
        "finished unpacking",
        "started configuring",
        "finished compiling",
        "started storing",
        "finished storing",
    ];
    for stage in stages {
        let world = World::new();
        let tarball = world.tarball(&world.tree("linux"), "a.tar.gz");
        let mut victim = victim_of(&world, &tarball, stage);
        wait_until(stage, || world.path("reached").exists());
        kill(&mut victim, "KILL");
        let unpacked = !["started checking", "finished storing"].contains(&stage);
        assert!(!unpacked || !world.leftovers().is_empty(), "{stage}");
        let (kernel, told) = world.built(&tarball);
        assert!(kernel.image.is_file(), "{stage}");
        assert_eq!(
            told.is_silent_hit(),
            stage == "finished storing",
            "{stage}: {}",
            told.all()
        );
        // A hit sweeps nothing; there is nothing but the directory it was unpacked to.
        if !told.is_silent_hit() {
            assert_eq!(world.leftovers(), [""; 0], "{stage}");
        }
    }
}

#[test]
fn compilers_do_not_outlive_us() {
    for signal in ["KILL", "INT", "TERM"] {
        let world = World::new();
        let tree = world.git_tree("linux");
        fault(&tree, "hang");
        let mut victim = victim_of(&world, &tree, "");
        wait_until("a compiler runs", || tree.join("hanging").exists());
        let compiler = pid_in(&tree.join("hanging"));
        assert!(!is_gone(&compiler));
        kill(&mut victim, signal);
        wait_until("the compiler ends", || is_gone(&compiler));
        // The next build waits until the last of them is gone, and is not disturbed.
        fs::remove_file(tree.join("fault")).unwrap();
        assert!(world.built(&tree).0.cache_key.is_some());
        assert_eq!(world.leftovers(), [""; 0]);
    }
}

#[test]
fn a_killed_make_takes_its_compilers_along() {
    let world = World::new();
    let tree = world.git_tree("linux");
    fault(&tree, "orphan");
    let error = world
        .resolve(&tree, &Told::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("was killed by signal 9"), "{error}");
    assert!(is_gone(&pid_in(&tree.join("hanging"))));
}
