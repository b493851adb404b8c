//! From which NUMA nodes a worker's memory comes.

use ktstr_core::Topology;

use super::failure::{Call, Failure};
use super::os;
use crate::cpu_map::CpuMap;

/// From which NUMA nodes a worker's memory comes (`set_mempolicy(2)`); `cpuset.mems` of its cgroup limits it further.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryPolicy {
    /// The node of the CPU that first touches a page, as without a policy.
    #[default]
    Local,
    /// This node and no other.
    Bind(u32),
    /// This node, and others where it has nothing left.
    Preferred(u32),
    /// All nodes of the machine in turn.
    Interleave,
}

/// `include/uapi/linux/mempolicy.h` of the kernel.
const MPOL_PREFERRED: i32 = 1;
const MPOL_BIND: i32 = 2;
const MPOL_INTERLEAVE: i32 = 3;
const MPOL_LOCAL: i32 = 4;

impl MemoryPolicy {
    /// What is wrong with it on this machine, if anything.
    pub(crate) fn fault(self, topology: Topology) -> Option<String> {
        match self {
            Self::Bind(node) | Self::Preferred(node) if node >= topology.numa_nodes() => {
                let last = topology.numa_nodes() - 1;
                Some(format!(
                    "no NUMA node {node} on {topology}; use 0 to {last}"
                ))
            }
            _ => None,
        }
    }

    /// Gives the calling thread this policy. Allocates nothing.
    pub(super) fn apply(self, cpus: CpuMap) -> Result<(), Failure> {
        let bit = |node| 1_u64.checked_shl(cpus.memory_node(node)).unwrap_or(0);
        let (mode, nodes) = match self {
            Self::Local => (MPOL_LOCAL, 0),
            Self::Bind(node) => (MPOL_BIND, bit(node)),
            Self::Preferred(node) => (MPOL_PREFERRED, bit(node)),
            Self::Interleave => {
                let nodes = 0..cpus.topology().numa_nodes();
                (MPOL_INTERLEAVE, nodes.fold(0, |all, node| all | bit(node)))
            }
        };
        let refused = |error| Failure::from_io(Call::MemoryPolicy, &error);
        os::set_memory_policy(mode, nodes).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Topology = Topology::constant(2, 2, 2, 1);

    #[test]
    fn nodes_have_bounds() {
        for fine in [
            MemoryPolicy::Local,
            MemoryPolicy::Bind(1),
            MemoryPolicy::Interleave,
        ] {
            assert_eq!(fine.fault(MACHINE), None);
        }
        let odd = MemoryPolicy::Preferred(2).fault(MACHINE);
        assert_eq!(odd.unwrap(), "no NUMA node 2 on 2n2l2c1t; use 0 to 1");
    }

    #[test]
    fn the_kernel_takes_what_the_machine_has() {
        // On a thread of its own: the policy ends with it. Every machine has a node 0.
        std::thread::spawn(|| {
            let cpus: CpuMap = Topology::constant(1, 1, 1, 1).into();
            for policy in [
                MemoryPolicy::Bind(0),
                MemoryPolicy::Preferred(0),
                MemoryPolicy::Interleave,
                MemoryPolicy::Local,
            ] {
                match policy.apply(cpus) {
                    Ok(()) => {}
                    // A kernel without CONFIG_NUMA, or a container that forbids it.
                    Err(failure) => assert!([libc::ENOSYS, libc::EPERM].contains(&failure.errno)),
                }
            }
        })
        .join()
        .unwrap();
    }
}
