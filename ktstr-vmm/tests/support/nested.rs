//! A host with a real KVM, where this one's may be none: QEMU emulates a processor that has SVM with nested paging, and a
//! Linux with `kvm_amd` boots there.
//!
//! `KTSTR_TEST_NESTED_HOST` is the directory with that Linux, which `make test` gets (`scripts/distribution-kernel --kvm`); without it
//! tests that need it are skipped.
#![allow(
    dead_code,
    reason = "several targets include this, and none uses all of it"
)]

#[path = "../../src/arch/x86_64/tsc.rs"]
mod tsc;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ktstr_vmm::child::end_with_us;
use ktstr_vmm::initramfs::{Initramfs, Pack};
use rustix::process::Signal;

/// Against hanging only: software emulation of two levels, beside whatever else this machine does. Nextest's own limit
/// for these tests is a little longer.
fn limit() -> Duration {
    let set = std::env::var("KTSTR_TEST_NESTED_LIMIT_S").ok();
    Duration::from_secs(set.map_or(840, |seconds| seconds.parse().unwrap()))
}

/// How long a host may say nothing: one that stands still does so for ever. Each test in it tells when it ends, and the
/// longest takes a minute or two.
const SILENCE: Duration = Duration::from_secs(300);

/// What the host's init says last (`examples/nested_host.rs`).
const LAST_WORDS: &str = "nested host: ";

/// A host that is ended when dropped.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where cargo puts test programs.
fn deps() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    me.parent().unwrap().to_owned()
}

/// An example of this workspace.
pub(crate) fn example(name: &str) -> PathBuf {
    deps().parent().unwrap().join("examples").join(name)
}

/// The newest test program called `name` that is built from `source`, a path in the workspace: another package's may
/// have the same name.
pub(crate) fn test(name: &str, source: &str) -> PathBuf {
    let prefix = format!("{name}-");
    let rule = format!("{source}:");
    let found = fs::read_dir(deps()).unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let file = path.file_name()?.to_str()?;
        // Without an extension; beside it lies what it depends on.
        let is_program = file.starts_with(&prefix) && !file.contains('.');
        let depends = fs::read_to_string(path.with_extension("d"));
        let is_it = is_program && depends.ok()?.lines().any(|line| line == rule);
        is_it.then_some(path)
    });
    let age = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    let newest = found.max_by_key(age);
    newest.unwrap_or_else(|| panic!("{source} is not built: cargo build --workspace --all-targets"))
}

/// The kernel for the machines in the host.
pub(crate) fn kernel() -> PathBuf {
    let set = ["KTSTR_TEST_KERNEL", "KTSTR_KERNEL"].map(std::env::var_os);
    let path = set
        .into_iter()
        .flatten()
        .next()
        .expect("a kernel in KTSTR_KERNEL");
    PathBuf::from(path)
}

/// Runs `command` in the host, with the files it needs; gives what it said and whether it ended well.
///
/// The host has one CPU.
pub(crate) fn in_nested_host(
    linux: &Path,
    files: &[(PathBuf, &str)],
    command: &[&str],
) -> (String, bool) {
    in_nested_host_of(1, linux, files, command)
}

/// The host's kernel arguments.
///
/// On a busy machine, a calibration of the TSC is off by a factor: the host's clock runs that much faster than it should,
/// and every deadline in it strikes early. So its kernel is told the frequency, as kernels under test are.
fn arguments() -> String {
    let khz = tsc::frequency_khz();
    format!("console=ttyS0 panic=-1 quiet tsc=reliable no_timer_check tsc_early_khz={khz}")
}

/// Like [`in_nested_host`], with as many CPUs, each a core, on one last-level cache.
pub(crate) fn in_nested_host_of(
    cpus: u32,
    linux: &Path,
    files: &[(PathBuf, &str)],
    command: &[&str],
) -> (String, bool) {
    in_nested_host_with(cpus, &arguments(), linux, files, command)
}

/// Like [`in_nested_host`], for measurements: pages are cleared when they are freed.
///
/// QEMU emulates by translated code. Writing to a page of which it holds some takes a hundred times as long, and whoever
/// is given the memory of a guest that ran before pays for it: half a second for each 2 MiB of kernel text.
pub(crate) fn in_measuring_host(
    linux: &Path,
    files: &[(PathBuf, &str)],
    command: &[&str],
) -> (String, bool) {
    let arguments = format!("{} init_on_free=1", arguments());
    in_nested_host_with(1, &arguments, linux, files, command)
}

fn in_nested_host_with(
    cpus: u32,
    arguments: &str,
    linux: &Path,
    files: &[(PathBuf, &str)],
    command: &[&str],
) -> (String, bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = Initramfs::builder().init(example("nested_host")).inline(
        command.join("\n") + "\n",
        "/command",
        0o644,
    );
    for module in fs::read_dir(linux.join("modules")).unwrap() {
        let path = module.unwrap().path();
        let name = Path::new("/modules").join(path.file_name().unwrap());
        builder = builder.file(path, name, 0o644);
    }
    for (file, place) in files {
        builder = builder.executable(file, *place, Pack::Loadable);
    }
    let initramfs = builder.build().build_cached(dir.path()).unwrap();

    // One thread emulates one CPU most reliably. Of several it does not emulate the one that another waits for.
    let emulation = match cpus {
        1 => "tcg,thread=single",
        _ => "tcg,thread=multi",
    };
    let begin = Instant::now();
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
    ])
    .args(["-machine", "q35", "-accel", emulation])
    .args(["-cpu", "max,+svm,+npt", "-m", "3072"])
    .args(["-smp", &cpus.to_string()])
    .arg("-kernel")
    .arg(linux.join("vmlinuz"))
    .arg("-initrd")
    .arg(initramfs.path())
    .args(["-append", arguments])
    .args(["-serial", "stdio"])
    .stdin(Stdio::null())
    .stdout(Stdio::piped());
    // Whatever kills the tests ends the machine too.
    end_with_us(&mut qemu, Signal::KILL);
    let mut host = Host(qemu.spawn().expect("qemu-system-x86_64"));
    let output = BufReader::new(host.0.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // The receiver goes when it has heard enough.
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut said = String::new();
    let mut ended = None;
    let limit = limit();
    while let Some(left) = limit.checked_sub(begin.elapsed()) {
        let Ok(line) = lines.recv_timeout(left.min(SILENCE)) else {
            break;
        };
        println!("{line}");
        said.push_str(&line);
        said.push('\n');
        if let Some(how) = line.strip_prefix(LAST_WORDS) {
            ended = Some(how.trim() == "exit status: 0");
            break;
        }
    }
    drop(lines);
    drop(host);
    reader.join().unwrap();
    println!(
        "the nested host took {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    (said, ended.unwrap_or(false))
}

/// The directory with the host's Linux; nothing, and a word about it, where there is none.
pub(crate) fn linux() -> Option<PathBuf> {
    let dir = std::env::var_os("KTSTR_TEST_NESTED_HOST").filter(|dir| !dir.is_empty());
    if dir.is_none() {
        eprintln!("SKIP: KTSTR_TEST_NESTED_HOST is not set; `make test` sets it");
    }
    dir.map(PathBuf::from)
}
