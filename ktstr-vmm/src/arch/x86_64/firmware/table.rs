//! What all tables share: their header, and where CPUs need the wider form of an entry.

use acpi_tables::sdt::Sdt;

/// Who made the tables.
pub(super) const OEM: [u8; 6] = *b"KTSTR ";
pub(super) const OEM_TABLE: [u8; 8] = *b"MICROVM ";
pub(super) const OEM_REVISION: u32 = 1;

/// The first APIC id that takes an x2APIC entry: the local APIC's have 8 bits, and 255 means all.
pub(super) const FIRST_X2APIC_ID: u32 = 255;

/// A table of these bytes after the header.
pub(super) fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Sdt {
    const HEADER: u32 = 36;

    let mut table = Sdt::new(signature, HEADER, revision, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(body);
    table
}
