//! A bare boot: QEMU as a person would start it, to a static init that says `INIT`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ktstr_vmm::initramfs::Initramfs;

/// How long `command` takes to print a line that contains `word`.
///
/// # Panics
/// When it does not.
pub fn until(mut command: Command, word: &str) -> Duration {
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

/// How long QEMU takes to get to the init of `initramfs` on one LLC of `cpus` CPUs.
pub fn boot(kernel: &Path, initramfs: &Path, cpus: u32) -> Duration {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-nodefaults",
        "-no-reboot",
        "-display",
        "none",
        "-accel",
        "tcg,thread=single",
    ])
    .arg("-smp")
    .arg(format!("{cpus},sockets=1,cores={cpus},threads=1"))
    .args(["-m", "256M", "-serial", "stdio", "-kernel"])
    .arg(kernel)
    .arg("-initrd")
    .arg(initramfs)
    .args(["-append", "console=ttyS0 quiet panic=-1"]);
    until(qemu, "INIT")
}

/// The init, built and packed in `dir`.
///
/// # Panics
/// When that does not work.
pub fn initramfs(dir: &Path) -> PathBuf {
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
