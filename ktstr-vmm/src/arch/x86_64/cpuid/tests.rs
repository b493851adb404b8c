use std::fmt::Debug;

use ktstr_core::{Preset, Topology};
use kvm_bindings::kvm_cpuid_entry2;
use proptest::prelude::*;

use super::super::cpu_ids::ApicIds;
use super::hosts::{AMD, FEATURES, HOSTS, Host, INTEL, NAPLES, PILEDRIVER};
use super::linux::{Linux, Processor};
use super::{Features, vcpu};

/// Checks the topology that Linux shows on `host`; the error says what is wrong.
fn check(host: Host, topology: Topology) -> Result<(), String> {
    let linux = host.boot(topology);
    let shifts = linux.cpu(0).shifts;
    for cpu in 0..topology.cpus() {
        let shown = linux.cpu(cpu);
        let wrong = |what: &str, shown: &dyn Debug, declared: &dyn Debug| {
            format!("{topology} on {host:x?}: {what} of CPU {cpu} is {shown:?}, not {declared:?}")
        };
        let core = topology.core_of(cpu) % topology.cores();
        for (what, shown, declared) in [
            ("CPUID's APIC id", shown.initial_apic_id, shown.apic_id),
            ("SMT shift", shown.shifts[0], shifts[0]),
            ("package shift", shown.shifts[1], shifts[1]),
            ("package", shown.package, topology.llc_of(cpu)),
            ("core", shown.core, core),
        ] {
            if shown != declared {
                return Err(wrong(what, &shown, &declared));
            }
        }
        let caches: Vec<_> = shown.caches.iter().map(|c| (c.level, c.kind)).collect();
        let declared = [(1, 1), (1, 2), (2, 3), (3, 3)];
        if caches != declared {
            return Err(wrong("list of caches", &caches, &declared));
        }
        let core: Vec<_> = topology
            .cpus_of_core(topology.core_of(cpu))
            .iter()
            .collect();
        let llc: Vec<_> = topology.cpus_of_llc(topology.llc_of(cpu)).iter().collect();
        for (what, shown, declared) in [
            ("core", linux.core_siblings(cpu), &core),
            ("package", linux.package_siblings(cpu), &llc),
            ("LLC", linux.llc_siblings(cpu), &llc),
            ("cluster", linux.l2_siblings(cpu), &core),
            ("L1 data cache", linux.cache_siblings(cpu, 0), &core),
            ("L1 instruction cache", linux.cache_siblings(cpu, 1), &core),
            ("L2 cache", linux.cache_siblings(cpu, 2), &core),
            ("L3 cache", linux.cache_siblings(cpu, 3), &llc),
        ] {
            if shown != *declared {
                return Err(wrong(what, &shown, declared));
            }
        }
    }
    Ok(())
}

#[test]
fn linux_shows_every_preset_on_every_host() {
    for preset in Preset::ALL {
        for host in HOSTS {
            check(*host, preset.topology).unwrap();
        }
    }
}

