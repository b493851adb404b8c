use std::path::Path;
use std::process::Command;

use ktstr_core::{Preset, Topology};
use proptest::prelude::*;

use super::super::layout::{self, SLEEP_OFF};
use super::*;

const MEMORY_MIB: u32 = 4096;

fn build(topology: Topology) -> Result<Vec<u8>, KvmError> {
    tables(ApicIds::new(topology), &layout::ram(topology, MEMORY_MIB))
}

/// Little-endian number of `N` bytes at `offset`.
fn number<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[offset..offset + N]);
    u64::from_le_bytes(wide)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The tables as ACPICA finds them: by pointers, lengths and checksums.
struct Tables<'a>(Vec<&'a [u8]>);

impl<'a> Tables<'a> {
    fn find(blob: &'a [u8]) -> Self {
        let at = |address: u64| -> &'a [u8] {
            let offset = usize::try_from(address - ACPI_START).unwrap();
            let table = &blob[offset..];
            let table = &table[..number::<4>(table, 4) as usize];
            assert_eq!(sum(table), 0, "{:?}", &table[..4]);
            table
        };
        assert_eq!(&blob[..8], b"RSD PTR ");
        assert_eq!((sum(&blob[..20]), sum(&blob[..36])), (0, 0));
        assert_eq!((blob[15], number::<4>(blob, 20)), (2, 36));
        let xsdt = at(number::<8>(blob, 24));
        assert_eq!(&xsdt[..4], b"XSDT");
        let mut found: Vec<_> = xsdt[36..]
            .chunks_exact(8)
            .map(|entry| at(number::<8>(entry, 0)))
            .collect();
        found.push(at(number::<8>(found[0], 140)));
        Self(found)
    }

    fn signatures(&self) -> Vec<&str> {
        let all = self.0.iter();
        all.map(|table| std::str::from_utf8(&table[..4]).unwrap())
            .collect()
    }

    fn get(&self, signature: &str) -> &'a [u8] {
        self.0
            .iter()
            .find(|table| table.starts_with(signature.as_bytes()))
            .unwrap()
    }
}

/// Entries of a type and a length each, from `offset` to the end of the table.
fn entries(table: &[u8], offset: usize) -> Vec<&[u8]> {
    let mut rest = &table[offset..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, tail) = rest.split_at(rest[1].into());
        entries.push(entry);
        rest = tail;
    }
    entries
}

/// CPUs by APIC id and UID as `acpi_parse_lapic` and `acpi_parse_x2apic` take them, in order.
fn cpus_of_madt(madt: &[u8]) -> Vec<(u32, u32)> {
    let cpus = entries(madt, 44)
        .into_iter()
        .filter_map(|entry| match *entry {
            [0, 8, uid, id, 1, 0, 0, 0] => Some((id.into(), uid.into())),
            [9, 16, ..] => {
                let id = number::<4>(entry, 4) as u32;
                assert!(id >= 255, "{id} belongs to a local APIC's entry");
                assert_eq!(number::<4>(entry, 8), 1);
                Some((id, number::<4>(entry, 12) as u32))
            }
            [1, 12, ..] => None,
            _ => panic!("{entry:?}"),
        });
    cpus.collect()
}

/// APIC ids with their nodes, and memory, as Linux's `srat.c` takes them.
fn nodes_of_srat(srat: &[u8]) -> (Vec<(u32, u32)>, Vec<Ram>) {
    assert_eq!(number::<4>(srat, 36), 1);
    let (mut cpus, mut ram) = (Vec::new(), Vec::new());
    for entry in entries(srat, 48) {
        match entry {
            [0, 16, low, id, 1, 0, 0, 0, 0, high @ .., 0, 0, 0, 0] => {
                let node = u32::from_le_bytes([*low, high[0], high[1], high[2]]);
                cpus.push((u32::from(*id), node));
            }
            [1, 40, ..] => {
                assert_eq!(number::<4>(entry, 28), 1);
                ram.push(Ram {
                    node: number::<4>(entry, 2) as u32,
                    start: number::<8>(entry, 8),
                    size: number::<8>(entry, 16),
                });
            }
            [2, 24, ..] => {
                assert_eq!(number::<4>(entry, 12), 1);
                cpus.push((number::<4>(entry, 8) as u32, number::<4>(entry, 4) as u32));
            }
            _ => panic!("{entry:?}"),
        }
    }
    (cpus, ram)
}

