//! The caches of a machine: they have the host's sizes, and the topology determines which CPUs share them.
//!
//! Intel's leaf 4 and AMD's leaf 0x8000001D have the same format (SDM volume 2, CPUID; APM volume 3, E.4.15): a subleaf
//! for each cache, terminated by one of type 0.

use super::super::cpu_ids::ApicIds;
use super::leaves::Registers;

/// Types in EAX 4:0.
const DATA: u32 = 1;
const INSTRUCTION: u32 = 2;
const UNIFIED: u32 = 3;

/// The bits of EAX below the sharing count: type, level and properties.
const KIND: u32 = 0x3fff;

/// EAX 25:14: the number of ids that share the cache, minus one.
const SHARING_SHIFT: u32 = 14;

/// EAX 8: self-initializing.
const SELF_INITIALIZING: u32 = 1 << 8;

/// The caches of a machine, in the order that Linux expects: on AMD, it takes subleaf 3 for the L3
/// (`__cache_amd_cpumap_setup` in arch/x86/kernel/cpu/cacheinfo.c).
const CACHES: [Cache; 4] = [
    Cache::new(1, DATA, 8, 64),
    Cache::new(1, INSTRUCTION, 8, 64),
    Cache::new(2, UNIFIED, 8, 1024),
    Cache::new(3, UNIFIED, 16, 16384),
];

/// A kind of cache, and its size if the host has no such cache: 32 KiB, 32 KiB, 512 KiB and 16 MiB.
struct Cache {
    level: u32,
    kind: u32,
    ways: u32,
    sets: u32,
}

impl Cache {
    const LINE: u32 = 64;

    const fn new(level: u32, kind: u32, ways: u32, sets: u32) -> Self {
        Self {
            level,
            kind,
            ways,
            sets,
        }
    }

    /// EAX 7:0.
    fn kind_and_level(&self) -> u32 {
        self.kind | self.level << 5
    }

    fn registers(&self) -> Registers {
        let eax = self.kind_and_level() | SELF_INITIALIZING;
        [
            eax,
            (self.ways - 1) << 22 | (Self::LINE - 1),
            self.sets - 1,
            0,
        ]
    }
}

/// The subleaves: each core has its L1 and L2, each package its L3.
///
/// The counts are those of ids, not of CPUs: powers of two that cover the id field of a core or a package. Intel
/// defines them so, and AMD's rule (round up to a power of two, shift the id right by it) has the same result. The
/// number of CPUs would be wrong for both: 5 cores of 3 threads are 15 CPUs, which rounds up to 16, but their ids take
/// 32; and Linux divides AMD ids by the exact count (`__cache_amd_cpumap_setup`), so that 3 threads with 4 ids per core
/// would share caches across cores.
///
/// `upper` goes into EAX 31:26.
pub(super) fn subleaves(
    host: &[Registers],
    ids: ApicIds,
    upper: u32,
) -> impl Iterator<Item = Registers> {
    let caches = CACHES.iter().map(move |cache| {
        let same = |[eax, ..]: &&Registers| eax & 0xff == cache.kind_and_level();
        let mut registers = host
            .iter()
            .find(same)
            .copied()
            .unwrap_or_else(|| cache.registers());
        let shift = if cache.level == 3 {
            ids.package_shift()
        } else {
            ids.core_shift()
        };
        registers[0] = registers[0] & KIND | ((1 << shift) - 1) << SHARING_SHIFT | upper << 26;
        registers
    });
    caches.chain([[0; 4]])
}
