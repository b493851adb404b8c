//! Who holds which lock.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use ktstr_core::host::{LockFile, LockMode};

use crate::place::{Place, cargo_ktstr, command, ktstr, text};

/// A process that holds `lock` until it is killed.
struct Holder(Child);

impl Holder {
    fn start(lock: &std::path::Path, flag: &str) -> Self {
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        let mut flock = command("flock");
        flock.arg(flag).arg("-F").arg(lock);
        // `cat` reads from us, and so does not outlive us.
        let script = "echo held; exec cat";
        flock.args(["sh", "-c", script, "a\u{1b}holder"]);
        flock.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = flock.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lock_dir(place: &Place) -> PathBuf {
    place.dir().join("../locks")
}

#[test]
fn holders_are_told_until_they_die() {
    let place = Place::new();
    let none = text(&place.run(cargo_ktstr().arg("locks")).stdout);
    assert_eq!(none.matches("  no locks\n").count(), 3, "{none}");
    assert!(none.starts_with("host CPU locks: "), "{none}");

    let runs = place.dir().join("target/ktstr/.locks/6.12-abc.lock");
    let cache = place.cache().locks_dir().join("6.12.9-key.lock");
    let cpu = lock_dir(&place).join("ktstr-cpu-3.lock");
    let holder = Holder::start(&cpu, "--exclusive");
    let pid = holder.0.id();
    let _run = Holder::start(&runs, "--shared");
    let _same_run = LockFile::try_acquire(&runs, LockMode::Shared)
        .unwrap()
        .unwrap();
    for free in ["cpu-4", "cpu-5", "emulator-0", "emulator-1"] {
        let path = lock_dir(&place).join(format!("ktstr-{free}.lock"));
        drop(
            LockFile::try_acquire(&path, LockMode::Shared)
                .unwrap()
                .unwrap(),
        );
    }
    drop(LockFile::try_acquire(&cache, LockMode::Exclusive).unwrap());

    let output = place.run(cargo_ktstr().arg("locks"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let line = format!("  CPU 3\n    exclusive  {pid:>7}  cat\n");
    assert!(shown.contains(&line), "{shown}");
    assert!(shown.contains("  CPU 4-5: free\n"), "{shown}");
    assert!(shown.contains("  QEMU slots 0-1: free\n"), "{shown}");
    assert!(shown.contains("  6.12.9-key: free\n"), "{shown}");
    assert_eq!(shown.matches("    shared ").count(), 2, "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");

    let json = |mut command: std::process::Command| -> serde_json::Value {
        let output = place.run(command.args(["locks", "--json"]));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let value = json(ktstr());
    assert_eq!(value, json(cargo_ktstr()));
    let locks = value["locks"].as_array().unwrap();
    let of = |name: &str| locks.iter().find(|lock| lock["name"] == name).unwrap();
    let held = of("ktstr-cpu-3");
    assert_eq!(held["kind"], "cpu");
    assert_eq!(held["number"], 3);
    assert_eq!(held["holders"][0]["pid"], pid);
    assert_eq!(held["holders"][0]["mode"], "exclusive");
    assert_eq!(held["holders"][0]["command"][0], "cat");
    assert!(of("6.12.9-key")["holders"].as_array().unwrap().is_empty());

    // Killed, not asked: the kernel gives its lock back.
    drop(holder);
    let shown = text(&place.run(ktstr().arg("locks")).stdout);
    assert!(shown.contains("  CPU 3-5: free\n"), "{shown}");
}

#[test]
fn long_command_lines_are_cut_and_whole_in_json() {
    let place = Place::new();
    let path = lock_dir(&place).join("ktstr-llc-0.lock");
    std::fs::create_dir_all(lock_dir(&place)).unwrap();
    let word = "x".repeat(200);
    let mut flock = command("flock");
    flock.arg("-F").arg(&path);
    flock.args(["sh", "-c", "echo held; read end", "\u{1b}[31m", &word]);
    flock.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = flock.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let _holder = Holder(child);
    let shown = text(&place.run(ktstr().arg("locks")).stdout);
    assert!(shown.contains("LLC 0\n    exclusive"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let wide = shown
        .lines()
        .filter(|line| !line.starts_with(|c: char| c.is_alphabetic()))
        .find(|line| line.chars().count() > 80);
    assert_eq!(wide, None);
    assert!(shown.contains("...\n"), "{shown}");
    let json = text(&place.run(ktstr().args(["locks", "--json"])).stdout);
    assert!(json.contains(&word), "{json}");
}

#[test]
fn watching_goes_on_until_nobody_reads() {
    let place = Place::new();
    let mut watch = ktstr();
    watch
        .args(["locks", "--json", "--watch", "100ms"])
        .current_dir(place.dir())
        .env("KTSTR_LOCK_DIR", lock_dir(&place))
        .env("KTSTR_CACHE_DIR", place.cache().root())
        .env("KTSTR_SIDECAR_DIR", place.dir().join("runs/one"))
        .stdout(Stdio::piped());
    let mut child = watch.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert!(next()["locks"].as_array().unwrap().is_empty());
    let path = lock_dir(&place).join("ktstr-emulator-0.lock");
    let _held = LockFile::try_acquire(&path, LockMode::Exclusive).unwrap();
    let held = (0..600).map(|_| next()).find(|value| {
        let holders = &value["locks"][0]["holders"][0];
        holders["pid"] == std::process::id()
    });
    assert!(held.is_some());
    drop(lines);
    assert!(child.wait().unwrap().success());
}
