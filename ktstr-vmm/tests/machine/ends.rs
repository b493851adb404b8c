//! Whatever ends a machine, nothing of it is left.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ktstr_vmm::{Backend, ExitReason, Flow, Frame, Machine, MachineSpec, Observer, Outbox};

use super::processes::{children, is_qemu};
use super::{LIMIT, Rig, SMALL, Script, backend, backend_config};

/// What the victim says once its guest has.
const READY: &str = "the guest is ready";

/// What this process has: descriptors, threads and mappings.
fn held() -> [usize; 3] {
    let entries = |dir| fs::read_dir(dir).unwrap().count();
    let mappings = fs::read_to_string("/proc/self/maps").unwrap();
    [
        entries("/proc/self/fd"),
        entries("/proc/self/task"),
        mappings.lines().count(),
    ]
}

/// Pages of this process's own that are in memory, in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Where KVM tells of its machines, to root: a directory each, `TID-FD` of the thread that made it.
const VMS: &str = "/sys/kernel/debug/kvm";

/// Machines that threads of process `pid` made; nothing where KVM does not tell.
fn vms(pid: u32) -> BTreeSet<String> {
    let names = |dir: &str| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let threads: BTreeSet<String> = names(&format!("/proc/{pid}/task")).collect();
    let is_its = |name: &String| {
        name.split_once('-')
            .is_some_and(|(thread, _)| threads.contains(thread))
    };
    names(VMS).filter(is_its).collect()
}

