//! The CPUID of vCPUs: the host's processor with the machine's topology.
//!
//! Linux derives packages, cores and threads from the fields of the APIC id, whose widths are in leaf 0xB
//! (`topology_ext.c` and `topology_amd.c` in arch/x86/kernel/cpu), and the sharing of caches from leaf 4 or 0x8000001D
//! (`cacheinfo.c`). That describes any counts, powers of two or not, on both vendors. `linux.rs`, the oracle of the
//! tests, models these files.
//!
//! On AMD, the sharing of the L3 does not depend on its leaf alone. If EDX of leaf 0x80000006 reports an L3, Linux uses
//! the node on families before 17h, bit 3 of the APIC id on the first 17h and all Hygon, and leaf 0x8000001D on later
//! ones (`cacheinfo_amd_init_llc_id`). If EDX is 0, the package shares the L3 on every family (`legacy_set_llc`). So
//! EDX is 0 here.

mod caches;
#[cfg(test)]
mod hosts;
mod leaves;
#[cfg(test)]
mod linux;
#[cfg(test)]
mod tests;

use kvm_bindings::kvm_cpuid_entry2;

use super::cpu_ids::ApicIds;
use leaves::{Leaves, Registers, set};

/// Features of a machine's CPUs beside their topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features {
    /// The local APIC's timer has the TSC-deadline mode: `KVM_CAP_TSC_DEADLINE_TIMER`. KVM's CPUID does not list it.
    pub(super) tsc_deadline: bool,
    /// vCPUs are never preempted for long: `KVM_HINTS_REALTIME`. Guests then spin instead of calling the host.
    pub(super) realtime: bool,
}

/// The CPUID of `cpu`, made from the result of `KVM_GET_SUPPORTED_CPUID`.
///
/// With [`ApicIds::needs_x2apic`] it advertises 15 bits for the destination of an interrupt
/// (`KVM_FEATURE_MSI_EXT_DEST_ID`), without which Linux does not use CPUs of higher ids (`try_to_enable_x2apic`).
pub(super) fn vcpu(
    supported: &[kvm_cpuid_entry2],
    ids: ApicIds,
    cpu: u32,
    features: Features,
) -> Vec<kvm_cpuid_entry2> {
    let mut leaves = Leaves::new(supported);
    let amd = is_amd(&mut leaves);
    basic(&mut leaves, ids, cpu, amd, features);
    topology(&mut leaves, ids, cpu);
    if amd {
        extended_amd(&mut leaves, ids, cpu);
    } else {
        let host = leaves.subleaves(4);
        // EAX 31:26: the number of core ids of a package, minus one, limited to 6 bits.
        let cores = 1 << (ids.package_shift() - ids.core_shift());
        let cores = (cores - 1_u32).min(0x3f);
        leaves.replace(4, caches::subleaves(&host, ids, cores));
    }
    hypervisor(&mut leaves, ids, features);
    leaves.into_entries()
}

