//! CPU sets of cgroups, described by the shape of a machine instead of by CPU numbers.

use std::ops::RangeInclusive;

use ktstr_core::{CpuSet, Topology};

/// The CPUs of a cgroup, described in terms of the machine's topology.
///
/// ```
/// use ktstr_core::Topology;
/// use ktstr_harness::cgroup::CpusetSpec;
///
/// let machine = Topology::constant(1, 2, 4, 1);
/// let cpus = |spec: CpusetSpec| spec.resolve(machine).map(|set| set.to_string());
/// assert_eq!(cpus(CpusetSpec::Llc(1))?, "4-7");
/// assert_eq!(cpus(CpusetSpec::Disjoint { index: 0, of: 3 })?, "0-1");
/// assert_eq!(cpus(CpusetSpec::Overlap { index: 0, of: 2, shared_pct: 50 })?, "0-5");
/// # Ok::<(), ktstr_harness::cgroup::CpusetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpusetSpec {
    /// The CPUs of one last-level cache, counted over the machine from 0.
    Llc(u32),
    /// The CPUs and the memory of one NUMA node, from 0.
    Numa(u32),
    /// CPUs by number, first and last included.
    Range(RangeInclusive<u32>),
    /// One of `of` disjoint parts that together cover all CPUs. Each part is a contiguous range, and
    /// the sizes of parts differ by at most one CPU.
    Disjoint {
        /// Which part, from 0.
        index: u32,
        /// Number of parts, at most one per CPU.
        of: u32,
    },
    /// A part as in [`CpusetSpec::Disjoint`], plus the first `shared_pct` percent (rounded up) of the
    /// next part, so that neighbouring cgroups share CPUs. The first part follows the last.
    Overlap {
        /// Which part, from 0.
        index: u32,
        /// Number of parts, at most one per CPU.
        of: u32,
        /// How much of the next part is shared, 0 to 100 percent.
        shared_pct: u32,
    },
    /// Exactly these CPUs.
    Exact(CpuSet),
}

/// A [`CpusetSpec`] that cannot be resolved on a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpusetError {
    /// There is no such LLC.
    #[error("cpuset: no LLC {llc} on {topology}; use 0 to {last}", last = topology.llcs() - 1)]
    Llc {
        /// The requested LLC.
        llc: u32,
        /// Topology of the machine.
        topology: Topology,
    },
    /// There is no such NUMA node.
    #[error("cpuset: no NUMA node {node} on {topology}; use 0 to {last}", last = topology.numa_nodes() - 1)]
    Numa {
        /// The requested node.
        node: u32,
        /// Topology of the machine.
        topology: Topology,
    },
    /// Some of the CPUs do not exist.
    #[error("cpuset: no CPU {missing} on {topology}; use 0 to {last}", last = topology.cpus() - 1)]
    Cpus {
        /// The requested CPUs that do not exist.
        missing: String,
        /// Topology of the machine.
        topology: Topology,
    },
    /// The index is not below the number of parts.
    #[error("cpuset: no part {index} of {of}; the first part is 0, so use an index below {of}")]
    Part {
        /// The requested part.
        index: u32,
        /// Number of parts.
        of: u32,
    },
    /// There are more parts than CPUs, or none.
    #[error("cpuset: {topology} cannot be divided into {of} parts; use 1 to {cpus}", cpus = topology.cpus())]
    Parts {
        /// Number of parts.
        of: u32,
        /// Topology of the machine.
        topology: Topology,
    },
    /// The share is above 100 percent.
    #[error("cpuset: {0} % of the next part cannot be shared; use 0 to 100")]
    Share(u32),
    /// The set contains no CPU.
    #[error("cpuset: the set is empty; name at least one CPU, or omit the cpuset to use all CPUs")]
    Empty,
}

