//! The CPUs and memory nodes of the running machine that stand for those of a test's topology.

use ktstr_core::{CpuSet, Topology};

/// A topology, and the numbers that its CPUs and NUMA nodes have where the test runs.
///
/// A machine of ktstr has the very numbers of the topology. Another one may have more CPUs and count them otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuMap {
    topology: Topology,
    /// The CPU that stands for each of the topology's; empty where that is the one of its number.
    cpus: &'static [u32],
    /// Likewise for NUMA nodes.
    nodes: &'static [u32],
}

impl From<Topology> for CpuMap {
    fn from(topology: Topology) -> Self {
        let (cpus, nodes): (&[u32], &[u32]) = (&[], &[]);
        Self {
            topology,
            cpus,
            nodes,
        }
    }
}

impl CpuMap {
    /// With these numbers for the topology's CPUs and nodes. They are kept for the rest of the process, which is one run:
    /// workers read them after a fork.
    pub(crate) fn new(topology: Topology, cpus: Vec<u32>, nodes: Vec<u32>) -> Self {
        debug_assert_eq!(cpus.len(), topology.cpus() as usize);
        debug_assert_eq!(nodes.len(), topology.numa_nodes() as usize);
        Self {
            topology,
            cpus: cpus.leak(),
            nodes: nodes.leak(),
        }
    }

    pub(crate) fn topology(self) -> Topology {
        self.topology
    }

    /// The CPUs that stand for `cpus` of the topology.
    pub(crate) fn cpus(self, cpus: &CpuSet) -> CpuSet {
        cpus.iter().map(|cpu| self.cpu(cpu)).collect()
    }

    /// All CPUs that stand for one of the topology's.
    pub(crate) fn all(self) -> Vec<u32> {
        self.cpus(&self.topology.all_cpus()).iter().collect()
    }

    /// The CPU that stands for `cpu` of the topology.
    pub(crate) fn cpu(self, cpu: u32) -> u32 {
        self.cpus.get(cpu as usize).copied().unwrap_or(cpu)
    }

    /// The NUMA node that stands for `node` of the topology.
    pub(crate) fn memory_node(self, node: u32) -> u32 {
        self.nodes.get(node as usize).copied().unwrap_or(node)
    }

    /// The NUMA node that the running machine's CPU `cpu` is on. It neither allocates nor locks.
    pub(crate) fn node_of(self, cpu: u32) -> u32 {
        let own = if self.cpus.is_empty() {
            Some(cpu)
        } else {
            let at = self.cpus.iter().position(|it| *it == cpu);
            at.and_then(|at| u32::try_from(at).ok())
        };
        // One that stands for none is outside of the run's CPUs, which the kernel keeps it to.
        self.memory_node(self.topology.node_of(own.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Topology = Topology::constant(2, 2, 2, 1);

    fn set(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_stay_unless_others_are_given() {
        let same = CpuMap::from(SHAPE);
        assert_eq!(same.cpus(&set("0-3")), set("0-3"));
        assert_eq!(
            (same.memory_node(1), same.node_of(1), same.node_of(2)),
            (1, 0, 1)
        );
        let map = CpuMap::new(SHAPE, vec![8, 9, 40, 41], vec![1, 5]);
        assert_eq!(map.cpus(&set("1-2")), set("9,40"));
        assert_eq!(map.cpus(&SHAPE.all_cpus()), set("8-9,40-41"));
        assert_eq!(map.memory_node(1), 5);
        assert_eq!((map.node_of(9), map.node_of(41), map.node_of(3)), (1, 5, 1));
    }
}