/// Whether the topology has AMD's format; Hygon's processors are derived from AMD's.
fn is_amd(leaves: &mut Leaves) -> bool {
    let vendor = leaves.leaf(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    let name = name.as_flattened();
    name == b"AuthenticAMD" || name == b"HygonGenuine"
}

/// Leaf 1.
fn basic(leaves: &mut Leaves, ids: ApicIds, cpu: u32, amd: bool, features: Features) {
    /// EDX 28: EBX 23:16 is valid. Linux calls it `ht`.
    const HTT: u32 = 1 << 28;
    /// ECX 24.
    const TSC_DEADLINE: u32 = 1 << 24;
    /// ECX 31: a hypervisor is present. Linux then looks for its leaves.
    const HYPERVISOR: u32 = 1 << 31;

    let in_package = ids.topology().cpus_per_llc();
    // Intel counts ids, AMD counts CPUs.
    let places = if amd {
        in_package
    } else {
        1 << ids.package_shift()
    };
    let leaf = leaves.leaf(1);
    // The lower half is that of the host: brand index and CLFLUSH line size.
    leaf.ebx = leaf.ebx & 0xffff | places.min(0xff) << 16 | (ids.id_of(cpu) & 0xff) << 24;
    set(&mut leaf.edx, HTT, in_package > 1);
    set(&mut leaf.ecx, HYPERVISOR, true);
    set(&mut leaf.ecx, TSC_DEADLINE, features.tsc_deadline);
}

/// Leaves 0xB and 0x1F, extended topology (SDM volume 3, 10.9.1). Linux reads 0x1F first if leaf 0 covers it.
fn topology(leaves: &mut Leaves, ids: ApicIds, cpu: u32) {
    /// Types of levels in ECX 15:8.
    const SMT: u32 = 1 << 8;
    const CORE: u32 = 2 << 8;

    let topology = ids.topology();
    let id = ids.id_of(cpu);
    // For each level: the shift, the number of CPUs, index and type, and the id. The last one terminates the list.
    let levels: [Registers; 3] = [
        [ids.core_shift(), topology.threads(), SMT, id],
        [ids.package_shift(), topology.cpus_per_llc(), 1 | CORE, id],
        [0, 0, 2, id],
    ];
    let highest = &mut leaves.leaf(0).eax;
    *highest = (*highest).max(0xb);
    let has_1f = *highest >= 0x1f;
    leaves.replace(0xb, levels);
    leaves.remove(0x1f);
    if has_1f {
        leaves.replace(0x1f, levels);
    }
}

/// AMD's leaves from 0x80000000 (APM volume 3, E.4).
fn extended_amd(leaves: &mut Leaves, ids: ApicIds, cpu: u32) {
    /// ECX 1 of leaf 0x80000001: `HTT` means cores.
    const CMP_LEGACY: u32 = 1 << 1;
    /// ECX 22: leaves 0x8000001D and 0x8000001E are present.
    const TOPOEXT: u32 = 1 << 22;

    let topology = ids.topology();
    let in_package = topology.cpus_per_llc();

    let highest = &mut leaves.leaf(0x8000_0000).eax;
    *highest = (*highest).max(0x8000_001e);

    let leaf = leaves.leaf(0x8000_0001);
    set(&mut leaf.ecx, CMP_LEGACY, in_package > 1);
    set(&mut leaf.ecx, TOPOEXT, true);

    // No L3 in the legacy leaf: see the module's documentation.
    leaves.leaf(0x8000_0006).edx = 0;

    // ECX 7:0: CPUs of the package, minus one; 15:12: the width of their field in the APIC id.
    let leaf = leaves.leaf(0x8000_0008);
    leaf.ecx = leaf.ecx & !0xf0ff | (in_package - 1).min(0xff) | ids.package_shift() << 12;

    let host = leaves.subleaves(0x8000_001d);
    leaves.replace(0x8000_001d, caches::subleaves(&host, ids, 0));

    // EBX 7:0: the core in its package; 15:8: its threads, minus one. ECX 7:0: the node, one per package; AMD means a
    // die, and ACPI describes NUMA nodes. If 8 bits are too few, Linux uses the APIC id: it takes core 255 as invalid
    // (`cu_id` in `match_smt`, smpboot.c).
    let leaf = leaves.leaf(0x8000_001e);
    leaf.eax = ids.id_of(cpu);
    leaf.ebx = (topology.threads() - 1).min(0xff) << 8 | ids.core_in_package(cpu).min(0xff);
    leaf.ecx = topology.llc_of(cpu) & 0xff;
    leaf.edx = 0;

    // This leaf has the host's topology; without it Linux reads leaf 0xB.
    leaves.remove(0x8000_0026);
}

/// KVM's own leaves (Documentation/virt/kvm/x86/cpuid.rst); the signature at 0x40000000 is kept.
fn hypervisor(leaves: &mut Leaves, ids: ApicIds, features: Features) {
    const FEATURES: u32 = 0x4000_0001;
    /// EAX 15.
    const MSI_EXT_DEST_ID: u32 = 1 << 15;
    /// EDX 0.
    const HINTS_REALTIME: u32 = 1 << 0;

    if let Some(leaf) = leaves.find(FEATURES) {
        set(&mut leaf.eax, MSI_EXT_DEST_ID, ids.needs_x2apic());
        set(&mut leaf.edx, HINTS_REALTIME, features.realtime);
    }
}
