//! What the tables have in common: their header, and the APIC ids that need x2APIC entries.

use acpi_tables::sdt::Sdt;

/// The OEM of the tables.
pub(super) const OEM: [u8; 6] = *b"KTSTR ";
pub(super) const OEM_TABLE: [u8; 8] = *b"MICROVM ";
pub(super) const OEM_REVISION: u32 = 1;

/// The first APIC id that needs an x2APIC entry: ids in local APIC entries have 8 bits, and 255 means all.
pub(super) const FIRST_X2APIC_ID: u32 = 255;

/// A table with these bytes after the header.
pub(super) fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Sdt {
    const HEADER: u32 = 36;

    let mut table = Sdt::new(signature, HEADER, revision, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(body);
    table
}
