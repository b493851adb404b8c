//! What every backend must do, with real kernels: boot, topology, channel, console, deadlines, ends.
//!
//! The guest's init is `examples/guest.rs`. The kernel is the one that `cargo ktstr test` sets in
//! `KTSTR_KERNEL` (or `KTSTR_TEST_KERNEL`, a path).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_core::host::Host;
use ktstr_core::{Preset, Topology};
use ktstr_vmm::initramfs::{Initramfs, PackedInitramfs};
use ktstr_vmm::{
    Backend, BackendConfig, ExitReason, Flow, Frame, InitExit, Machine, MachineExit, MachineSpec,
    Observer, Outbox, QemuConfig, find_qemu,
};

mod dead;
mod ends;
mod performance;
#[path = "../support/processes.rs"]
mod processes;
mod terminal;
mod wide;
use processes::children;

/// The backend under test: `KTSTR_BACKEND`, else QEMU, which runs everywhere. `tests/nested.rs` runs all of this on KVM.
fn backend() -> Backend {
    let set = std::env::var("KTSTR_BACKEND").ok();
    set.map_or(Backend::Qemu, |name| name.parse().unwrap())
}

/// The same with its options: the path of QEMU, which has its faster firmware found.
fn backend_config() -> BackendConfig {
    match backend() {
        Backend::Qemu => {
            let qemu = find_qemu(&Host::of_this_process());
            BackendConfig::Qemu(QemuConfig::new(qemu.unwrap_or_default()))
        }
        Backend::Kvm => Backend::Kvm.into(),
    }
}

const SMALL: Topology = Topology::constant(1, 1, 2, 1);

/// Against hanging only.
const LIMIT: Duration = Duration::from_secs(120);

fn kernel() -> PathBuf {
    let set = ["KTSTR_TEST_KERNEL", "KTSTR_KERNEL"].map(std::env::var_os);
    set.into_iter().flatten().map(PathBuf::from).next().expect(
        "no kernel: run these tests by `cargo ktstr test --kernel ID`, or set KTSTR_KERNEL to an image",
    )
}

fn guest() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let guest = me
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/guest");
    assert!(
        guest.exists(),
        "{} is missing: cargo build -p ktstr-vmm --examples",
        guest.display()
    );
    guest
}

struct Rig {
    initramfs: PackedInitramfs,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let initramfs = Initramfs::builder()
            .init(guest())
            .build()
            .build_cached(dir.path())
            .unwrap();
        Self {
            initramfs,
            _dir: dir,
        }
    }

    fn spec(&self, topology: Topology) -> MachineSpec {
        MachineSpec {
            initramfs: Some(self.initramfs.path().to_owned()),
            boot_deadline: LIMIT,
            deadline: LIMIT,
            ..MachineSpec::new(kernel(), topology)
        }
    }

    fn machine(&self) -> Machine {
        Machine::new(self.spec(SMALL), backend_config()).unwrap()
    }
}

/// Says one thing after another, each once the answer to the one before has come.
#[derive(Default)]
struct Script {
    lines: Vec<Frame>,
    answers: Vec<Frame>,
    console: usize,
}

impl Script {
    fn new(lines: impl IntoIterator<Item = (u8, Vec<u8>)>) -> Self {
        let frame = |(tag, payload)| Frame { tag, payload };
        let mut lines: Vec<Frame> = lines.into_iter().map(frame).collect();
        lines.reverse();
        Self {
            lines,
            ..Self::default()
        }
    }

    fn one(tag: u8) -> Self {
        Self::new([(tag, Vec::new())])
    }
}

impl Observer for Script {
    fn console(&mut self, bytes: &[u8]) {
        self.console += bytes.len();
    }

    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow {
        self.answers.push(frame);
        match self.lines.pop() {
            Some(line) => {
                outbox.send(&line);
                Flow::Continue
            }
            None => Flow::Stop,
        }
    }
}

/// Runs `script` in a small machine; nothing of it may be left afterwards.
fn run(mut script: Script) -> (MachineExit, Script) {
    let rig = Rig::new();
    let exit = rig.machine().run(&mut script).unwrap();
    assert_eq!(children(std::process::id()), BTreeSet::new());
    (exit, script)
}

#[test]
fn boots_answers_and_stops() {
    let (exit, script) = run(Script::new([(b'e', b"hello".to_vec())]));
    assert_eq!(exit.reason, ExitReason::Stopped);
    let tags: Vec<u8> = script.answers.iter().map(|frame| frame.tag).collect();
    assert_eq!(tags, [b'r', b'e']);
    assert_eq!(script.answers[1].payload, b"hello");
    let timings = exit.timings;
    assert!(timings.started <= timings.first_frame.unwrap());
    assert!(timings.first_frame.unwrap() <= timings.decided && timings.decided <= timings.end);
}

