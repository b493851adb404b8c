//! What a vCPU's CPUID says: the host's processor in the machine's topology.
//!
//! Linux takes packages, cores and threads from the APIC id, cut where leaf 0xB says (`topology_ext.c` and
//! `topology_amd.c` in arch/x86/kernel/cpu), and who shares a cache from leaf 4 or 0x8000001D (`cacheinfo.c`).
//! Every count can be told so, powers of two or not, by both vendors. `linux.rs`, the oracle of the tests, is
//! what these files do.
//!
//! On AMD the L3's sharing does not come from its own leaf alone. If EDX of leaf 0x80000006 tells of an L3,
//! Linux goes by the family: by the node before 17h, by bit 3 of the APIC id on the first 17h and all Hygon,
//! by leaf 0x8000001D on later ones (`cacheinfo_amd_init_llc_id`). If EDX is 0 the L3 is the package's
//! (`legacy_set_llc`), on every family. So it is 0 here.

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

/// What a machine's CPUs have besides their topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features {
    /// The local APIC's timer has deadlines: `KVM_CAP_TSC_DEADLINE_TIMER`. KVM does not list it.
    pub(super) tsc_deadline: bool,
    /// vCPUs are never preempted for long: `KVM_HINTS_REALTIME`. Guests then spin rather than ask the host.
    pub(super) realtime: bool,
}

/// The CPUID of `cpu`, from what `KVM_GET_SUPPORTED_CPUID` lists.
///
/// With [`ApicIds::needs_x2apic`] it promises 15 bits for the target of an interrupt
/// (`KVM_FEATURE_MSI_EXT_DEST_ID`), without which Linux leaves CPUs of higher ids alone
/// (`try_to_enable_x2apic`).
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
        // EAX 31:26: how many ids of cores a package has, less one, and no more than 6 bits hold.
        let cores = 1 << (ids.package_shift() - ids.core_shift());
        let cores = (cores - 1_u32).min(0x3f);
        leaves.replace(4, caches::subleaves(&host, ids, cores));
    }
    hypervisor(&mut leaves, ids, features);
    leaves.into_entries()
}

/// Whether the topology is told as AMD tells it; Hygon makes AMD's processors.
fn is_amd(leaves: &mut Leaves) -> bool {
    let vendor = leaves.leaf(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    let name = name.as_flattened();
    name == b"AuthenticAMD" || name == b"HygonGenuine"
}

/// Leaf 1.
fn basic(leaves: &mut Leaves, ids: ApicIds, cpu: u32, amd: bool, features: Features) {
    /// EDX 28: EBX 23:16 holds. Linux calls it `ht`.
    const HTT: u32 = 1 << 28;
    /// ECX 24.
    const TSC_DEADLINE: u32 = 1 << 24;
    /// ECX 31: a hypervisor is there. Linux looks for its leaves then.
    const HYPERVISOR: u32 = 1 << 31;

    let in_package = ids.topology().cpus_per_llc();
    // Intel counts ids, AMD counts CPUs.
    let places = if amd {
        in_package
    } else {
        1 << ids.package_shift()
    };
    let leaf = leaves.leaf(1);
    // The lower half is the host's: brand and CLFLUSH's line.
    leaf.ebx = leaf.ebx & 0xffff | places.min(0xff) << 16 | (ids.id_of(cpu) & 0xff) << 24;
    set(&mut leaf.edx, HTT, in_package > 1);
    set(&mut leaf.ecx, HYPERVISOR, true);
    set(&mut leaf.ecx, TSC_DEADLINE, features.tsc_deadline);
}

/// Leaves 0xB and 0x1F, the x2APIC's view (SDM volume 3, 10.9.1). Linux reads 0x1F first, if leaf 0 goes that far.
fn topology(leaves: &mut Leaves, ids: ApicIds, cpu: u32) {
    /// Types of levels in ECX 15:8.
    const SMT: u32 = 1 << 8;
    const CORE: u32 = 2 << 8;

    let topology = ids.topology();
    let id = ids.id_of(cpu);
    // The places of the level, its CPUs, its number and type, and the id. The last one ends the list.
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

/// Leaves 0x80000000 and up of AMD (APM volume 3, E.4).
fn extended_amd(leaves: &mut Leaves, ids: ApicIds, cpu: u32) {
    /// ECX 1 of leaf 0x80000001: `HTT` means cores.
    const CMP_LEGACY: u32 = 1 << 1;
    /// ECX 22: leaves 0x8000001D and 0x8000001E are there.
    const TOPOEXT: u32 = 1 << 22;

    let topology = ids.topology();
    let in_package = topology.cpus_per_llc();

    let highest = &mut leaves.leaf(0x8000_0000).eax;
    *highest = (*highest).max(0x8000_001e);

    let leaf = leaves.leaf(0x8000_0001);
    set(&mut leaf.ecx, CMP_LEGACY, in_package > 1);
    set(&mut leaf.ecx, TOPOEXT, true);

    // No L3 of the old kind, see the module.
    leaves.leaf(0x8000_0006).edx = 0;

    // ECX 7:0: CPUs of the package, less one; 15:12: the bits they take in the APIC id.
    let leaf = leaves.leaf(0x8000_0008);
    leaf.ecx = leaf.ecx & !0xf0ff | (in_package - 1).min(0xff) | ids.package_shift() << 12;

    let host = leaves.subleaves(0x8000_001d);
    leaves.replace(0x8000_001d, caches::subleaves(&host, ids, 0));

    // EBX 7:0: the core in its package; 15:8: its threads, less one. ECX 7:0: the node, one to a package; AMD
    // means a die, ACPI tells of NUMA nodes. Where 8 bits are few, the APIC id is what Linux goes by: core 255
    // is none to it (`cu_id` in `match_smt`, smpboot.c).
    let leaf = leaves.leaf(0x8000_001e);
    leaf.eax = ids.id_of(cpu);
    leaf.ebx = (topology.threads() - 1).min(0xff) << 8 | ids.core_in_package(cpu).min(0xff);
    leaf.ecx = topology.llc_of(cpu) & 0xff;
    leaf.edx = 0;

    // The host's topology once more; without it Linux takes leaf 0xB.
    leaves.remove(0x8000_0026);
}

/// What Linux knows KVM by (Documentation/virt/kvm/x86/cpuid.rst); the signature at 0x40000000 stays.
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
