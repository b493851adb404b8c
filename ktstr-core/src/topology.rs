//! The shape of a machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::CpuSet;

/// The shape of a machine: NUMA nodes, last-level caches, cores and hardware threads.
///
/// `llcs` counts the whole machine, `cores` one LLC and `threads` one core. CPUs are numbered
/// depth-first: the threads of a core are neighbours, then the cores of an LLC, then the LLCs of a
/// node. Every LLC is a package of its own, as on a multi-socket server.
///
/// The short form is `{nodes}n{llcs}l{cores}c{threads}t`:
///
/// ```
/// use ktstr_core::Topology;
///
/// let t: Topology = "1n2l4c2t".parse()?;
/// assert_eq!(t.cpus(), 16);
/// assert_eq!(t.cpus_of_llc(1).to_string(), "8-15");
/// # Ok::<(), ktstr_core::ParseTopologyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Topology {
    numa_nodes: u32,
    llcs: u32,
    cores: u32,
    threads: u32,
}

/// Why four numbers do not describe a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// One of the four numbers is zero.
    #[error("topology: {0} is 0; every level needs at least 1")]
    Zero(&'static str),
    /// The LLCs cannot be divided evenly among the NUMA nodes.
    #[error(
        "topology: {llcs} LLCs do not divide over {numa_nodes} NUMA nodes; \
         make llcs a multiple of numa_nodes"
    )]
    Uneven {
        /// LLCs asked for.
        llcs: u32,
        /// NUMA nodes asked for.
        numa_nodes: u32,
    },
    /// More CPUs than a ktstr kernel supports.
    #[error("topology: {0} CPUs; at most {max} are supported (CONFIG_NR_CPUS)", max = Topology::MAX_CPUS)]
    TooLarge(u64),
}

/// Why a string is not a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTopologyError {
    /// It does not have the short form.
    #[error("topology: `{0}` is not of the form 1n2l4c2t (nodes, LLCs, cores per LLC, threads)")]
    Syntax(String),
    /// It has the short form, and the numbers do not describe a machine.
    #[error(transparent)]
    Shape(#[from] TopologyError),
}

impl Topology {
    /// The number of CPUs that ktstr's kernels are configured for (`CONFIG_NR_CPUS`).
    pub const MAX_CPUS: u32 = 512;

    /// A machine of `numa_nodes` nodes and `llcs` LLCs in total, with `cores` per LLC and `threads` per core.
    pub const fn new(
        numa_nodes: u32,
        llcs: u32,
        cores: u32,
        threads: u32,
    ) -> Result<Self, TopologyError> {
        if numa_nodes == 0 {
            return Err(TopologyError::Zero("numa_nodes"));
        }
        if llcs == 0 {
            return Err(TopologyError::Zero("llcs"));
        }
        if cores == 0 {
            return Err(TopologyError::Zero("cores"));
        }
        if threads == 0 {
            return Err(TopologyError::Zero("threads"));
        }
        if !llcs.is_multiple_of(numa_nodes) {
            return Err(TopologyError::Uneven { llcs, numa_nodes });
        }
        // The product of three u32 values can overflow a u64; it saturates, which is too large in any case.
        let cpus = (llcs as u64)
            .saturating_mul(cores as u64)
            .saturating_mul(threads as u64);
        if cpus > Self::MAX_CPUS as u64 {
            return Err(TopologyError::TooLarge(cpus));
        }
        Ok(Self {
            numa_nodes,
            llcs,
            cores,
            threads,
        })
    }

    /// [`Topology::new`] for constants: an invalid shape is a compile error.
    ///
    /// # Panics
    /// If the four numbers are not a topology.
    #[must_use]
    pub const fn constant(numa_nodes: u32, llcs: u32, cores: u32, threads: u32) -> Self {
        match Self::new(numa_nodes, llcs, cores, threads) {
            Ok(topology) => topology,
            Err(_) => panic!(
                "not a topology: every level >= 1, llcs a multiple of numa_nodes, at most 512 CPUs"
            ),
        }
    }

    /// NUMA nodes.
    pub const fn numa_nodes(self) -> u32 {
        self.numa_nodes
    }

    /// LLCs of the whole machine.
    pub const fn llcs(self) -> u32 {
        self.llcs
    }

    /// Cores per LLC.
    pub const fn cores(self) -> u32 {
        self.cores
    }

    /// Hardware threads per core.
    pub const fn threads(self) -> u32 {
        self.threads
    }

    /// CPUs of the whole machine.
    pub const fn cpus(self) -> u32 {
        self.llcs * self.cores * self.threads
    }

    /// CPUs that share one LLC.
    pub const fn cpus_per_llc(self) -> u32 {
        self.cores * self.threads
    }

    /// LLCs in one NUMA node.
    pub const fn llcs_per_node(self) -> u32 {
        self.llcs / self.numa_nodes
    }

    /// CPUs in one NUMA node.
    pub const fn cpus_per_node(self) -> u32 {
        self.cpus_per_llc() * self.llcs_per_node()
    }

    /// Whether cores have more than one thread.
    pub const fn has_smt(self) -> bool {
        self.threads > 1
    }

