//! Performance mode.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ktstr_core::host::{HostCpus, Placement};
use ktstr_core::{CpuSet, Topology};
use ktstr_vmm::{
    Backend, ExitReason, Flow, Frame, HostPlacement, KvmError, Machine, MachineError, MachineSpec,
    Observer, Outbox, Performance,
};

use super::{Rig, backend, backend_config};

/// Looks at the threads of this process while a machine runs.
#[derive(Default)]
struct Pins(BTreeMap<String, (String, i32)>);

impl Observer for Pins {
    fn frame(&mut self, _: Frame, _: &mut Outbox) -> Flow {
        for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
            let text = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let status = text("status");
            let line = |name: &str| {
                let value = status.lines().find_map(|line| line.strip_prefix(name));
                value.unwrap_or_default().trim().to_owned()
            };
            // Field 41 of `stat`, counted from behind the name.
            let stat = text("stat");
            let policy = stat.rsplit(')').next().unwrap().split_whitespace().nth(38);
            let policy = policy.map_or(-1, |policy| policy.parse().unwrap());
            self.0
                .insert(line("Name:"), (line("Cpus_allowed_list:"), policy));
        }
        Flow::Stop
    }
}

/// Where the host has the CPUs for it; otherwise there is a reason why not. `KTSTR_TEST_HUGEPAGES=N` has the host make
/// N huge pages first.
#[test]
fn performance_mode_has_cpus_of_its_own_or_says_why_not() {
    const FIFO: i32 = 1;
    let rig = Rig::new();
    let host = HostCpus::read(Path::new("/")).unwrap();
    // Two where the host has them, and one beside.
    let cores = if host.allowed.len() > 2 { 2 } else { 1 };
    let shape = Topology::constant(1, 1, cores, 1);
    let on = |placement| {
        let host = MachineSpec {
            host_placement: placement,
            ..rig.spec(shape)
        };
        Machine::new(host, backend_config())
    };
    let first: CpuSet = host.allowed.iter().take(1).collect();
    let within = on(HostPlacement::Affinity(first.clone()));
    if backend() == Backend::Qemu {
        let error = within.unwrap_err().to_string();
        assert!(error.contains("needs KVM"), "{error}");
        return;
    }
    let mut pins = Pins::default();
    let exit = within.unwrap().run(&mut pins).unwrap();
    assert_eq!(exit.reason, ExitReason::Stopped);
    assert_eq!(pins.0["vcpu0"], (first.to_string(), 0));

    let pages = std::env::var("KTSTR_TEST_HUGEPAGES").ok();
    if let Some(pages) = &pages {
        fs::write("/proc/sys/vm/nr_hugepages", pages).unwrap();
    }
    let place = match Placement::candidates(&host, shape) {
        Ok(mut places) => places.swap_remove(0),
        Err(why) => {
            println!("{why}");
            assert!(!host.caches_known || host.allowed.len() < 2, "{why}");
            return;
        }
    };
    let placement = HostPlacement::Dedicated(Performance {
        vcpus: place.vcpus.clone(),
        emulator_cpu: place.service,
        nodes: place.nodes,
        hugepages: true,
        priority: 1,
    });
    let mut pins = Pins::default();
    let exit = match on(placement).unwrap().run(&mut pins) {
        Ok(exit) => exit,
        // No rights for real time.
        Err(why @ MachineError::Kvm(KvmError::Performance { .. })) => {
            println!("{why}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    println!("{:?} {:?} {:?}", pins.0, exit.timings, exit.diagnostics);
    assert!(pages.is_none() || exit.diagnostics.is_empty());
    assert_eq!(exit.reason, ExitReason::Stopped);
    for (number, cpu) in place.vcpus.iter().enumerate() {
        let pin = &pins.0[&format!("vcpu{number}")];
        assert_eq!(*pin, (cpu.to_string(), FIFO));
    }
    let others = pins
        .0
        .values()
        .filter(|(cpus, policy)| *policy == 0 && *cpus == place.service.to_string());
    // The thread that runs the machine and those of its devices.
    assert!(others.count() >= 2, "{:?}", pins.0);
    let after = HostCpus::read(Path::new("/")).unwrap();
    assert_eq!(after.allowed, host.allowed);
}