/// A process that is killed at the latest when dropped.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether that process has a thread called `name`.
fn has_thread(pid: u32, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().any(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

/// Does something at the first word on the console, and lets the guest be silent.
struct AtFirstWord<F: FnMut()>(Option<F>);

impl<F: FnMut()> Observer for AtFirstWord<F> {
    fn console(&mut self, _: &[u8]) {
        if let Some(mut action) = self.0.take() {
            action();
        }
    }

    fn frame(&mut self, _: Frame, outbox: &mut Outbox) -> Flow {
        outbox.send(&Frame {
            tag: b's',
            payload: Vec::new(),
        });
        Flow::Continue
    }
}

/// Says when the guest has spoken, and lets it be silent.
struct Silence<F: FnMut()>(F);

impl<F: FnMut()> Observer for Silence<F> {
    fn frame(&mut self, _: Frame, outbox: &mut Outbox) -> Flow {
        outbox.send(&Frame {
            tag: b's',
            payload: Vec::new(),
        });
        (self.0)();
        Flow::Continue
    }
}

/// The guest says nothing then and nothing is due for an hour: what ends the run is that somebody cancelled it.
#[test]
fn cancelling_ends_it_while_it_boots_and_while_it_runs() {
    let rig = Rig::new();
    for booted in [false, true] {
        let spec = MachineSpec {
            boot_deadline: Duration::from_secs(3600),
            deadline: Duration::from_secs(3600),
            ..rig.spec(SMALL)
        };
        let machine = Machine::new(spec, backend_config()).unwrap();
        let token = machine.cancel_token();
        let (tell, heard) = mpsc::channel();
        let exit = thread::scope(|scope| {
            scope.spawn(move || {
                if heard.recv().is_ok() {
                    token.cancel();
                }
            });
            if booted {
                // From another thread, while this one waits.
                let exit = machine.run(&mut Silence(|| {
                    let _ = tell.send(());
                }));
                drop(tell);
                exit
            } else {
                machine.cancel_token().cancel();
                drop(tell);
                machine.run(&mut Script::one(b's'))
            }
        });
        let exit = exit.unwrap();
        assert_eq!(exit.reason, ExitReason::Cancelled);
        assert_eq!(exit.timings.first_frame.is_some(), booted);
        assert_eq!(children(std::process::id()), BTreeSet::new());
        assert!(vms(std::process::id()).is_empty());
    }
}

#[test]
fn a_backend_that_died_is_told() {
    let rig = Rig::new();
    let kill = || {
        let child = *children(std::process::id()).first().expect("QEMU");
        let pid = rustix::process::Pid::from_raw(child.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    // While it boots: the guest would have more to say.
    let talkative = MachineSpec {
        cmdline: vec!["loglevel=7".to_owned()],
        ..rig.spec(SMALL)
    };
    let machine = Machine::new(talkative, backend_config()).unwrap();
    let exit = machine.run(&mut AtFirstWord(Some(kill))).unwrap();
    match exit.reason {
        ExitReason::Crashed(why) => assert!(why.contains("killed by SIGKILL"), "{why}"),
        other => panic!("{other}"),
    }
}

/// The process that runs machines is killed, while its machine boots and while it runs: the machine must go with it.
#[test]
fn a_killed_process_takes_its_machine_along() {
    for booted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        // This test binary again, to be killed: it runs `the_victim` below.
        let victim = Command::new(std::env::current_exe().unwrap())
            .args(["the_victim", "--ignored", "--test-threads=1", "--nocapture"])
            // What it leaves there goes with the directory.
            .env("TMPDIR", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut victim = Victim(victim);
        let pid = victim.0.id();
        let begin = Instant::now();
        let qemu = loop {
            assert!(begin.elapsed() < LIMIT, "the victim started no machine");
            match backend() {
                Backend::Qemu => {
                    let running = children(pid);
                    if let Some(&pid) = running.iter().find(|pid| is_qemu(**pid)) {
                        break Some(pid);
                    }
                }
                Backend::Kvm if has_thread(pid, "vcpu0") => break None,
                Backend::Kvm => {}
            }
            thread::sleep(Duration::from_millis(20));
        };
        let listener = booted.then(|| wait_until_ready(&mut victim.0));
        let vms = vms(pid);
        if backend() == Backend::Kvm && fs::read_dir(VMS).is_ok() {
            assert_eq!(vms.len(), 1);
        }
        drop(victim);
        listener.map(JoinHandle::join).transpose().unwrap();
        let killed = Instant::now();
        while qemu.is_some_and(is_qemu) || vms.iter().any(|vm| Path::new(VMS).join(vm).exists()) {
            assert!(killed.elapsed() < LIMIT, "the machine outlives its process");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    }
}

/// Waits until its guest speaks; the thread ends when the victim does.
fn wait_until_ready(victim: &mut Child) -> JoinHandle<()> {
    let output = BufReader::new(victim.stdout.take().unwrap());
    let (tell, heard) = mpsc::channel();
    let listener = thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if line.contains(READY) {
                let _ = tell.send(());
            }
        }
    });
    heard
        .recv_timeout(LIMIT)
        .expect("the victim's guest speaks");
    listener
}

#[test]
#[ignore = "runs as the victim of a_killed_process_takes_its_machine_along"]
fn the_victim() {
    let rig = Rig::new();
    let mut silence = Silence(|| println!("{READY}"));
    rig.machine().run(&mut silence).unwrap();
}

#[test]
fn ten_runs_of_one_machine_leave_nothing() {
    let rig = Rig::new();
    let machine = rig.machine();
    let run = || {
        let exit = machine.run(&mut Script::one(b'e')).unwrap();
        assert_eq!(exit.reason, ExitReason::Stopped);
    };
    (0..2).for_each(|_| run());
    let (before, kib) = (held(), resident_kib());
    (2..10).for_each(|_| run());
    let more = resident_kib().saturating_sub(kib);
    println!("{more} KiB more after ten runs than after two");
    // The kernel may take a moment to forget a thread that was joined.
    let begin = Instant::now();
    while held() != before && begin.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(held(), before);
    // A machine has 256 MiB, and a vCPU three pages that it shares with the kernel.
    assert!(more <= 64, "{more} KiB");
    assert_eq!(children(std::process::id()), BTreeSet::new());
    assert!(vms(std::process::id()).is_empty());
}
