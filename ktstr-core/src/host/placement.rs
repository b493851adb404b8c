//! The placement of a machine in performance mode: a host CPU for each of its CPUs, a host LLC for each of its LLCs.

use std::collections::BTreeSet;

use super::cpus::{HostCpus, HostLlc};
use super::lock::LockMode;
use super::reservation::{Claims, Resource};
use crate::{CpuSet, Topology};

/// How many CPUs outside a machine's caches are tried for its other threads: any would do, and some may be taken.
const SERVICE_CHOICES: usize = 8;

/// Host CPUs that a machine has to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The host CPU of each vCPU.
    pub vcpus: Vec<u32>,
    /// The host CPU of all other threads of the machine's process.
    pub service: u32,
    /// The host's NUMA nodes for the memory of each guest node; empty sets if the host has none.
    pub nodes: Vec<BTreeSet<u32>>,
    /// The locks that it needs.
    pub claims: Claims,
}

/// Why no placement on this host fits a machine: a reason to skip the test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// The host does not report which CPUs share a cache.
    #[error("performance mode: this host does not report its last-level caches")]
    CachesUnknown,
    /// Too few CPUs in total.
    #[error(
        "performance mode: {topology} takes {needed} host CPUs, one for each of its own and one beside, and {allowed} are allowed; use a smaller topology"
    )]
    TooFewCpus {
        /// The machine's shape.
        topology: Topology,
        /// The number of host CPUs that it needs.
        needed: u32,
        /// The number of host CPUs that this process may use.
        allowed: usize,
    },
    /// Too few last-level caches, or too small ones.
    #[error(
        "performance mode: {topology} takes {} host LLCs with {} allowed CPUs each, and {fitting} have as many; use a smaller topology", topology.llcs(), topology.cpus_per_llc()
    )]
    TooFewLlcs {
        /// The machine's shape.
        topology: Topology,
        /// The number of host LLCs that have enough CPUs.
        fitting: usize,
    },
}

/// A host LLC with enough CPUs, in the order in which they are taken.
struct Seat<'h> {
    llc: &'h HostLlc,
    cpus: Vec<u32>,
}

impl Placement {
    /// Every placement on `host` to try for a machine of `topology`, those on few NUMA nodes first.
    ///
    /// Each guest LLC maps to one host LLC, and the threads of a guest core map to those of a host core if that has as
    /// many. One more CPU is needed for the threads that are not vCPUs.
    pub fn candidates(host: &HostCpus, topology: Topology) -> Result<Vec<Self>, PlacementError> {
        let needed = topology.cpus() + 1;
        let allowed = host.allowed.len();
        if !host.caches_known {
            return Err(PlacementError::CachesUnknown);
        }
        if allowed < needed as usize {
            return Err(PlacementError::TooFewCpus {
                topology,
                needed,
                allowed,
            });
        }
        let per_llc = topology.cpus_per_llc() as usize;
        let seats: Vec<Seat<'_>> = host
            .llcs
            .iter()
            .map(|llc| Seat {
                llc,
                cpus: in_order(llc, &host.allowed, topology.threads() as usize),
            })
            .filter(|seat| seat.cpus.len() >= per_llc)
            .collect();
        let llcs = topology.llcs() as usize;
        let fitting = seats.len();
        if fitting < llcs {
            return Err(PlacementError::TooFewLlcs { topology, fitting });
        }
        // Runs of adjacent caches, from each in turn; if there are just enough caches, there is one choice.
        let firsts = if fitting == llcs { 1 } else { fitting };
        let mut candidates: Vec<Self> = (0..firsts)
            .flat_map(|first| {
                let chosen: Vec<&Seat<'_>> = seats.iter().cycle().skip(first).take(llcs).collect();
                on(host, topology, &chosen)
            })
            .collect();
        candidates.sort_by_key(|candidate| {
            let nodes: BTreeSet<u32> = candidate.nodes.iter().flatten().copied().collect();
            nodes.len()
        });
        Ok(candidates)
    }
}