/// `KTSTR_TEST_CHANNEL_MIB` asks for less than 64 MiB, which take a minute in emulation of two levels.
#[test]
fn the_channel_carries_64_mib_both_ways_intact() {
    const CHUNK: usize = 4 << 20;
    let mib: usize = std::env::var("KTSTR_TEST_CHANNEL_MIB").map_or(64, |mib| mib.parse().unwrap());
    let chunks = (mib << 20) / CHUNK;
    // Each chunk differs from the others and within itself.
    let chunk = |seed: usize| -> Vec<u8> {
        (0..CHUNK)
            .map(|at| ((at * 31) ^ (at >> 9) ^ (seed * 77)) as u8)
            .collect()
    };
    let (exit, script) = run(Script::new((0..chunks).map(|seed| (b'e', chunk(seed)))));
    assert_eq!(exit.reason, ExitReason::Stopped);
    assert_eq!(script.answers.len(), chunks + 1);
    for (seed, answer) in script.answers[1..].iter().enumerate() {
        assert!(
            answer.payload == chunk(seed),
            "chunk {seed} came back changed"
        );
    }
}

/// `KTSTR_TEST_PRESET` asks for one preset only.
#[test]
fn cpus_and_nodes_are_as_declared() {
    let rig = Rig::new();
    let only = std::env::var("KTSTR_TEST_PRESET").ok();
    let presets = ["9cpu-3llc-nosmt", "8cpu-2llc-smt", "2numa-16cpu-4llc-nosmt"];
    let asked_for = |name: &&str| only.as_ref().is_none_or(|only| only == name);
    assert!(presets.iter().any(asked_for), "{only:?}");
    for name in presets.into_iter().filter(asked_for) {
        let topology = Preset::by_name(name).unwrap().topology;
        let file = |path: &str| (b'f', path.as_bytes().to_vec());
        let mut script = Script::new([
            file("/sys/devices/system/cpu/online"),
            file("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"),
            file("/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list"),
            file("/sys/devices/system/node/node0/cpulist"),
        ]);
        let machine = Machine::new(rig.spec(topology), backend_config()).unwrap();
        machine.run(&mut script).unwrap();
        let seen: Vec<String> = script.answers[1..]
            .iter()
            .map(|frame| String::from_utf8_lossy(&frame.payload).trim().to_owned())
            .collect();
        let declared = [
            topology.all_cpus(),
            topology.cpus_of_core(0),
            topology.cpus_of_llc(0),
            topology.cpus_of_node(0),
        ];
        assert_eq!(seen, declared.map(|cpus| cpus.to_string()), "{name}");
    }
}

/// Every byte is an exit from the guest, which is slow in emulation of two levels: 4500 KiB take twenty minutes and more there.
/// `KTSTR_TEST_CONSOLE_KIB` asks for less, of which all must come and be kept.
#[test]
fn a_long_console_is_bounded_and_keeps_both_ends() {
    let kib: usize =
        std::env::var("KTSTR_TEST_CONSOLE_KIB").map_or(4500, |kib| kib.parse().unwrap());
    let rig = Rig::new();
    let spec = MachineSpec {
        deadline: Duration::from_secs(3000),
        ..rig.spec(SMALL)
    };
    let mut script = Script::new([(b'c', kib.to_string().into_bytes())]);
    let machine = Machine::new(spec, backend_config()).unwrap();
    let exit = machine.run(&mut script).unwrap();
    assert_eq!(exit.reason, ExitReason::Stopped);
    assert!(script.console > kib << 10, "{}", script.console);
    if kib < 4000 {
        let text = String::from_utf8_lossy(&exit.console);
        let line = "x".repeat(1023);
        assert_eq!(text.lines().filter(|it| *it == line).count(), kib);
        println!("{kib} KiB: {:?}", exit.timings);
        return;
    }
    assert!(exit.console.len() < (5 << 20), "{}", exit.console.len());
    let text = String::from_utf8_lossy(&exit.console);
    assert!(text.contains("bytes left out"), "no note of the cut");
}