impl CpusetSpec {
    /// Returns the CPUs that this names on a machine of this topology. The set is never empty.
    pub fn resolve(&self, topology: Topology) -> Result<CpuSet, CpusetError> {
        let cpus = match *self {
            Self::Llc(llc) if llc >= topology.llcs() => {
                return Err(CpusetError::Llc { llc, topology });
            }
            Self::Llc(llc) => topology.cpus_of_llc(llc),
            Self::Numa(node) if node >= topology.numa_nodes() => {
                return Err(CpusetError::Numa { node, topology });
            }
            Self::Numa(node) => topology.cpus_of_node(node),
            Self::Range(ref range) => {
                // Only the ends are compared: collecting a range of all numbers would take gigabytes.
                let (first, last) = (*range.start(), *range.end());
                if !range.is_empty() && last >= topology.cpus() {
                    let first = first.max(topology.cpus());
                    return Err(CpusetError::Cpus {
                        missing: if first == last {
                            last.to_string()
                        } else {
                            format!("{first}-{last}")
                        },
                        topology,
                    });
                }
                range.clone().collect()
            }
            Self::Disjoint { index, of } => part(index, of, topology)?,
            Self::Overlap {
                index,
                of,
                shared_pct,
            } => {
                if shared_pct > 100 {
                    return Err(CpusetError::Share(shared_pct));
                }
                let own = part(index, of, topology)?;
                let next = part((index + 1) % of, of, topology)?;
                let shared = (next.len() * shared_pct as usize).div_ceil(100);
                own.union(&next.iter().take(shared).collect())
            }
            Self::Exact(ref cpus) => {
                let missing = cpus.difference(&topology.all_cpus());
                if !missing.is_empty() {
                    return Err(CpusetError::Cpus {
                        missing: missing.to_string(),
                        topology,
                    });
                }
                cpus.clone()
            }
        };
        if cpus.is_empty() {
            return Err(CpusetError::Empty);
        }
        Ok(cpus)
    }

    /// The NUMA node that memory is allocated from; `None` for any node.
    pub fn memory_node(&self) -> Option<u32> {
        match self {
            Self::Numa(node) => Some(*node),
            _ => None,
        }
    }
}

