//! Which CPUs of a machine stand for those of a topology.

use ktstr_core::host::{HostCpus, HostLlc};
use ktstr_core::{CpuSet, Topology};

/// CPUs and NUMA nodes of the machine, one for each of the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// By number of the CPU in the topology.
    pub(super) vcpus: Vec<u32>,
    /// By number of the node in the topology.
    pub(super) nodes: Vec<u32>,
    /// All of the CPUs.
    pub(super) cpus: CpuSet,
}

/// CPUs of the shape `topology` on `machine`; `None` where it has none.
///
/// Each LLC of the topology is one of the machine, with as many cores of as many threads or more; each NUMA node is one
/// of the machine, with as many such LLCs or more. The check in the `.run`'s script is the same.
pub(super) fn choose(machine: &HostCpus, topology: Topology) -> Option<Chosen> {
    let fitting: Vec<(u32, Vec<u32>)> = machine
        .llcs
        .iter()
        .filter_map(|llc| Some((node_of(machine, llc), cpus_of(llc, topology)?)))
        .collect();
    let mut numbers: Vec<u32> = fitting.iter().map(|(node, _)| *node).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let llcs = topology.llcs_per_node() as usize;
    let on = |node: u32| fitting.iter().filter(move |(it, _)| *it == node);
    let nodes: Vec<u32> = numbers
        .into_iter()
        .filter(|node| on(*node).count() >= llcs)
        .take(topology.numa_nodes() as usize)
        .collect();
    if nodes.len() < topology.numa_nodes() as usize {
        return None;
    }
    let vcpus: Vec<u32> = nodes
        .iter()
        .flat_map(|node| on(*node).take(llcs))
        .flat_map(|(_, cpus)| cpus.iter().copied())
        .collect();
    Some(Chosen {
        cpus: vcpus.iter().copied().collect(),
        vcpus,
        nodes,
    })
}

/// Every CPU that is online.
pub(super) fn online(machine: &HostCpus) -> CpuSet {
    let cpus = machine.llcs.iter().flat_map(|llc| &llc.cores);
    cpus.flat_map(CpuSet::iter).collect()
}

/// The CPUs of an LLC of the topology on `llc`, thread by thread of core by core.
fn cpus_of(llc: &HostLlc, topology: Topology) -> Option<Vec<u32>> {
    let threads = topology.threads() as usize;
    let cores: Vec<&CpuSet> = llc
        .cores
        .iter()
        .filter(|core| core.len() >= threads)
        .take(topology.cores() as usize)
        .collect();
    let is_enough = cores.len() == topology.cores() as usize;
    let cpus = cores.into_iter().flat_map(|core| core.iter().take(threads));
    is_enough.then(|| cpus.collect())
}

/// The node of a cache, which is that of its first CPU; 0 on a machine without NUMA.
fn node_of(machine: &HostCpus, llc: &HostLlc) -> u32 {
    let first = llc.cpus().first();
    let has = |cpus: &CpuSet| first.is_some_and(|cpu| cpus.contains(cpu));
    let node = machine.nodes.iter().find(|(_, cpus)| has(cpus));
    node.map_or(0, |(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    /// A machine of these caches, each of these cores, on these nodes.
    fn machine(llcs: &[&[&str]], nodes: &[(u32, &str)]) -> HostCpus {
        let llc = |(number, cores): (u32, &&[&str])| HostLlc {
            number,
            cores: cores.iter().map(|core| set(core)).collect(),
        };
        HostCpus {
            allowed: set("0"),
            llcs: (0..).zip(llcs).map(llc).collect(),
            nodes: nodes
                .iter()
                .map(|(node, cpus)| (*node, set(cpus)))
                .collect(),
            caches_known: true,
        }
    }

    fn vcpus(machine: &HostCpus, shape: &str) -> Option<Vec<u32>> {
        choose(machine, shape.parse().unwrap()).map(|chosen| chosen.vcpus)
    }

    #[test]
    fn the_same_shape_has_the_same_numbers() {
        let same = machine(
            &[&["0-1", "2-3"], &["4-5", "6-7"]],
            &[(0, "0-3"), (1, "4-7")],
        );
        for shape in ["2n2l2c2t", "1n1l2c2t"] {
            let count = shape.parse::<Topology>().unwrap().cpus();
            assert_eq!(vcpus(&same, shape), Some((0..count).collect()), "{shape}");
        }
        // Two caches of one node are not two of two nodes.
        assert_eq!(vcpus(&same, "1n2l2c2t"), None);
        assert_eq!(online(&same), set("0-7"));
    }

    #[test]
    fn siblings_are_siblings_however_the_machine_counts_them() {
        let odd = machine(
            &[
                &["0,8", "1,9", "2", "3,11"],
                &["4,12", "5,13", "6,14", "7,15"],
            ],
            &[],
        );
        assert_eq!(vcpus(&odd, "1n1l2c2t"), Some(vec![0, 8, 1, 9]));
        assert_eq!(vcpus(&odd, "1n2l2c1t"), Some(vec![0, 1, 4, 5]));
        // Core 2 has one thread.
        assert_eq!(vcpus(&odd, "1n1l3c2t"), Some(vec![0, 8, 1, 9, 3, 11]));
        assert_eq!(
            vcpus(&odd, "1n1l4c2t"),
            Some(vec![4, 12, 5, 13, 6, 14, 7, 15])
        );
        assert_eq!(vcpus(&odd, "1n1l5c1t"), None);
        assert_eq!(vcpus(&odd, "1n3l1c1t"), None);
    }

    #[test]
    fn nodes_are_those_with_room() {
        let many = machine(
            &[&["0"], &["1", "2"], &["3", "4"], &["5", "6"]],
            &[(0, "0-2"), (2, "3-6")],
        );
        let chosen = choose(&many, "1n2l2c1t".parse().unwrap()).unwrap();
        assert_eq!((chosen.vcpus, chosen.nodes), (vec![3, 4, 5, 6], vec![2]));
        let two = choose(&many, "2n2l2c1t".parse().unwrap()).unwrap();
        assert_eq!((two.vcpus, two.nodes), (vec![1, 2, 3, 4], vec![0, 2]));
        assert_eq!(two.cpus, set("1-4"));
    }
}