    /// The LLC of `cpu`, numbered across the machine.
    pub const fn llc_of(self, cpu: u32) -> u32 {
        cpu / self.cpus_per_llc()
    }

    /// The NUMA node of `cpu`.
    pub const fn node_of(self, cpu: u32) -> u32 {
        cpu / self.cpus_per_node()
    }

    /// The core of `cpu`, numbered across the machine.
    pub const fn core_of(self, cpu: u32) -> u32 {
        cpu / self.threads
    }

    /// All CPUs.
    pub fn all_cpus(self) -> CpuSet {
        (0..self.cpus()).collect()
    }

    /// The CPUs of LLC `llc`; empty if there is no such LLC.
    pub fn cpus_of_llc(self, llc: u32) -> CpuSet {
        self.block(llc, self.cpus_per_llc())
    }

    /// The CPUs of NUMA node `node`; empty if there is no such node.
    pub fn cpus_of_node(self, node: u32) -> CpuSet {
        self.block(node, self.cpus_per_node())
    }

    /// The sibling threads of core `core`, numbered across the machine; empty if there is no such core.
    pub fn cpus_of_core(self, core: u32) -> CpuSet {
        self.block(core, self.threads)
    }

    fn block(self, index: u32, size: u32) -> CpuSet {
        let end = self.cpus();
        let first = index.saturating_mul(size).min(end);
        (first..first.saturating_add(size).min(end)).collect()
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            numa_nodes,
            llcs,
            cores,
            threads,
        } = self;
        f.pad(&format!("{numa_nodes}n{llcs}l{cores}c{threads}t"))
    }
}

impl FromStr for Topology {
    type Err = ParseTopologyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || ParseTopologyError::Syntax(text.to_owned());
        let mut rest = text;
        let mut numbers = [0; 4];
        for (number, unit) in numbers.iter_mut().zip(["n", "l", "c", "t"]) {
            let (digits, tail) = rest.split_once(unit).ok_or_else(syntax)?;
            // `u32::from_str` would accept a sign.
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(syntax());
            }
            *number = digits.parse().map_err(|_| syntax())?;
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(syntax());
        }
        let [numa_nodes, llcs, cores, threads] = numbers;
        Ok(Self::new(numa_nodes, llcs, cores, threads)?)
    }
}

impl From<Topology> for String {
    fn from(topology: Topology) -> Self {
        topology.to_string()
    }
}

impl TryFrom<String> for Topology {
    type Error = ParseTopologyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_cpus_depth_first() {
        let t = Topology::constant(2, 4, 2, 2);
        assert_eq!(t.cpus(), 16);
        assert_eq!(t.cpus_of_core(1).to_string(), "2-3");
        assert_eq!(t.cpus_of_llc(3).to_string(), "12-15");
        assert_eq!(t.cpus_of_node(1).to_string(), "8-15");
        assert!(t.cpus_of_llc(4).is_empty());
        assert!(t.cpus_of_llc(u32::MAX).is_empty());
    }

    #[test]
    fn refuses_what_is_no_machine() {
        assert_eq!(Topology::new(1, 0, 1, 1), Err(TopologyError::Zero("llcs")));
        assert_eq!(
            Topology::new(2, 3, 1, 1),
            Err(TopologyError::Uneven {
                llcs: 3,
                numa_nodes: 2
            })
        );
        assert_eq!(
            Topology::new(1, 513, 1, 1),
            Err(TopologyError::TooLarge(513))
        );
        assert!(Topology::new(1, u32::MAX, u32::MAX, u32::MAX).is_err());
        for bad in [
            "",
            "1n1l1c",
            "1n1l1c1t ",
            "+1n1l1c1t",
            "1n1l1c99999999999t",
            "1l1n1c1t",
        ] {
            assert!(
                matches!(bad.parse::<Topology>(), Err(ParseTopologyError::Syntax(_))),
                "{bad}"
            );
        }
    }

    fn any_topology() -> impl Strategy<Value = Topology> {
        (1..4u32, 1..4u32, 1..8u32, 1..3u32)
            .prop_map(|(n, per_node, c, t)| Topology::constant(n, n * per_node, c, t))
    }

    proptest! {
        #[test]
        fn short_form_round_trips(t in any_topology()) {
            prop_assert_eq!(t.to_string().parse(), Ok(t));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,20}") {
            if let Ok(t) = text.parse::<Topology>() {
                prop_assert!(t.cpus() >= 1);
            }
        }

        #[test]
        fn levels_partition_the_cpus(t in any_topology()) {
            let by_llc: CpuSet = (0..t.llcs()).flat_map(|l| t.cpus_of_llc(l)).collect();
            let by_node: CpuSet = (0..t.numa_nodes()).flat_map(|n| t.cpus_of_node(n)).collect();
            prop_assert_eq!(&by_llc, &t.all_cpus());
            prop_assert_eq!(&by_node, &t.all_cpus());
            for cpu in t.all_cpus() {
                prop_assert!(t.cpus_of_llc(t.llc_of(cpu)).contains(cpu));
                prop_assert!(t.cpus_of_node(t.node_of(cpu)).contains(cpu));
                prop_assert!(t.cpus_of_core(t.core_of(cpu)).contains(cpu));
            }
        }
    }
}
