//! How Linux interprets CPUID: its topology and cache code of 6.12, function by function, for tests.

use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use super::leaves::Registers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vendor {
    Intel,
    Amd,
    Hygon,
}

/// A booted machine.
pub(super) struct Linux {
    cpus: Vec<Cpu>,
    topoext: bool,
    has_smt: bool,
    has_mp: bool,
}

/// `struct cpuinfo_x86` of a CPU, and what `cacheinfo.c` keeps.
#[derive(Debug, Clone)]
pub(super) struct Cpu {
    vendor: Vendor,
    family: u32,
    model: u32,
    pub(super) apic_id: u32,
    /// The id in CPUID; Linux reports a firmware bug if it differs from the APIC's.
    pub(super) initial_apic_id: u32,
    /// `dom_shifts` of SMT and CORE.
    pub(super) shifts: [u32; 2],
    pub(super) package: u32,
    pub(super) core: u32,
    node: u32,
    compute_unit: u32,
    llc: Option<u32>,
    l2: Option<u32>,
    pub(super) caches: Vec<Cache>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cache {
    pub(super) level: u32,
    pub(super) kind: u32,
    pub(super) size: u64,
    /// `num_threads_sharing` + 1.
    sharing: u32,
}

impl Linux {
    /// `cpus` are APIC ids in the order of the MADT, with the CPUID of each.
    pub(super) fn boot(cpus: &[(u32, Vec<kvm_cpuid_entry2>)]) -> Self {
        let boot_cpu = Processor(&cpus[0].1);
        let topoext = boot_cpu.topoext();
        let cpus: Vec<Cpu> = cpus
            .iter()
            .map(|(id, entries)| Processor(entries).identify(*id))
            .collect();
        // topology_init_possible_cpus(), from the ids in the MADT and the boot CPU's shifts.
        let [smt, pkg] = cpus[0].shifts;
        let mut cores: Vec<u32> = cpus.iter().map(|cpu| cpu.apic_id >> smt).collect();
        cores.dedup();
        let threads_per_core = cpus.len().div_ceil(cores.len());
        let first = cpus[0].apic_id >> pkg;
        let in_first = cores.iter().filter(|core| **core >> (pkg - smt) == first);
        let has_smt = threads_per_core > 1;
        Self {
            topoext,
            has_smt,
            has_mp: has_smt || in_first.count() > 1,
            cpus,
        }
    }

    pub(super) fn cpu(&self, cpu: u32) -> &Cpu {
        &self.cpus[cpu as usize]
    }

    /// `topology/core_cpus_list`.
    pub(super) fn core_siblings(&self, cpu: u32) -> Vec<u32> {
        self.mask(cpu, |c, o| self.has_smt && self.match_smt(c, o))
    }

    /// `topology/package_cpus_list`: `match_pkg()`.
    pub(super) fn package_siblings(&self, cpu: u32) -> Vec<u32> {
        self.mask(cpu, |c, o| self.has_mp && c.package == o.package)
    }

    /// `cpu_llc_shared_mask`, the span of the scheduler's MC domain: `match_llc()`.
    pub(super) fn llc_siblings(&self, cpu: u32) -> Vec<u32> {
        self.mask(cpu, |c, o| self.has_mp && c.llc.is_some() && c.llc == o.llc)
    }

    /// `topology/cluster_cpus_list`: `match_l2c()`.
    pub(super) fn l2_siblings(&self, cpu: u32) -> Vec<u32> {
        self.mask(cpu, |c, o| {
            self.has_mp
                && match c.l2 {
                    Some(_) => c.l2 == o.l2,
                    None => self.match_smt(c, o),
                }
        })
    }

    /// `cache/index*/shared_cpu_list`: `__cache_cpumap_setup()`.
    pub(super) fn cache_siblings(&self, cpu: u32, index: usize) -> Vec<u32> {
        let amd = self.cpu(cpu).vendor != Vendor::Intel;
        let sharing = self.cpu(cpu).caches[index].sharing;
        if amd && index == 3 {
            self.llc_siblings(cpu)
        } else if amd && self.topoext {
            self.mask(cpu, |c, o| c.apic_id / sharing == o.apic_id / sharing)
        } else {
            let shift = count_order(sharing);
            self.mask(cpu, |c, o| c.apic_id >> shift == o.apic_id >> shift)
        }
    }

