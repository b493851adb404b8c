//! [`WorkType::NumaSweep`](crate::workload::WorkType::NumaSweep).
//!
//! Presses on moves between NUMA nodes with memory that stays behind: `task_numa_work`, `migrate_task_to`, and a
//! scheduler's notion of a task's home node. Measures migrations between nodes and where the worker's pages are, and how
//! long each move took.

use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::Site;
use super::common::work_until;
use crate::cpu_map::CpuMap;
use crate::workload::clock::{self, nanoseconds};
use crate::workload::failure::{Call, Failure};
use crate::workload::slot::Recorder;

pub(super) fn run(
    recorder: &mut Recorder<'_>,
    site: &Site<'_>,
    dwell: Duration,
) -> Result<(), Failure> {
    const UNITS: u64 = 4;
    let dwell_ns = nanoseconds(dwell);
    let nodes = site.cpus.topology().numa_nodes();
    let mut node = site.worker as u32 % nodes;
    let mut refused = 0;
    loop {
        let before = clock::monotonic_ns();
        match sched_setaffinity(None, &cpus_of(site.cpus, node)) {
            Ok(()) => {
                refused = 0;
                recorder.add(0, 1);
                recorder.woke(before, clock::monotonic_ns());
                let end = clock::cpu_ns().saturating_add(dwell_ns);
                if !work_until(recorder, end, UNITS) {
                    return Ok(());
                }
            }
            // The cgroup's cpuset has no CPU of this node.
            Err(Errno::INVAL) if refused < nodes => refused += 1,
            Err(errno) => return Err(Failure::of(Call::Affinity)(errno)),
        }
        node = (node + 1) % nodes;
    }
}

/// The running machine's CPUs of node `node` of the topology.
fn cpus_of(cpus: CpuMap, node: u32) -> CpuSet {
    let topology = cpus.topology();
    let mut mask = CpuSet::new();
    for cpu in (0..topology.cpus()).filter(|cpu| topology.node_of(*cpu) == node) {
        let cpu = cpus.cpu(cpu) as usize;
        if cpu < CpuSet::MAX_CPU {
            mask.set(cpu);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use ktstr_core::Topology;

    use super::*;

    #[test]
    fn a_node_has_its_cpus_and_no_others() {
        let cpus: CpuMap = Topology::constant(2, 2, 2, 1).into();
        let of = |node| {
            let mask = cpus_of(cpus, node);
            (0..8).filter(|cpu| mask.is_set(*cpu)).collect::<Vec<_>>()
        };
        assert_eq!((of(0), of(1)), (vec![0, 1], vec![2, 3]));
    }
}
