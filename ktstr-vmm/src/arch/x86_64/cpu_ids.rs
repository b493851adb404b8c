//! APIC ids, assigned as hardware does.

use ktstr_core::Topology;

/// Highest id of an xAPIC: ids have 8 bits, and 255 is the broadcast (Intel SDM volume 3, 11.12.1).
const MAX_XAPIC_ID: u32 = 254;

/// The APIC ids of a machine.
///
/// An id consists of bit fields for the thread, the core and the package; an LLC is a package. So counts that are not
/// powers of two leave gaps, and ids exceed the number of CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApicIds {
    topology: Topology,
    core_shift: u32,
    package_shift: u32,
}

impl ApicIds {
    pub(crate) fn new(topology: Topology) -> Self {
        let bits = |count: u32| count.next_power_of_two().ilog2();
        let core_shift = bits(topology.threads());
        Self {
            topology,
            core_shift,
            package_shift: core_shift + bits(topology.cores()),
        }
    }

    /// The topology of the machine.
    pub(crate) fn topology(self) -> Topology {
        self.topology
    }

    /// Width of the thread field: an id shifted right by it is the number of the core.
    pub(crate) fn core_shift(self) -> u32 {
        self.core_shift
    }

    /// Width of the thread and core fields: an id shifted right by it is the number of the package.
    pub(crate) fn package_shift(self) -> u32 {
        self.package_shift
    }

    /// The core of `cpu`, numbered within its package.
    pub(crate) fn core_in_package(self, cpu: u32) -> u32 {
        self.topology.core_of(cpu) % self.topology.cores()
    }

    /// The id of `cpu`. Ids grow with CPU numbers, and that of CPU 0 is 0.
    pub(crate) fn id_of(self, cpu: u32) -> u32 {
        let package = self.topology.llc_of(cpu) << self.package_shift;
        let core = self.core_in_package(cpu) << self.core_shift;
        let thread = cpu % self.topology.threads();
        package | core | thread
    }

    /// The highest id.
    pub(crate) fn highest(self) -> u32 {
        self.id_of(self.topology.cpus() - 1)
    }

    /// Whether some ids exceed those of an xAPIC.
    pub(crate) fn needs_x2apic(self) -> bool {
        self.highest() > MAX_XAPIC_ID
    }
}

#[cfg(test)]
mod tests {
    use ktstr_core::Preset;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_counts_cost_ids() {
        let excessive = |name: &str| {
            let ids = ApicIds::new(Preset::by_name(name).unwrap().topology);
            ids.needs_x2apic().then(|| ids.highest())
        };
        assert_eq!(excessive("9cpu-3llc-nosmt"), None);
        assert_eq!(excessive("4numa-192cpu-12llc-smt"), None);
        assert_eq!(excessive("240cpu-15llc-smt"), None);
        // 14 packages of 16 x 2 places for 9 cores: 13 << 5 | 8 << 1 | 1.
        assert_eq!(excessive("252cpu-14llc-smt"), Some(433));
    }

    #[test]
    fn the_last_xapic_id() {
        let needs = |llcs| ApicIds::new(Topology::constant(1, llcs, 1, 1)).needs_x2apic();
        assert!(!needs(255));
        assert!(needs(256));
    }

    #[test]
    fn one_thread_takes_no_bits() {
        let ids = ApicIds::new(Topology::constant(1, 3, 3, 1));
        assert_eq!((ids.core_shift(), ids.package_shift()), (0, 2));
        let all: Vec<_> = (0..9).map(|cpu| ids.id_of(cpu)).collect();
        assert_eq!(all, [0, 1, 2, 4, 5, 6, 8, 9, 10]);
    }

    proptest! {
        #[test]
        fn ids_grow_and_name_core_and_package(
            llcs in 1..40u32, cores in 1..13u32, threads in 1..=4u32
        ) {
            let Ok(topology) = Topology::new(1, llcs, cores, threads) else {
                return Ok(());
            };
            let ids = ApicIds::new(topology);
            for cpu in 0..topology.cpus() {
                let id = ids.id_of(cpu);
                prop_assert!(cpu == 0 || ids.id_of(cpu - 1) < id);
                prop_assert_eq!(id >> ids.package_shift(), topology.llc_of(cpu));
                let other = |other: u32| ids.id_of(other) >> ids.core_shift() == id >> ids.core_shift();
                for sibling in 0..topology.cpus() {
                    prop_assert_eq!(
                        other(sibling),
                        topology.core_of(sibling) == topology.core_of(cpu)
                    );
                }
            }
        }
    }
}
