//! The part of `kvm` that runs on a host with KVM: our machines against QEMU's microvm, by turns.
//!
//! Takes a kernel, an initramfs whose init says `INIT` on the console, and QEMU's data directory; prints
//! `NAME VALUE` lines.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ktstr_benches::middle;
use ktstr_core::Topology;
use ktstr_vmm::{
    Backend, CancelToken, ExitReason, Flow, Frame, Machine, MachineSpec, Observer, Outbox,
};

/// Of each, by turns.
const ROUNDS: usize = 5;

const CPUS: Topology = Topology::constant(1, 1, 2, 1);
const MEMORY_MIB: u32 = 512;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initramfs, data] = &args[..] else {
        panic!("usage: kvm_inside KERNEL INITRAMFS QEMU-DATA");
    };
    let (mut ours, mut started, mut qemus) = (vec![], vec![], vec![]);
    let (mut extra, mut guest) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        qemus.push(qemu(kernel, initramfs, data));
        let run = machine(kernel, initramfs);
        ours.push(run.init);
        started.push(run.started);
        extra.push(run.extra_kib);
        guest.push(run.guest_kib);
    }
    println!("qemu_us {}", middle(qemus).as_micros());
    println!("ours_us {}", middle(ours).as_micros());
    println!("started_us {}", middle(started).as_micros());
    // The first machine takes most: what it frees is there for the next.
    println!("extra_kib {}", extra.into_iter().max().unwrap_or(0));
    println!("guest_kib {}", middle(guest));
}

struct Run {
    /// From the call to init's word.
    init: Duration,
    /// From the call until the guest's CPUs run.
    started: Duration,
    /// Memory of this process beyond the guest's, while the guest runs.
    extra_kib: u64,
    /// The guest's.
    guest_kib: u64,
}

/// Waits for init's word.
struct Watch {
    begin: Instant,
    said: Vec<u8>,
    init: Option<Duration>,
    before_kib: u64,
    extra_kib: u64,
    guest_kib: u64,
    enough: CancelToken,
}

impl Observer for Watch {
    fn console(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        if self.init.is_none() && self.said.windows(4).any(|word| word == b"INIT") {
            self.init = Some(self.begin.elapsed());
            let (all, guest) = resident_kib();
            self.extra_kib = (all - guest).saturating_sub(self.before_kib);
            self.guest_kib = guest;
            self.enough.cancel();
        }
    }

    fn frame(&mut self, _: Frame, _: &mut Outbox) -> Flow {
        Flow::Continue
    }
}

fn machine(kernel: &str, initramfs: &str) -> Run {
    let spec = MachineSpec {
        initramfs: Some(initramfs.into()),
        memory_mib: MEMORY_MIB,
        ..MachineSpec::new(kernel, CPUS)
    };
    let machine = Machine::new(spec, Backend::Kvm).expect("a machine");
    let mut watch = Watch {
        begin: Instant::now(),
        said: Vec::new(),
        init: None,
        before_kib: resident_kib().0,
        extra_kib: 0,
        guest_kib: 0,
        enough: machine.cancel_token(),
    };
    let exit = machine.run(&mut watch).expect("a run");
    let said = String::from_utf8_lossy(&exit.console);
    assert_eq!(exit.reason, ExitReason::Cancelled, "{said}");
    Run {
        init: watch.init.expect("init's word"),
        started: exit.timings.started,
        extra_kib: watch.extra_kib,
        guest_kib: watch.guest_kib,
    }
}

/// Resident memory of this process, in KiB: all of it, and the mapping that is the guest's.
fn resident_kib() -> (u64, u64) {
    let maps = fs::read_to_string("/proc/self/smaps").expect("/proc/self/smaps");
    let number = |line: &str| -> u64 {
        let digits = line.split_whitespace().nth(1).unwrap_or("0");
        digits.parse().unwrap_or(0)
    };
    let (mut all, mut guest, mut size) = (0, 0, 0);
    for line in maps.lines() {
        if line.starts_with("Size:") {
            size = number(line);
        } else if line.starts_with("Rss:") {
            all += number(line);
            if size >= u64::from(MEMORY_MIB) << 10 {
                guest += number(line);
            }
        }
    }
    (all, guest)
}

/// The same kernel and initramfs on QEMU's machine for that purpose, from the start of the program.
fn qemu(kernel: &str, initramfs: &str, data: &str) -> Duration {
    let begin = Instant::now();
    let mut qemu = Command::new("/qemu/qemu-system-x86_64");
    qemu.args(["-M", "microvm,accel=kvm,acpi=on,rtc=off"])
        .args([
            "-cpu",
            "host",
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
        ])
        .args(["-display", "none", "-smp", "2"])
        .args(["-m", &format!("{MEMORY_MIB}M"), "-L", data])
        .args(["-serial", "stdio", "-kernel", kernel, "-initrd", initramfs])
        .args(["-append", "console=ttyS0 panic=-1 pty.legacy_count=0 quiet"]);
    assert!(Path::new(data).is_dir(), "{data}");
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("QEMU starts");
    let output = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let came = lines.any(|line| line.contains("INIT"));
    let took = begin.elapsed();
    let _ = child.kill();
    let _ = child.wait();
    assert!(came, "QEMU's machine never came to its init");
    took
}