#[test]
fn each_end_of_a_guest_is_told() {
    let panicked = |exit: &MachineExit, words: &str| match &exit.reason {
        ExitReason::KernelPanic(panic) => {
            assert!(panic.message.contains(words) && panic.reset, "{panic:?}");
            panic.init
        }
        other => panic!("{other}"),
    };
    assert_eq!(run(Script::one(b'o')).0.reason, ExitReason::PoweredOff);
    assert_eq!(run(Script::one(b'b')).0.reason, ExitReason::Reset);
    let (exit, _) = run(Script::one(b'p'));
    assert_eq!(panicked(&exit, "sysrq triggered crash"), None);
    assert!(String::from_utf8_lossy(&exit.console).contains("Call Trace"));
    let init = panicked(&run(Script::one(b'x')).0, "Attempted to kill init");
    assert_eq!(init, Some(InitExit::Status(3)));
    let init = panicked(&run(Script::one(b'i')).0, "Attempted to kill init");
    assert_eq!(init, Some(InitExit::Signal(4)));
    assert!(matches!(
        run(Script::one(b'g')).0.reason,
        ExitReason::Garbled(_)
    ));
}

#[test]
fn a_triple_fault_is_a_reset() {
    let rig = Rig::new();
    let spec = MachineSpec {
        cmdline: vec!["reboot=t".to_owned()],
        ..rig.spec(SMALL)
    };
    let machine = Machine::new(spec, backend_config()).unwrap();
    assert_eq!(
        machine.run(&mut Script::one(b'b')).unwrap().reason,
        ExitReason::Reset
    );
}

#[test]
fn deadlines_end_a_silent_guest() {
    let rig = Rig::new();
    let soon = Duration::from_secs(8);
    let silent = MachineSpec {
        deadline: soon,
        ..rig.spec(SMALL)
    };
    let exit = Machine::new(silent, backend_config())
        .unwrap()
        .run(&mut Script::one(b's'))
        .unwrap();
    match &exit.reason {
        ExitReason::Deadline(activity) => {
            // A busy host may not get it that far.
            let ready = exit.timings.first_frame.is_some();
            assert_eq!(
                (activity.ready, activity.channel_silent.is_some()),
                (ready, ready)
            );
        }
        other => panic!("{other}"),
    }
    assert!(exit.timings.end >= soon);
    // No machine boots in that time.
    let stuck = MachineSpec {
        boot_deadline: Duration::from_nanos(1),
        ..rig.spec(SMALL)
    };
    let exit = Machine::new(stuck, backend_config())
        .unwrap()
        .run(&mut Script::default())
        .unwrap();
    match &exit.reason {
        ExitReason::BootDeadline(activity) => assert!(!activity.ready),
        other => panic!("{other}"),
    }
    assert_eq!(children(std::process::id()), BTreeSet::new());
}

#[test]
fn a_machine_without_init_says_why() {
    let rig = Rig::new();
    let spec = MachineSpec {
        initramfs: None,
        ..rig.spec(SMALL)
    };
    let exit = Machine::new(spec, backend_config())
        .unwrap()
        .run(&mut Script::default())
        .unwrap();
    match exit.reason {
        // Which of the two depends on whether the kernel knows block devices.
        ExitReason::KernelPanic(panic) => {
            let message = panic.message;
            assert!(
                message.contains("init") || message.contains("root fs"),
                "{message}"
            );
        }
        other => panic!("{other}"),
    }
}

/// `KTSTR_BOOTS=200 cargo test … -- --ignored boots_in_a_row` for another count.
#[test]
#[ignore = "takes minutes: 200 boots with 4 CPUs and 50 with 32"]
fn boots_in_a_row() {
    let rig = Rig::new();
    let boots: u32 = std::env::var("KTSTR_BOOTS").map_or(200, |count| count.parse().unwrap());
    for (topology, count) in [
        (Preset::by_name("4cpu-2llc-nosmt").unwrap().topology, boots),
        (
            Preset::by_name("32cpu-4llc-smt").unwrap().topology,
            boots / 4,
        ),
    ] {
        let machine = Machine::new(rig.spec(topology), backend_config()).unwrap();
        let mut times: Vec<Duration> = Vec::new();
        for boot in 0..count {
            let mut script = Script::one(b'e');
            let exit = machine.run(&mut script).unwrap();
            let console = String::from_utf8_lossy(&exit.console);
            assert_eq!(
                exit.reason,
                ExitReason::Stopped,
                "boot {boot} of {topology}:\n{console}"
            );
            assert_eq!(script.answers.len(), 2);
            times.push(exit.timings.end);
        }
        times.sort();
        println!(
            "{topology}: {count} boots, median {:?}, longest {:?}",
            times[times.len() / 2],
            times.last()
        );
        assert_eq!(children(std::process::id()), BTreeSet::new());
    }
}
