//! The shapes of machines that a test accepts.

use crate::Topology;

/// The topologies that a test accepts as gauntlet variants. All bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constraints {
    /// Fewest LLCs.
    pub min_llcs: u32,
    /// Most LLCs.
    pub max_llcs: u32,
    /// Fewest NUMA nodes.
    pub min_numa_nodes: u32,
    /// Most NUMA nodes.
    pub max_numa_nodes: u32,
    /// Fewest CPUs.
    pub min_cpus: u32,
    /// Most CPUs.
    pub max_cpus: u32,
    /// Whether cores need more than one thread.
    pub requires_smt: bool,
}

/// The bound that a topology violates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A count lies outside its bounds.
    #[error("{value} {what}, outside {min}..={max}")]
    OutOfBounds {
        /// What was counted.
        what: &'static str,
        /// How many the topology has.
        value: u32,
        /// Lower bound.
        min: u32,
        /// Upper bound.
        max: u32,
    },
    /// SMT is required and absent.
    #[error("one thread per core, and SMT is required")]
    NoSmt,
}

impl Constraints {
    /// The bounds of a test that declares none: 1 to 12 LLCs, one NUMA node, 1 to 192 CPUs.
    pub const DEFAULT: Self = Self {
        min_llcs: 1,
        max_llcs: 12,
        min_numa_nodes: 1,
        max_numa_nodes: 1,
        min_cpus: 1,
        max_cpus: 192,
        requires_smt: false,
    };

    /// Whether `topology` is within every bound.
    pub fn check(&self, topology: Topology) -> Result<(), Rejection> {
        let bounds = [
            ("LLCs", topology.llcs(), self.min_llcs, self.max_llcs),
            (
                "NUMA nodes",
                topology.numa_nodes(),
                self.min_numa_nodes,
                self.max_numa_nodes,
            ),
            ("CPUs", topology.cpus(), self.min_cpus, self.max_cpus),
        ];
        for (what, value, min, max) in bounds {
            if value < min || value > max {
                return Err(Rejection::OutOfBounds {
                    what,
                    value,
                    min,
                    max,
                });
            }
        }
        if self.requires_smt && !topology.has_smt() {
            return Err(Rejection::NoSmt);
        }
        Ok(())
    }
}

impl Default for Constraints {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_name_the_broken_bound() {
        let wide = Topology::constant(1, 14, 1, 1);
        let error = Constraints::DEFAULT.check(wide).unwrap_err();
        assert_eq!(error.to_string(), "14 LLCs, outside 1..=12");
        let smt = Constraints {
            requires_smt: true,
            ..Constraints::DEFAULT
        };
        assert_eq!(
            smt.check(Topology::constant(1, 1, 2, 1)),
            Err(Rejection::NoSmt)
        );
        assert_eq!(smt.check(Topology::constant(1, 1, 2, 2)), Ok(()));
    }
}
