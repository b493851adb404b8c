//! The caches of a machine: of the host's sizes, shared as the topology says.
//!
//! Intel's leaf 4 and AMD's leaf 0x8000001D have one form (SDM volume 2, CPUID; APM volume 3, E.4.15):
//! a subleaf for each cache, ended by one of type 0.

use super::super::cpu_ids::ApicIds;
use super::leaves::Registers;

/// Types in EAX 4:0.
const DATA: u32 = 1;
const INSTRUCTION: u32 = 2;
const UNIFIED: u32 = 3;

/// EAX below what says who shares the cache: type, level, and how it behaves.
const KIND: u32 = 0x3fff;

/// EAX 25:14, how many ids share the cache, less one.
const SHARING_SHIFT: u32 = 14;

/// EAX 8: needs no initialization by software.
const SELF_INITIALIZING: u32 = 1 << 8;

/// The caches that a machine has, in the order in which Linux wants them: on AMD it takes subleaf 3 for
/// the L3 (`__cache_amd_cpumap_setup` in arch/x86/kernel/cpu/cacheinfo.c).
const CACHES: [Cache; 4] = [
    Cache::new(1, DATA, 8, 64),
    Cache::new(1, INSTRUCTION, 8, 64),
    Cache::new(2, UNIFIED, 8, 1024),
    Cache::new(3, UNIFIED, 16, 16384),
];

/// A kind of cache, and its size where the host has none: 32 KiB, 32 KiB, 512 KiB and 16 MiB.
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

/// The subleaves: L1 and L2 are a core's, the L3 is a package's.
///
/// The counts are of ids, not of CPUs: powers of two, the whole of a core's or a package's field. That is what
/// Intel defines, and AMD's rule (round up to a power of two, shift the id right by it) gives the same. The
/// number of CPUs would be wrong with both: 5 cores of 3 threads are 15, which rounds up to 16 where ids have
/// 32 places; and Linux divides an AMD's ids by the very number (`__cache_amd_cpumap_setup`), so that with 3
/// threads of 4 places caches would be shared across cores.
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
