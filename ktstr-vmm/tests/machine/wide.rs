//! Many CPUs, and APIC ids that do not fit eight bits.

use std::time::Duration;

use ktstr_core::{Preset, Topology};
use ktstr_vmm::{Backend, ExitReason, Machine, MachineError, MachineSpec};

use super::{Rig, Script, backend, backend_config};

/// Against hanging only: emulated, 64 CPUs take half a minute, and on a busy host several times that.
const LIMIT: Duration = Duration::from_secs(300);

/// The fewest CPUs whose ids go beyond 254: five threads, cores and packages have three bits each, so that the last of
/// them is 4 << 6 | 4 << 3 | 4.
const SPARSE: Topology = Topology::constant(5, 5, 5, 5);

type Line = (u8, Vec<u8>);

fn file(path: impl AsRef<str>) -> Line {
    (b'f', path.as_ref().as_bytes().to_vec())
}

/// What tells the surroundings of `cpu` in a guest, and what it has to say.
fn surroundings(topology: Topology, cpu: u32) -> Vec<(Line, String)> {
    let of = |name: &str| file(format!("/sys/devices/system/cpu/cpu{cpu}/{name}"));
    let llc = topology.llc_of(cpu);
    let node = topology.node_of(cpu);
    vec![
        (
            of("topology/thread_siblings_list"),
            topology.cpus_of_core(topology.core_of(cpu)).to_string(),
        ),
        (
            of("topology/package_cpus_list"),
            topology.cpus_of_llc(llc).to_string(),
        ),
        (of("topology/physical_package_id"), llc.to_string()),
        (
            of("cache/index3/shared_cpu_list"),
            topology.cpus_of_llc(llc).to_string(),
        ),
        (
            file(format!("/sys/devices/system/node/node{node}/cpulist")),
            topology.cpus_of_node(node).to_string(),
        ),
    ]
}

/// Boots it, sends `lines` and what asks for `expected`, and compares the answers to the latter.
fn compare(spec: MachineSpec, lines: Vec<Line>, expected: Vec<(Line, String)>) {
    let spec = MachineSpec {
        boot_deadline: LIMIT,
        deadline: LIMIT,
        ..spec
    };
    let machine = Machine::new(spec, backend_config()).unwrap();
    let (questions, declared): (Vec<Line>, Vec<String>) = expected.into_iter().unzip();
    let before = lines.len();
    let mut script = Script::new(lines.into_iter().chain(questions));
    let exit = machine.run(&mut script).unwrap();
    let console = String::from_utf8_lossy(&exit.console);
    assert_eq!(exit.reason, ExitReason::Stopped, "{console}");
    println!("{:?}", exit.timings);
    let seen: Vec<String> = script.answers[1 + before..]
        .iter()
        .map(|frame| String::from_utf8_lossy(&frame.payload).trim().to_owned())
        .collect();
    assert_eq!(seen, declared);
}

#[test]
fn all_of_64_cpus_come_up_where_they_were_declared() {
    let rig = Rig::new();
    let topology = Preset::by_name("64cpu-8llc-smt").unwrap().topology;
    let mut expected = vec![(
        file("/sys/devices/system/cpu/online"),
        topology.all_cpus().to_string(),
    )];
    for cpu in [0, 31, 63] {
        expected.extend(surroundings(topology, cpu));
    }
    compare(rig.spec(topology), Vec::new(), expected);
}

/// Of 125 CPUs the first comes up at boot, and then the last one, whose id is 292: the first processor wakes it by its
/// x2APIC, and the kernel knows it from the tables for wide ids alone.
#[test]
fn a_cpu_with_a_wide_apic_id_comes_up() {
    let rig = Rig::new();
    let last = SPARSE.cpus() - 1;
    let spec = MachineSpec {
        cmdline: vec!["maxcpus=1".to_owned()],
        ..rig.spec(SPARSE)
    };
    if backend() == Backend::Qemu {
        let error = Machine::new(spec, backend_config()).unwrap_err();
        assert!(
            matches!(error, MachineError::ApicIds { highest: 292, .. }),
            "{error}"
        );
        return;
    }
    let online = format!("/sys/devices/system/cpu/cpu{last}/online\n1");
    let expected = vec![
        (
            file("/sys/devices/system/cpu/present"),
            SPARSE.all_cpus().to_string(),
        ),
        (file("/sys/devices/system/cpu/online"), format!("0,{last}")),
        (
            file(format!(
                "/sys/devices/system/cpu/cpu{last}/topology/physical_package_id"
            )),
            "4".to_owned(),
        ),
    ];
    compare(spec, vec![(b'w', online.into_bytes())], expected);
}

/// The same machine with all of its CPUs.
#[test]
fn all_cpus_come_up_with_apic_ids_beyond_eight_bits() {
    if backend() == Backend::Qemu {
        // It refuses the machine, see above.
        return;
    }
    let rig = Rig::new();
    let mut expected = vec![(
        file("/sys/devices/system/cpu/online"),
        SPARSE.all_cpus().to_string(),
    )];
    for cpu in [0, 62, 124] {
        expected.extend(surroundings(SPARSE, cpu));
    }
    compare(rig.spec(SPARSE), Vec::new(), expected);
}
