//! Performance mode: what a machine's placement requires of KVM and the host, so that its CPUs behave like physical
//! ones.

use ktstr_core::CpuSet;
use kvm_bindings::{
    KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT, KVM_X86_DISABLE_EXITS_PAUSE,
    kvm_enable_cap,
};
use kvm_ioctls::{Kvm as Device, VmFd};

use super::affinity::{AffinityGuard, VcpuPin};
use super::memory::MemoryPolicy;
use crate::error::KvmError;
use crate::placement::{HostPlacement, Performance};
use crate::spec::MachineSpec;

/// The exits to turn off, so that a guest which halts or spins stays on its CPU.
const EXITS: u32 = KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE;

/// Moves the calling thread, and those that it will start, to the CPU of all threads but the vCPUs.
pub(super) fn confine(placement: &HostPlacement) -> Result<Option<AffinityGuard>, KvmError> {
    match placement {
        HostPlacement::Unpinned => Ok(None),
        HostPlacement::Affinity(cpus) => AffinityGuard::to(cpus).map(Some),
        HostPlacement::Dedicated(performance) => {
            AffinityGuard::to(&CpuSet::from_iter([performance.emulator_cpu])).map(Some)
        }
    }
}

/// The host CPU that each vCPU is pinned to; empty without pinning.
pub(super) fn pins(placement: &HostPlacement) -> Vec<VcpuPin> {
    let Some(performance) = placement.performance() else {
        return Vec::new();
    };
    let pin = |&cpu: &u32| VcpuPin {
        cpu,
        priority: performance.priority,
    };
    performance.vcpus.iter().map(pin).collect()
}

/// Requirements for guest memory.
pub(super) fn memory_policy(placement: &HostPlacement) -> MemoryPolicy<'_> {
    placement
        .performance()
        .map_or_else(MemoryPolicy::default, |performance| MemoryPolicy {
            hugepages: performance.hugepages,
            nodes: &performance.nodes,
        })
}

/// Checks that the placement fits the machine and that this KVM can keep a guest from exiting.
pub(super) fn check(device: &Device, spec: &MachineSpec) -> Result<(), KvmError> {
    let Some(performance) = spec.host_placement.performance() else {
        return Ok(());
    };
    shape(performance, spec)?;
    let offered = device.check_extension_raw(KVM_CAP_X86_DISABLE_EXITS.into());
    if u32::try_from(offered).unwrap_or(0) & EXITS == EXITS {
        return Ok(());
    }
    Err(refused(
        "guests that halt and spin without leaving their CPU",
        "KVM of this host does not offer it (KVM_CAP_X86_DISABLE_EXITS)".to_owned(),
        "use a newer host kernel",
    ))
}

fn shape(performance: &Performance, spec: &MachineSpec) -> Result<(), KvmError> {
    let wrong = |why: String| {
        let what = "the host CPUs and nodes of the machine";
        Err(refused(
            what,
            why,
            "give it one host CPU for each of its own",
        ))
    };
    let topology = spec.topology;
    let mut cpus: CpuSet = performance.vcpus.iter().copied().collect();
    if performance.vcpus.len() != topology.cpus() as usize {
        let count = performance.vcpus.len();
        return wrong(format!("{count} host CPUs for {topology}"));
    }
    if cpus.len() != performance.vcpus.len() || !cpus.insert(performance.emulator_cpu) {
        return wrong("one host CPU is there twice".to_owned());
    }
    if performance.nodes.len() > topology.numa_nodes() as usize {
        let count = performance.nodes.len();
        return wrong(format!("memory of {count} nodes for {topology}"));
    }
    if performance
        .nodes
        .iter()
        .flatten()
        .any(|&node| node > MAX_NODE)
    {
        return wrong(format!("a NUMA node beyond {MAX_NODE}"));
    }
    if !(1..=99).contains(&performance.priority) {
        return wrong(format!("a priority of {}", performance.priority));
    }
    Ok(())
}

/// Highest NUMA node of any kernel: `MAX_NUMNODES` of include/linux/numa.h, minus one.
const MAX_NODE: u32 = 1023;

/// Disables the exits of `vm` for halting and spinning; called before it has vCPUs.
pub(super) fn keep_in_guest(vm: &VmFd) -> Result<(), KvmError> {
    let mut capability = kvm_enable_cap {
        cap: KVM_CAP_X86_DISABLE_EXITS,
        ..kvm_enable_cap::default()
    };
    capability.args[0] = EXITS.into();
    vm.enable_cap(&capability)
        .map_err(KvmError::ioctl("KVM_ENABLE_CAP(KVM_CAP_X86_DISABLE_EXITS)"))
}

fn refused(what: &'static str, why: String, remedy: &'static str) -> KvmError {
    KvmError::Performance { what, why, remedy }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ktstr_core::Topology;

    use super::*;

    type Fault = (fn(&mut Performance), &'static str);

    fn performance() -> Performance {
        Performance {
            vcpus: vec![2, 3],
            emulator_cpu: 4,
            nodes: vec![BTreeSet::from([0])],
            hugepages: true,
            priority: 1,
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let spec = MachineSpec::new("none", Topology::constant(1, 1, 2, 1));
        let error = |change: fn(&mut Performance)| {
            let mut performance = performance();
            change(&mut performance);
            shape(&performance, &spec).map_err(|error| error.to_string())
        };
        assert_eq!(error(|_| {}), Ok(()));
        let faults: [Fault; 6] = [
            (|it| it.vcpus = vec![1], "1 host CPUs for"),
            (|it| it.vcpus = vec![3, 3], "twice"),
            (|it| it.emulator_cpu = 2, "twice"),
            (
                |it| it.nodes = vec![BTreeSet::new(); 2],
                "memory of 2 nodes",
            ),
            (|it| it.nodes = vec![BTreeSet::from([1024])], "beyond 1023"),
            (|it| it.priority = 100, "priority of 100"),
        ];
        for (change, expected) in faults {
            let error = error(change).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_part_gets_its_share() {
        let placement = HostPlacement::Dedicated(performance());
        let pin = VcpuPin {
            cpu: 3,
            priority: 1,
        };
        assert_eq!(pins(&placement)[1], pin);
        assert!(memory_policy(&placement).hugepages);
        let cpus = CpuSet::from_iter([0]);
        for placement in [HostPlacement::Unpinned, HostPlacement::Affinity(cpus)] {
            assert!(pins(&placement).is_empty());
            let policy = memory_policy(&placement);
            assert!(!policy.hugepages && policy.nodes.is_empty());
        }
    }
}
