//! From `cargo ktstr test`, everything built, to the first instruction of the test body, against a bare
//! QEMU boot of the same kernel to a static init.
//!
//! Both are timed from the start of the process to a line of output: `BODY` from the test, `INIT` from the
//! init. They take turns, so that a busy host slows both.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ktstr_benches::{cargo_in, figure, kernel, make_user_project, ms, workspace};
use ktstr_vmm::Initramfs;

/// Runs of each.
const ROUNDS: usize = 15;

fn main() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    make_user_project(dir.path()).expect("a project");
    let kernel = kernel();
    let tool = build_tool();
    let initramfs = bare_initramfs(dir.path());
    let ktstr = || {
        let mut command = Command::new(&tool);
        command
            .args(["ktstr", "test", "--kernel"])
            .arg(&kernel)
            .args(["--", "--no-capture"]);
        command
            .current_dir(dir.path())
            .env("CARGO_TARGET_DIR", dir.path().join("target"));
        until(command, "BODY")
    };
    // Builds the project and fills the caches.
    let built = cargo_in(dir.path())
        .args(["nextest", "run", "--no-run"])
        .status();
    assert!(built.expect("cargo runs").success());
    ktstr();

    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(until(qemu(&kernel, &initramfs), "INIT"));
        ours.push(ktstr());
    }
    let middle = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (ours, bare) = (middle(&mut ours), middle(&mut bare));
    figure("bare QEMU boot to a static init", &ms(bare), "-");
    figure(
        "cargo ktstr test to the first instruction of the body",
        &ms(ours),
        "-",
    );
    let ratio = format!("{:.2} x", ours.as_secs_f64() / bare.as_secs_f64());
    figure("ratio", &ratio, "1.15 x");
}

/// How long `command` takes to print a line that contains `word`; then it is ended.
fn until(mut command: Command, word: &str) -> Duration {
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stderr = child.stderr.take().expect("a pipe");
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let said = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(word)));
    let took = begin.elapsed();
    if word == "INIT" {
        let _ = child.kill();
    }
    let _ = child.wait();
    let complaints = complaints.join().unwrap_or_default();
    assert!(said.is_some(), "`{word}` never came:\n{complaints}");
    took
}

/// What a person would type, for the machine that the test declares by default.
fn qemu(kernel: &Path, initramfs: &Path) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-nodefaults",
        "-no-reboot",
        "-display",
        "none",
        "-accel",
        "tcg,thread=single",
    ])
    .args([
        "-smp",
        "2,sockets=1,cores=2,threads=1",
        "-m",
        "256M",
        "-serial",
        "stdio",
        "-kernel",
    ])
    .arg(kernel)
    .arg("-initrd")
    .arg(initramfs)
    .args(["-append", "console=ttyS0 quiet panic=-1"]);
    qemu
}

fn bare_initramfs(dir: &Path) -> PathBuf {
    let init = dir.join("bare-init");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/init.c");
    let gcc = Command::new("gcc")
        .args(["-O2", "-static", "-nostdlib", "-o"])
        .args([&init, &source])
        .status();
    assert!(gcc.expect("gcc runs").success());
    let archive = dir.join("bare.cpio");
    let mut file = std::fs::File::create(&archive).expect("a file");
    Initramfs::builder()
        .init(init)
        .build()
        .write(&mut file)
        .expect("an archive");
    archive
}

fn build_tool() -> PathBuf {
    let workspace = workspace();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = workspace.join("target");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "-p", "cargo-ktstr"])
        .current_dir(&workspace)
        .env("CARGO_TARGET_DIR", &target)
        .status();
    assert!(status.expect("cargo runs").success());
    target.join("release/cargo-ktstr")
}
