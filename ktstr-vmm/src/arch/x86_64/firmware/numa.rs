//! The SRAT and the SLIT: the NUMA nodes of CPUs and memory, and the distances of nodes.

use acpi_tables::sdt::Sdt;
use acpi_tables::slit::SLIT;
use acpi_tables::srat::MemoryAffinity;
use acpi_tables::{Aml, AmlSink};

use super::super::cpu_ids::ApicIds;
use super::super::layout::Ram;
use super::table::{FIRST_X2APIC_ID, OEM, OEM_REVISION, OEM_TABLE, table};
use crate::spec::{LOCAL_DISTANCE, REMOTE_DISTANCE};

/// Flag of an enabled entry.
const ENABLED: u32 = 1;

/// ACPI 6.5, 5.2.16.
pub(super) fn srat(ids: ApicIds, ram: &[Ram]) -> Sdt {
    const REVISION: u8 = 3;

    let mut body = Vec::new();
    // Reserved: 1, and zeros.
    body.dword(1);
    body.qword(0);
    let topology = ids.topology();
    for cpu in 0..topology.cpus() {
        let (id, node) = (ids.id_of(cpu), topology.node_of(cpu));
        if id < FIRST_X2APIC_ID {
            apic(&mut body, id as u8, node);
        } else {
            x2apic(&mut body, id, node);
        }
    }
    for piece in ram {
        MemoryAffinity::new(piece.node, piece.start, piece.size)
            .enabled()
            .to_aml_bytes(&mut body);
    }
    table(*b"SRAT", REVISION, &body)
}

/// 5.2.16.1.
fn apic(body: &mut Vec<u8>, id: u8, node: u32) {
    const TYPE: u8 = 0;
    const LENGTH: u8 = 16;

    let [low, high @ ..] = node.to_le_bytes();
    body.vec(&[TYPE, LENGTH, low, id]);
    body.dword(ENABLED);
    // A field for Itanium only.
    body.byte(0);
    body.vec(&high);
    clock_domain(body);
}

/// 5.2.16.3.
fn x2apic(body: &mut Vec<u8>, id: u32, node: u32) {
    const TYPE: u8 = 2;
    const LENGTH: u8 = 24;

    body.vec(&[TYPE, LENGTH, 0, 0]);
    body.dword(node);
    body.dword(id);
    body.dword(ENABLED);
    clock_domain(body);
    body.dword(0);
}

/// All CPUs are in one clock domain.
fn clock_domain(body: &mut Vec<u8>) {
    body.dword(0);
}

/// The SLIT: all nodes have the same distance from each other. 5.2.17.
pub(super) fn slit(nodes: u32) -> SLIT {
    let mut slit = SLIT::new(OEM, OEM_TABLE, OEM_REVISION, nodes);
    for from in 0..nodes as usize {
        slit.set_distance(from, from, LOCAL_DISTANCE);
        for to in 0..from {
            slit.set_distance(from, to, REMOTE_DISTANCE);
        }
    }
    slit
}
