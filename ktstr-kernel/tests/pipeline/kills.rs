//! Whoever resolves is killed, at each stage: nothing of it goes on, and what it left is swept.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use ktstr_core::host::files::write_atomic;
use ktstr_core::host::{Host, lock_holders};
use ktstr_kernel::{
    BaseConfig, BuildOptions, Cache, Event, KernelSpec, Progress, Resolver, Toolchain,
};

use crate::standin::{Told, World, fault, wait_until};

/// Tells a file, and goes no further, at the first event whose text starts as given.
struct HaltAt {
    event: String,
    world: PathBuf,
}

/// Writes a file that has this process's id in its name.
fn tell(world: &Path, what: &str, text: &str) {
    let path = world.join(format!("{what}.{}", std::process::id()));
    write_atomic(&path, text.as_bytes()).unwrap();
}

impl Progress for HaltAt {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Waiting { key, holder } => {
                let holder = holder.map(|holder| holder.pid).unwrap_or_default();
                tell(&self.world, "waiting", &format!("{holder} {key}"));
                return;
            }
            Event::Started { stage, .. } => format!("started {stage}"),
            Event::Finished { stage, .. } => format!("finished {stage}"),
            _ => return,
        };
        if text == self.event {
            fs::write(self.world.join("reached"), "").unwrap();
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
        cpus: None,
        toolchain: Toolchain::default(),
        ccache: false,
        host: Host::of_this_process(),
        silence: BuildOptions::SILENCE,
    };
    let halt = HaltAt {
        event: std::env::var("KTSTR_VICTIM_HALT").unwrap(),
        world: world.clone(),
    };
    let resolver = Resolver::new(Cache::new(world.join("cache")), options);
    let resolved = resolver.resolve(&KernelSpec::Path(source.into()), &halt);
    let ending = match resolved {
        Ok(kernel) => kernel.image.display().to_string(),
        Err(error) => format!("error: {error}"),
    };
    tell(&world, "ended", &ending);
}

pub(crate) fn victim_of(world: &World, source: &Path, halt: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kills::victim", "--exact", "--ignored"])
        .env("KTSTR_VICTIM_SOURCE", source)
        .env("KTSTR_VICTIM_WORLD", world.path(""))
        .env("KTSTR_VICTIM_HALT", halt)
        .env("PATH", &world.options.host.path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) fn kill(victim: &mut Child, signal: &str) {
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
pub(crate) fn pid_in(path: &Path) -> PathBuf {
    let pid = fs::read_to_string(path).unwrap();
    Path::new("/proc").join(pid.trim())
}

/// Ended, even if its parent has not asked yet.
pub(crate) fn is_gone(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

/// Whether nobody is left that works in an unpacked tarball.
fn scratch_is_free(world: &World) -> bool {
    let dirs = fs::read_dir(world.path("cache/.scratch"))
        .into_iter()
        .flatten()
        .flatten();
    dirs.into_iter().all(|dir| {
        lock_holders(&dir.path(), Path::new("/"))
            .unwrap()
            .is_empty()
    })
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
fn killed_with_half_an_entry_it_leaves_none() {
    let mut world = World::new();
    let tree = world.git_tree("linux");
    let path = std::env::var_os("PATH").unwrap();
    // Hangs when the entry has all but the ELF kernel.
    world.options.host.path = world.with_program(
        "objcopy",
        &format!(
            "case $1 in --strip-debug) echo $$ > {0}.part; mv {0}.part {0}; sleep 600 ;; esac\nPATH=${{PATH#*:}} exec objcopy \"$@\"",
            world.path("stripping").display()
        ),
    );
    for source in [&tree, &world.tarball(&tree, "a.tar.gz")] {
        let mut victim = victim_of(&world, source, "");
        let stripping = world.path("stripping");
        wait_until("it stores", || stripping.exists());
        let objcopy = pid_in(&stripping);
        kill(&mut victim, "KILL");
        wait_until("its objcopy ends", || is_gone(&objcopy));
        wait_until("what ended it ends", || scratch_is_free(&world));
        fs::remove_file(&stripping).unwrap();
        let half = world.leftovers();
        let entry = half.iter().find(|name| !name.contains("scratch"));
        assert!(entry.is_some(), "{half:?}");
        let before = world.cache().list().unwrap();
        assert!(before.iter().all(|entry| entry.kernel().is_ok()));
        let with_hanging = std::mem::replace(&mut world.options.host.path, path.clone());
        assert!(world.built(source).0.cache_key.is_some());
        world.options.host.path = with_hanging;
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(world.cache().list().unwrap().len(), before.len() + 1);
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
