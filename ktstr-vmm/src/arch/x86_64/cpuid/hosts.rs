//! Hosts for tests: the CPUID that KVM supports on processors that Linux treats differently.

use ktstr_core::Topology;
use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use super::super::cpu_ids::ApicIds;
use super::linux::{Linux, Vendor};
use super::{Features, vcpu};

pub(super) const FEATURES: Features = Features {
    tsc_deadline: true,
    realtime: false,
};

/// A host, described by the CPUID that its KVM supports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    vendor: Vendor,
    /// EAX of leaf 1: family, model and stepping.
    signature: u32,
    highest: u32,
    highest_extended: u32,
    /// Cache levels in the vendor's cache leaf.
    cache_levels: u32,
}

/// Sapphire Rapids, on which Linux reads leaf 0x1F.
pub(super) const INTEL: Host = Host {
    vendor: Vendor::Intel,
    signature: 0x0008_06f8,
    highest: 0x20,
    highest_extended: 0x8000_0008,
    cache_levels: 3,
};

/// Genoa.
pub(super) const AMD: Host = Host {
    vendor: Vendor::Amd,
    signature: 0x00a1_0f11,
    highest: 0x10,
    highest_extended: 0x8000_0022,
    cache_levels: 3,
};

/// The first of family 17h: without our CPUID, Linux would derive the LLC from bit 3 of the id.
pub(super) const NAPLES: Host = Host {
    signature: 0x0080_0f12,
    highest: 0xd,
    highest_extended: 0x8000_001f,
    ..AMD
};

/// Family 15h, which has compute units.
pub(super) const PILEDRIVER: Host = Host {
    signature: 0x0060_0f20,
    highest: 0xd,
    highest_extended: 0x8000_001e,
    ..AMD
};

/// The kinds of hosts that Linux treats differently.
pub(super) const HOSTS: &[Host] = &[
    INTEL,
    // Leaf 0xB without 0x1F; no L3; no leaf 0xB.
    Host {
        highest: 0xb,
        ..INTEL
    },
    Host {
        cache_levels: 2,
        ..INTEL
    },
    Host {
        highest: 0xa,
        ..INTEL
    },
    AMD,
    NAPLES,
    PILEDRIVER,
    // QEMU's `max`, the host in a nested rig: family 15, caches in the old leaves only.
    Host {
        signature: 0x0006_0fb1,
        highest: 0xd,
        highest_extended: 0x8000_000a,
        cache_levels: 0,
        ..AMD
    },
    // A host with 0x1F and 0x80000026.
    Host {
        signature: 0x00b0_0f20,
        highest: 0x23,
        highest_extended: 0x8000_0028,
        ..AMD
    },
    Host {
        vendor: Vendor::Hygon,
        signature: 0x0090_0f02,
        highest: 0xd,
        ..AMD
    },
];

impl Host {
    /// This host with `cache_levels` cache levels in the vendor's cache leaf.
    pub(super) fn with_cache_levels(self, cache_levels: u32) -> Self {
        Self {
            cache_levels,
            ..self
        }
    }

    /// The result of `KVM_GET_SUPPORTED_CPUID`, including the host's topology as old versions of KVM do.
    pub(super) fn supported(self) -> Vec<kvm_cpuid_entry2> {
        let name = match self.vendor {
            Vendor::Intel => b"GenuineIntel",
            Vendor::Amd => b"AuthenticAMD",
            Vendor::Hygon => b"HygonGenuine",
        };
        let word = |at: usize| u32::from_le_bytes(name[at..at + 4].try_into().unwrap());
        let leaf = |function, [eax, ebx, ecx, edx]: [u32; 4]| kvm_cpuid_entry2 {
            function,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        };
        let subleaf = |function, index, registers| kvm_cpuid_entry2 {
            index,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            ..leaf(function, registers)
        };
        let mut entries = vec![
            leaf(0, [self.highest, word(0), word(8), word(4)]),
            leaf(1, [self.signature, 0x0b20_0800, 0x8020_0000, 0x1078_bfff]),
            leaf(0x4000_0000, [0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d]),
            leaf(0x4000_0001, [0x0100_7efb, 0, 0, 0]),
            leaf(0x8000_0000, [self.highest_extended, 0, 0, 0]),
            leaf(0x8000_0001, [self.signature, 0, 0x0040_01f3, 0x2c10_0800]),
            leaf(
                0x8000_0002,
                [0x2044_4d41, 0x4359_5045, 0x3539_2034, 0x0034_3335],
            ),
            leaf(0x8000_0006, [0, 0, 0x0200_6140, 0x0100_9140]),
            leaf(0x8000_0008, [0x3030, 0, 0x0001_601f, 0]),
            leaf(0x8000_001e, [0x0b, 0x0103, 0x0302, 0]),
        ];
        for index in 0..3 {
            for function in [0xb, 0x1f, 0x8000_0026] {
                if function <= self.highest || function & 1 << 31 != 0 {
                    entries.push(subleaf(
                        function,
                        index,
                        [index + 3, 7, index | 0x300, 0x2a],
                    ));
                }
            }
        }
        // 48 KiB, 32 KiB, 2 MiB and 105 MiB, shared by 2 and by 64 CPUs; then an L4.
        let caches = [
            [0x0400_4121, 0x02c0_003f, 0x3f, 0],
            [0x0400_4122, 0x01c0_003f, 0x3f, 0],
            [0x0400_4143, 0x03c0_003f, 0x7ff, 0],
            [0x040f_c163, 0x0380_003f, 0x1bfff, 4],
            [0x040f_c183, 0x03c0_003f, 0x1ffff, 0],
        ];
        let function = if self.vendor == Vendor::Intel {
            4
        } else {
            0x8000_001d
        };
        let count = [0, 2, 3, 5][self.cache_levels as usize];
        for (index, registers) in (0..).zip(&caches[..count]) {
            entries.push(subleaf(function, index, *registers));
        }
        entries
    }

    /// Linux, booted on a machine of `topology` on this host.
    pub(super) fn boot(self, topology: Topology) -> Linux {
        let ids = ApicIds::new(topology);
        let supported = self.supported();
        let cpus: Vec<_> = (0..topology.cpus())
            .map(|cpu| (ids.id_of(cpu), vcpu(&supported, ids, cpu, FEATURES)))
            .collect();
        Linux::boot(&cpus)
    }
}