/// The placements on the caches `seats`: they differ in the CPU for the other threads.
fn on(host: &HostCpus, topology: Topology, seats: &[&Seat<'_>]) -> Vec<Placement> {
    let per_llc = topology.cpus_per_llc() as usize;
    let vcpus: Vec<u32> = seats
        .iter()
        .flat_map(|seat| seat.cpus[..per_llc].iter().copied())
        .collect();
    let per_node = topology.llcs_per_node() as usize;
    let nodes: Vec<BTreeSet<u32>> = vcpus
        .chunks(per_node * per_llc)
        .map(|cpus| host.nodes_of(&cpus.iter().copied().collect()))
        .collect();
    let mut claims: Claims = seats
        .iter()
        .map(|seat| (Resource::Llc(seat.llc.number), LockMode::Exclusive))
        .collect();
    claims.extend(
        vcpus
            .iter()
            .map(|&cpu| (Resource::Cpu(cpu), LockMode::Exclusive)),
    );
    let beside = seats.iter().find_map(|seat| seat.cpus[per_llc..].last());
    let services: Vec<u32> = if let Some(&cpu) = beside {
        vec![cpu]
    } else {
        let taken: CpuSet = vcpus.iter().copied().collect();
        let others = host.allowed.difference(&taken);
        others.iter().take(SERVICE_CHOICES).collect()
    };
    services
        .into_iter()
        .map(|service| {
            let mut claims = claims.clone();
            claims.insert(Resource::Cpu(service), LockMode::Exclusive);
            if let Some(llc) = host.llc_of(service) {
                // A cache of its own stays exclusive.
                claims
                    .entry(Resource::Llc(llc.number))
                    .or_insert(LockMode::Shared);
            }
            Placement {
                vcpus: vcpus.clone(),
                service,
                nodes: nodes.clone(),
                claims,
            }
        })
        .collect()
}

/// The allowed CPUs of a cache, in order of preference for cores of `threads` threads: for several, siblings are
/// adjacent; for one, one CPU of each core comes before any sibling.
fn in_order(llc: &HostLlc, allowed: &CpuSet, threads: usize) -> Vec<u32> {
    let mut cores: Vec<Vec<u32>> = llc
        .cores
        .iter()
        .map(|core| core.intersection(allowed).iter().collect())
        .collect();
    if threads == 1 {
        let most = cores.iter().map(Vec::len).max().unwrap_or(0);
        return (0..most)
            .flat_map(|thread| cores.iter().filter_map(move |core| core.get(thread)))
            .copied()
            .collect();
    }
    // Whole cores first, then the rest of partly used cores.
    let mut rest = Vec::new();
    for core in &mut cores {
        rest.extend(core.drain(core.len() / threads * threads..));
    }
    cores.into_iter().flatten().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// `llcs` caches on `nodes` nodes with `cores` cores of `threads` threads; siblings are far apart.
    fn host(nodes: u32, llcs: u32, cores: u32, threads: u32) -> HostCpus {
        let all = llcs * cores;
        let core = |core: u32| (0..threads).map(|thread| core + thread * all).collect();
        let llcs: Vec<HostLlc> = (0..llcs)
            .map(|number| HostLlc {
                number,
                cores: (number * cores..(number + 1) * cores).map(core).collect(),
            })
            .collect();
        let per_node = llcs.len() / nodes as usize;
        let of_node = |llcs: &[HostLlc]| llcs.iter().flat_map(HostLlc::cpus).collect();
        let nodes: BTreeMap<u32, CpuSet> = (0..).zip(llcs.chunks(per_node).map(of_node)).collect();
        HostCpus {
            allowed: (0..all * threads).collect(),
            llcs,
            nodes,
            caches_known: true,
        }
    }

    fn shape(nodes: u32, llcs: u32, cores: u32, threads: u32) -> Topology {
        Topology::constant(nodes, llcs, cores, threads)
    }

    #[test]
    fn a_machine_gets_caches_of_its_own_and_a_cpu_beside() {
        let host = host(2, 4, 4, 2);
        let places = Placement::candidates(&host, shape(1, 1, 2, 2)).unwrap();
        assert_eq!(places.len(), 4);
        let first = &places[0];
        // Siblings of the host for siblings of the guest.
        assert_eq!(first.vcpus, [0, 16, 1, 17]);
        assert_eq!(first.service, 19);
        assert_eq!(first.nodes, [BTreeSet::from([0])]);
        assert_eq!(first.claims[&Resource::Llc(0)], LockMode::Exclusive);
        assert_eq!(first.claims.len(), 1 + 5);
        // Cores to themselves where the guest has no siblings.
        let places = Placement::candidates(&host, shape(1, 1, 4, 1)).unwrap();
        assert_eq!(places[0].vcpus, [0, 1, 2, 3]);
        assert_eq!(places[0].service, 19);
    }

    #[test]
    fn machines_on_few_nodes_come_first_and_memory_is_near() {
        let host = host(2, 4, 4, 1);
        let places = Placement::candidates(&host, shape(1, 2, 3, 1)).unwrap();
        let spans: Vec<_> = places.iter().map(|place| place.nodes[0].len()).collect();
        assert_eq!(spans, [1, 1, 2, 2]);
        let places = Placement::candidates(&host, shape(2, 4, 3, 1)).unwrap();
        assert_eq!(places.len(), 1);
        let nodes = [BTreeSet::from([0]), BTreeSet::from([1])];
        assert_eq!(places[0].nodes, nodes);
    }

    #[test]
    fn a_full_cache_has_its_service_elsewhere() {
        let places = Placement::candidates(&host(1, 2, 4, 1), shape(1, 1, 4, 1)).unwrap();
        assert_eq!(places.len(), 8);
        assert_eq!(places[1].service, 5);
        assert_eq!(places[1].claims[&Resource::Llc(1)], LockMode::Shared);
        assert_eq!(places[1].claims[&Resource::Cpu(5)], LockMode::Exclusive);
    }

    #[test]
    fn what_does_not_fit_says_what_it_would_take() {
        let error = |host: &HostCpus, topology| {
            let error = Placement::candidates(host, topology).unwrap_err();
            error.to_string()
        };
        let small = host(1, 1, 4, 1);
        let text = error(&small, shape(1, 1, 4, 1));
        assert!(
            text.contains("takes 5 host CPUs") && text.contains("4 are"),
            "{text}"
        );
        let text = error(&small, shape(1, 2, 1, 1));
        assert!(text.contains("takes 2 host LLCs"), "{text}");
        let text = error(&host(1, 4, 2, 1), shape(1, 1, 3, 1));
        assert!(
            text.contains("with 3 allowed CPUs") && text.contains("and 0 have"),
            "{text}"
        );
        let mut confined = host(1, 1, 8, 1);
        confined.allowed = (0..2).collect();
        assert!(error(&confined, shape(1, 1, 2, 1)).contains("2 are allowed"));
        let untold = HostCpus {
            caches_known: false,
            ..small
        };
        assert!(error(&untold, shape(1, 1, 1, 1)).contains("does not report"));
    }

    proptest! {
        /// For any host and machine: a placement has every CPU once, only allowed ones, maps caches one to one, and
        /// locks every CPU that it uses.
        #[test]
        fn places_hold_what_they_promise(
            (nodes, llcs, cores, threads) in (1..3_u32, 1..5_u32, 1..7_u32, 1..3_u32),
            (guest_nodes, guest_llcs, guest_cores, guest_threads) in (1..3_u32, 1..4_u32, 1..5_u32, 1..3_u32),
            allowed in proptest::collection::vec(proptest::bool::weighted(0.85), 96),
        ) {
            let mut host = host(nodes, nodes * llcs, cores, threads);
            host.allowed = host.allowed.iter().filter(|&cpu| allowed[cpu as usize % 96]).collect();
            let topology = shape(guest_nodes, guest_nodes * guest_llcs, guest_cores, guest_threads);
            match Placement::candidates(&host, topology) {
                Ok(places) => {
                    prop_assert!(!places.is_empty());
                    for place in places {
                        let mut used: CpuSet = place.vcpus.iter().copied().collect();
                        prop_assert!(used.insert(place.service));
                        prop_assert_eq!(used.len(), topology.cpus() as usize + 1);
                        prop_assert!(used.is_subset(&host.allowed));
                        for cpu in used.iter() {
                            prop_assert_eq!(place.claims[&Resource::Cpu(cpu)], LockMode::Exclusive);
                        }
                        let mut caches = BTreeSet::new();
                        for cpus in place.vcpus.chunks(topology.cpus_per_llc() as usize) {
                            let on: BTreeSet<u32> =
                                cpus.iter().map(|&cpu| host.llc_of(cpu).unwrap().number).collect();
                            prop_assert_eq!(on.len(), 1);
                            caches.extend(on);
                        }
                        prop_assert_eq!(caches.len(), topology.llcs() as usize);
                        for llc in caches {
                            prop_assert_eq!(place.claims[&Resource::Llc(llc)], LockMode::Exclusive);
                        }
                        prop_assert_eq!(place.nodes.len(), topology.numa_nodes() as usize);
                    }
                }
                Err(PlacementError::TooFewCpus { needed, allowed, .. }) => {
                    prop_assert!(allowed < needed as usize);
                }
                Err(PlacementError::TooFewLlcs { fitting, .. }) => {
                    prop_assert!(fitting < topology.llcs() as usize);
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }
}