fn part(index: u32, of: u32, topology: Topology) -> Result<CpuSet, CpusetError> {
    let cpus = topology.cpus();
    if of == 0 || of > cpus {
        return Err(CpusetError::Parts { of, topology });
    }
    if index >= of {
        return Err(CpusetError::Part { index, of });
    }
    // At most 512 * 512: far from overflow.
    Ok((index * cpus / of..(index + 1) * cpus / of).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MACHINE: Topology = Topology::constant(2, 4, 2, 2);

    fn text(spec: &CpusetSpec) -> String {
        match spec.resolve(MACHINE) {
            Ok(set) => set.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn by_shape() {
        assert_eq!(text(&CpusetSpec::Llc(3)), "12-15");
        assert_eq!(text(&CpusetSpec::Numa(1)), "8-15");
        assert_eq!(CpusetSpec::Numa(1).memory_node(), Some(1));
        assert_eq!(text(&CpusetSpec::Range(2..=5)), "2-5");
        let exact = CpusetSpec::Exact("1,3".parse().unwrap());
        assert_eq!(text(&exact), "1,3");
        assert_eq!(exact.memory_node(), None);
    }

    #[test]
    fn the_last_overlap_wraps() {
        let overlap = |index, of, shared_pct| {
            text(&CpusetSpec::Overlap {
                index,
                of,
                shared_pct,
            })
        };
        assert_eq!(overlap(0, 2, 50), "0-11");
        assert_eq!(overlap(1, 2, 50), "0-3,8-15");
        assert_eq!(overlap(0, 1, 50), "0-15");
        assert_eq!(overlap(0, 4, 0), "0-3");
        assert_eq!(
            overlap(0, 4, 101),
            "cpuset: 101 % of the next part cannot be shared; use 0 to 100"
        );
    }

    #[test]
    fn what_is_not_there_is_an_error_with_the_bounds() {
        assert_eq!(
            text(&CpusetSpec::Llc(4)),
            "cpuset: no LLC 4 on 2n4l2c2t; use 0 to 3"
        );
        assert_eq!(
            text(&CpusetSpec::Numa(2)),
            "cpuset: no NUMA node 2 on 2n4l2c2t; use 0 to 1"
        );
        assert_eq!(
            text(&CpusetSpec::Range(15..=16)),
            "cpuset: no CPU 16 on 2n4l2c2t; use 0 to 15"
        );
        assert_eq!(
            text(&CpusetSpec::Range(0..=u32::MAX)),
            "cpuset: no CPU 16-4294967295 on 2n4l2c2t; use 0 to 15"
        );
        assert!(text(&CpusetSpec::Exact("3,40".parse().unwrap())).contains("no CPU 40"));
        assert!(text(&CpusetSpec::Disjoint { index: 2, of: 2 }).contains("no part 2 of 2"));
        for of in [0, 17] {
            let spec = CpusetSpec::Disjoint { index: 0, of };
            assert!(text(&spec).contains("use 1 to 16"));
        }
        #[expect(clippy::reversed_empty_ranges)]
        let backwards = CpusetSpec::Range(3..=2);
        for empty in [CpusetSpec::Exact(CpuSet::new()), backwards] {
            assert_eq!(empty.resolve(MACHINE), Err(CpusetError::Empty));
        }
    }

    fn any_topology() -> impl Strategy<Value = Topology> {
        (1..3_u32, 1..5_u32, 1..9_u32, 1..3_u32).prop_map(|(nodes, llcs, cores, threads)| {
            Topology::new(nodes, nodes * llcs, cores, threads).unwrap()
        })
    }

    proptest! {
        #[test]
        fn disjoint_parts_partition_the_machine(topology in any_topology(), any: u32) {
            let of = 1 + any % topology.cpus();
            let mut seen = CpuSet::new();
            let mut sizes = Vec::new();
            for index in 0..of {
                let part = CpusetSpec::Disjoint { index, of }.resolve(topology).unwrap();
                prop_assert!(part.is_disjoint(&seen));
                sizes.push(part.len());
                seen = seen.union(&part);
            }
            prop_assert_eq!(seen, topology.all_cpus());
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }

        #[test]
        fn overlaps_contain_their_part_and_touch_the_next(
            topology in any_topology(), any: u32, at in 0..64_u32, shared_pct in 1..101_u32,
        ) {
            prop_assume!(topology.cpus() >= 2);
            let of = 2 + any % (topology.cpus() - 1);
            let index = at % of;
            let resolve = |spec: CpusetSpec| spec.resolve(topology).unwrap();
            let own = resolve(CpusetSpec::Disjoint { index, of });
            let next = resolve(CpusetSpec::Disjoint { index: (index + 1) % of, of });
            let overlap = resolve(CpusetSpec::Overlap { index, of, shared_pct });
            prop_assert!(own.is_subset(&overlap));
            prop_assert!(!overlap.is_disjoint(&next));
            prop_assert!(overlap.is_subset(&own.union(&next)));
        }

        #[test]
        fn whatever_resolves_is_on_the_machine(topology in any_topology(), a in 0..40_u32, b in 0..40_u32) {
            let specs = [
                CpusetSpec::Llc(a),
                CpusetSpec::Numa(a),
                CpusetSpec::Range(a..=b),
                CpusetSpec::Disjoint { index: a, of: b },
                CpusetSpec::Overlap { index: a, of: b, shared_pct: a },
            ];
            for spec in specs {
                if let Ok(cpus) = spec.resolve(topology) {
                    prop_assert!(!cpus.is_empty());
                    prop_assert!(cpus.is_subset(&topology.all_cpus()));
                }
            }
        }
    }
}