    /// `match_smt()` in smpboot.c.
    fn match_smt(&self, c: &Cpu, o: &Cpu) -> bool {
        if self.topoext {
            c.package == o.package
                && c.node == o.node
                && c.llc == o.llc
                && (c.core == o.core
                    || (c.compute_unit != 0xff && c.compute_unit == o.compute_unit))
        } else {
            c.package == o.package && c.core == o.core
        }
    }

    fn mask(&self, cpu: u32, linked: impl Fn(&Cpu, &Cpu) -> bool) -> Vec<u32> {
        let c = self.cpu(cpu);
        let others = (0..).zip(&self.cpus);
        others
            .filter(|(other, o)| *other == cpu || linked(c, o))
            .map(|(other, _)| other)
            .collect()
    }
}

/// One processor's CPUID as KVM answers it.
pub(super) struct Processor<'a>(pub(super) &'a [kvm_cpuid_entry2]);

impl Processor<'_> {
    /// `kvm_cpuid()`: a missing entry is zeros, or on Intel the highest basic leaf if `function` is out of range.
    pub(super) fn cpuid(&self, function: u32, index: u32) -> Registers {
        if let Some(found) = self.find(function, index) {
            return found;
        }
        let [highest, ..] = self.find(0, 0).unwrap_or_default();
        let [class_highest, ..] = self.find(function & 0x8000_0000, 0).unwrap_or_default();
        if self.vendor() == Vendor::Intel && function > class_highest {
            return self.find(highest, index).unwrap_or_default();
        }
        [0; 4]
    }

    fn find(&self, function: u32, index: u32) -> Option<Registers> {
        let found = self.0.iter().find(|entry| {
            entry.function == function
                && (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX == 0 || entry.index == index)
        });
        found.map(|entry| [entry.eax, entry.ebx, entry.ecx, entry.edx])
    }

    fn vendor(&self) -> Vendor {
        let [_, ebx, ..] = self.find(0, 0).unwrap_or_default();
        match &ebx.to_le_bytes() {
            b"Auth" => Vendor::Amd,
            b"Hygo" => Vendor::Hygon,
            _ => Vendor::Intel,
        }
    }

    fn topoext(&self) -> bool {
        let [_, _, ecx, _] = self.cpuid(0x8000_0001, 0);
        self.vendor() != Vendor::Intel && ecx & 1 << 22 != 0
    }

    /// `identify_cpu()`, as far as it concerns topology.
    fn identify(&self, apic_id: u32) -> Cpu {
        let [eax, ebx, ..] = self.cpuid(1, 0);
        let base = eax >> 8 & 0xf;
        let mut cpu = Cpu {
            vendor: self.vendor(),
            family: if base == 0xf {
                base + (eax >> 20 & 0xff)
            } else {
                base
            },
            model: eax >> 4 & 0xf | eax >> 12 & 0xf0,
            apic_id,
            initial_apic_id: ebx >> 24,
            shifts: [0; 2],
            package: 0,
            core: 0,
            node: 0,
            compute_unit: 0xff,
            llc: None,
            l2: None,
            caches: Vec::new(),
        };
        let leaf = if cpu.vendor == Vendor::Intel {
            4
        } else {
            0x8000_001d
        };
        cpu.caches = self.caches(leaf);
        match cpu.vendor {
            Vendor::Intel => assert!(self.topology_ext(&mut cpu), "parse_legacy()"),
            Vendor::Amd | Vendor::Hygon => self.topology_amd(&mut cpu),
        }
        // topo_set_ids()
        let [smt, pkg] = cpu.shifts;
        cpu.package = apic_id >> pkg;
        cpu.core = (apic_id & !(u32::MAX << pkg)) >> smt;
        if cpu.vendor == Vendor::Intel {
            init_intel_cacheinfo(&mut cpu);
        }
        cpu
    }

    /// `cpu_parse_topology_ext()` in `topology_ext.c`.
    fn topology_ext(&self, cpu: &mut Cpu) -> bool {
        let [highest, ..] = self.cpuid(0, 0);
        let [highest_extended, ..] = self.cpuid(0x8000_0000, 0);
        (highest >= 0x1f && self.topology_leaf(0x1f, cpu))
            || (highest_extended >= 0x8000_0026 && self.topology_leaf(0x8000_0026, cpu))
            || (highest >= 0xb && self.topology_leaf(0xb, cpu))
    }

    /// `parse_topology_leaf()`; there are no levels above the core here.
    fn topology_leaf(&self, leaf: u32, cpu: &mut Cpu) -> bool {
        for index in 0.. {
            let [eax, ebx, ecx, edx] = self.cpuid(leaf, index);
            let (shift, count, kind) = (eax & 0x1f, ebx & 0xffff, ecx >> 8 & 0xff);
            if count == 0 || kind == 0 {
                assert_eq!(edx, if index == 0 { edx } else { cpu.initial_apic_id });
                return index > 0;
            }
            match kind {
                1 => {
                    cpu.initial_apic_id = edx;
                    cpu.shifts = [shift; 2];
                    assert!(shift > 0 || count == 1, "shift level 0 but {count} CPUs");
                }
                2 => cpu.shifts[1] = shift,
                _ => panic!("level {kind} in leaf {leaf:#x}"),
            }
            assert_eq!(edx, cpu.initial_apic_id, "APIC ID mismatch");
        }
        unreachable!("the list has no end")
    }

    /// `cpu_parse_topology_amd()` in `topology_amd.c`.
    fn topology_amd(&self, cpu: &mut Cpu) {
        if !self.topology_ext(cpu) {
            // parse_8000_0008(), which does not know about threads
            let [_, _, ecx, _] = self.cpuid(0x8000_0008, 0);
            let shift = match ecx >> 12 & 0xf {
                0 => count_order((ecx & 0xff) + 1),
                shift => shift,
            };
            cpu.shifts = [0, shift];
        }
        if self.topoext() {
            // parse_8000_001e()
            let [_, ebx, ecx, _] = self.cpuid(0x8000_001e, 0);
            assert_eq!(ecx >> 8 & 7, 0, "nodes per package");
            cpu.node = ecx & 0xff;
            if cpu.vendor == Vendor::Amd && cpu.family == 0x15 {
                cpu.compute_unit = ebx & 0xff;
            }
            cpu.llc = self.llc_of_amd(cpu);
        }
        // legacy_set_llc()
        cpu.llc = cpu.llc.or(Some(cpu.initial_apic_id >> cpu.shifts[1]));
    }

    /// `cacheinfo_amd_init_llc_id()` and `cacheinfo_hygon_init_llc_id()` in cacheinfo.c.
    fn llc_of_amd(&self, cpu: &Cpu) -> Option<u32> {
        let [.., edx] = self.cpuid(0x8000_0006, 0);
        if edx == 0 {
            None
        } else if cpu.vendor == Vendor::Hygon {
            Some(cpu.apic_id >> 3)
        } else if cpu.family < 0x17 {
            Some(cpu.node)
        } else if cpu.family == 0x17 && cpu.model <= 0x1f {
            Some(cpu.apic_id >> 3)
        } else {
            let last = cpu.caches.last()?;
            Some(cpu.apic_id >> count_order(last.sharing))
        }
    }

    /// `find_num_cache_leaves()` and `cpuid4_cache_lookup_regs()` in cacheinfo.c.
    fn caches(&self, leaf: u32) -> Vec<Cache> {
        let leaves = (0..).map(|index| self.cpuid(leaf, index));
        let caches = leaves.take_while(|[eax, ..]| eax & 0x1f != 0);
        caches
            .map(|[eax, ebx, ecx, _]| {
                let field = |shift: u32, mask: u32| u64::from(ebx >> shift & mask) + 1;
                Cache {
                    level: eax >> 5 & 7,
                    kind: eax & 0x1f,
                    size: (u64::from(ecx) + 1)
                        * field(0, 0xfff)
                        * field(12, 0x3ff)
                        * field(22, 0x3ff),
                    sharing: (eax >> 14 & 0xfff) + 1,
                }
            })
            .collect()
    }
}

/// `init_intel_cacheinfo()`.
fn init_intel_cacheinfo(cpu: &mut Cpu) {
    for cache in cpu.caches.clone() {
        let id = Some(cpu.apic_id & !((1 << count_order(cache.sharing)) - 1));
        match cache.level {
            2 => (cpu.l2, cpu.llc) = (id, id),
            3 => cpu.llc = id,
            _ => {}
        }
    }
}

/// `get_count_order()`.
fn count_order(count: u32) -> u32 {
    count.next_power_of_two().ilog2()
}