#[test]
fn linux_shows_the_extremes() {
    for shape in [
        "1n1l1c1t",
        "1n512l1c1t",
        "512n512l1c1t",
        "1n1l512c1t",
        "1n1l256c2t",
        "1n1l1c512t",
        "1n56l3c3t",
    ] {
        for host in [INTEL, AMD, PILEDRIVER] {
            check(host, shape.parse().unwrap()).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn linux_shows_any_topology(
        host in prop::sample::select(HOSTS),
        llcs in 1..=24u32, cores in 1..=40u32, threads in 1..=5u32, levels in 0..=3u32
    ) {
        if let Ok(topology) = Topology::new(1, llcs, cores, threads) {
            let host = host.with_cache_levels(levels);
            prop_assert_eq!(check(host, topology), Ok(()));
        }
    }
}

/// Mistakes that the oracle must detect: an L3 in the legacy leaf on Naples, a cache for 3 ids on AMD, a missing level.
#[test]
fn the_oracle_tells_wrong_from_right() {
    let topology = Topology::constant(1, 3, 3, 1);
    let ids = ApicIds::new(topology);
    let boot = |host: Host, spoil: &dyn Fn(&mut kvm_cpuid_entry2)| {
        let supported = host.supported();
        let cpus: Vec<_> = (0..9)
            .map(|cpu| {
                let mut entries = vcpu(&supported, ids, cpu, FEATURES);
                entries.iter_mut().for_each(spoil);
                (ids.id_of(cpu), entries)
            })
            .collect();
        Linux::boot(&cpus)
    };
    let old_l3 = boot(NAPLES, &|entry| {
        if entry.function == 0x8000_0006 {
            entry.edx = 0x0100_9140;
        }
    });
    assert_eq!(old_l3.cache_siblings(0, 3), [0, 1, 2, 3, 4, 5]);
    let three_share = boot(AMD, &|entry| {
        if entry.function == 0x8000_001d && entry.index < 3 {
            entry.eax = entry.eax & 0x3fff | 2 << 14;
        }
    });
    assert_eq!(three_share.cache_siblings(3, 2), [3, 4]);
    let no_core_level = boot(INTEL, &|entry| {
        if [0xb, 0x1f].contains(&entry.function) && entry.index == 1 {
            entry.ecx = 1;
        }
    });
    assert_eq!(no_core_level.package_siblings(0), [0]);
}

fn cpuid(
    host: Host,
    topology: Topology,
    cpu: u32,
    features: Features,
) -> impl Fn(u32, u32) -> [u32; 4] {
    let entries = vcpu(&host.supported(), ApicIds::new(topology), cpu, features);
    move |function, index| Processor(&entries).cpuid(function, index)
}

#[test]
fn caches_have_the_hosts_sizes_or_plain_ones() {
    let topology = Topology::constant(1, 2, 2, 2);
    let sizes = |host: Host| -> Vec<u64> {
        let linux = host.boot(topology);
        linux
            .cpu(0)
            .caches
            .iter()
            .map(|cache| cache.size >> 10)
            .collect()
    };
    for host in [INTEL, AMD] {
        assert_eq!(sizes(host), [48, 32, 2048, 105 << 10]);
        assert_eq!(sizes(host.with_cache_levels(2)), [48, 32, 2048, 16 << 10]);
        assert_eq!(sizes(host.with_cache_levels(0)), [32, 32, 512, 16 << 10]);
    }
}

#[test]
fn leaf_1_counts_in_the_vendors_way() {
    let topology = Topology::constant(1, 2, 3, 2);
    // CPU 11: package 1, core 2, thread 1.
    let [_, ebx, ecx, edx] = cpuid(INTEL, topology, 11, FEATURES)(1, 0);
    assert_eq!((ebx, edx >> 28 & 1), (0x0d08_0800, 1));
    assert_eq!(ecx, 0x8120_0000);
    let [_, ebx, ..] = cpuid(AMD, topology, 11, FEATURES)(1, 0);
    assert_eq!(ebx, 0x0d06_0800);
    let alone = Topology::constant(1, 4, 1, 1);
    let plain = Features {
        tsc_deadline: false,
        ..FEATURES
    };
    let [_, ebx, ecx, edx] = cpuid(INTEL, alone, 3, plain)(1, 0);
    assert_eq!((ebx, edx >> 28 & 1, ecx), (0x0301_0800, 0, 0x8020_0000));
}

#[test]
fn amd_counts_cores_in_the_old_leaves_too() {
    let ask = cpuid(AMD, Topology::constant(1, 3, 9, 2), 53, FEATURES);
    assert_eq!(ask(0x8000_0008, 0)[2], 0x0001_5011);
    // CPU 53: package 2, core 8, thread 1.
    assert_eq!(ask(0x8000_001e, 0), [2 << 5 | 8 << 1 | 1, 0x0108, 2, 0]);
    assert_eq!(ask(0x8000_001e, 7), ask(0x8000_001e, 0));
    assert_eq!(ask(0x8000_0026, 0), [0; 4]);
    assert_eq!(
        ask(0x8000_0001, 0)[2] & (1 << 22 | 1 << 1),
        1 << 22 | 1 << 1
    );
}

#[test]
fn kvm_is_still_known_and_hints_are_given() {
    let small = Topology::constant(1, 2, 2, 1);
    let realtime = Features {
        realtime: true,
        ..FEATURES
    };
    for host in [INTEL, AMD] {
        let [_, signature @ ..] = cpuid(host, small, 0, FEATURES)(0x4000_0000, 0);
        assert_eq!(
            signature.map(u32::to_le_bytes).as_flattened(),
            b"KVMKVMKVM\0\0\0"
        );
        assert_eq!(
            cpuid(host, small, 0, FEATURES)(0x4000_0001, 0),
            [0x0100_7efb, 0, 0, 0]
        );
        assert_eq!(cpuid(host, small, 0, realtime)(0x4000_0001, 0)[3], 1);
        assert_eq!(
            cpuid(host, small, 0, FEATURES)(0x8000_0002, 0)[0],
            0x2044_4d41
        );
        // 512 ids need 15 bits for the destination of an interrupt.
        let wide = Topology::constant(1, 512, 1, 1);
        assert_eq!(
            cpuid(host, wide, 0, FEATURES)(0x4000_0001, 0)[0],
            0x0100_fefb
        );
    }
}