fn check(topology: Topology) {
    let blob = build(topology).unwrap();
    let found = Tables::find(&blob);
    let nodes = topology.numa_nodes();
    let slit = if nodes > 1 { &["SLIT"][..] } else { &[] };
    let names = [&["FACP", "APIC", "SRAT"], slit, &["DSDT"]].concat();
    assert_eq!(found.signatures(), names);

    let ids = ApicIds::new(topology);
    let cpus = cpus_of_madt(found.get("APIC"));
    let expected: Vec<_> = (0..topology.cpus())
        .map(|cpu| (ids.id_of(cpu), cpu))
        .collect();
    assert_eq!(cpus, expected, "{topology}");
    let (cpus, ram) = nodes_of_srat(found.get("SRAT"));
    let expected: Vec<_> = (0..topology.cpus())
        .map(|cpu| (ids.id_of(cpu), topology.node_of(cpu)))
        .collect();
    assert_eq!(cpus, expected, "{topology}");
    assert_eq!(ram, layout::ram(topology, MEMORY_MIB));
    if nodes > 1 {
        let slit = found.get("SLIT");
        assert_eq!(number::<8>(slit, 36), u64::from(nodes));
        let distances = &slit[44..];
        for (at, distance) in distances.iter().enumerate() {
            let local = at / nodes as usize == at % nodes as usize;
            assert_eq!(*distance, if local { 10 } else { 20 });
        }
        assert_eq!(distances.len(), (nodes * nodes) as usize);
    }
}

#[test]
fn every_preset_is_told_to_linux() {
    for preset in Preset::ALL {
        check(preset.topology);
    }
}

#[test]
fn the_extremes_are_told_to_linux() {
    check(Topology::constant(1, 1, 1, 1));
    check(Topology::constant(1, 1, 512, 1));
    // More nodes than the 8 bits that a CPU's entry had once.
    check(Topology::constant(300, 300, 1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_topology_is_told_to_linux(
        nodes in 1..5u32, per_node in 1..5u32, cores in 1..30u32, threads in 1..4u32
    ) {
        if let Ok(topology) = Topology::new(nodes, nodes * per_node, cores, threads) {
            check(topology);
        }
    }
}

#[test]
fn too_many_nodes_are_refused() {
    let topology = Topology::constant(512, 512, 1, 1);
    let error = build(topology).unwrap_err();
    let KvmError::FirmwareTables { size, .. } = error else {
        panic!("{error}");
    };
    assert!(size > 512 * 512);
    assert_eq!(
        error.to_string(),
        format!(
            "ACPI tables of 512n512l1c1t: {size} bytes where 131072 fit; take fewer NUMA nodes"
        )
    );
}

/// A register of one byte at this port, in ACPI's form.
fn register(port: u16) -> [u8; 12] {
    let [low, high] = port.to_le_bytes();
    [1, 8, 0, 1, low, high, 0, 0, 0, 0, 0, 0]
}

#[test]
fn the_machine_can_be_turned_off_and_reset() {
    let blob = build(Topology::constant(1, 1, 1, 1)).unwrap();
    let fadt = Tables::find(&blob).get("FACP");
    assert_eq!((fadt.len(), fadt[8]), (276, 6));
    let flags = number::<4>(fadt, 112);
    assert_eq!((flags >> 10 & 1, flags >> 20 & 1), (1, 1));
    assert_eq!(fadt[116..128], register(RESET_PORT));
    assert_eq!(fadt[128], RESET_VALUE);
    assert_eq!(fadt[244..256], register(SLEEP_CONTROL_PORT));
    assert_eq!(fadt[256..268], register(SLEEP_STATUS_PORT));
    let dsdt = Tables::find(&blob).get("DSDT");
    // Name (_S5, Package (4) { BytePrefix type, 0, 0, 0 })
    let s5 = [
        0x08,
        b'_',
        b'S',
        b'5',
        b'_',
        0x12,
        7,
        4,
        0x0a,
        SLEEP_OFF >> 2 & 7,
        0,
        0,
        0,
    ];
    assert_eq!(dsdt[36..49], s5);
}

/// Runs ACPICA's compiler; everything it has to complain about is an error.
fn iasl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("iasl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    let text = text.replace("0 Errors, 0 Warnings", "");
    for trouble in ["Error", "Warning", "Invalid", "Checksum"] {
        assert!(!text.contains(trouble), "{text}");
    }
}

#[test]
fn acpicas_disassembler_understands_every_table() {
    if Command::new("iasl").arg("-v").output().is_err() {
        eprintln!("SKIP acpicas_disassembler_understands_every_table: no iasl here");
        return;
    }
    for name in [
        "4cpu-1llc-nosmt",
        "252cpu-14llc-smt",
        "4numa-192cpu-12llc-smt",
    ] {
        let topology = Preset::by_name(name).unwrap().topology;
        let blob = build(topology).unwrap();
        let found = Tables::find(&blob);
        let directory = tempfile::tempdir().unwrap();
        for (table, signature) in found.0.iter().zip(found.signatures()) {
            let file = format!("{signature}.aml");
            std::fs::write(directory.path().join(&file), table).unwrap();
            iasl(directory.path(), &["-d", &file]);
        }
        let text = std::fs::read_to_string(directory.path().join("DSDT.dsl")).unwrap();
        for device in ["LNRO0005", "PNP0501"] {
            assert!(text.contains(device), "{text}");
        }
        iasl(directory.path(), &["DSDT.dsl"]);
    }
}
