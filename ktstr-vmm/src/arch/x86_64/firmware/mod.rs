//! The machine as ACPI describes it: CPUs, NUMA nodes, the two devices, how to turn off and reset.
//!
//! It is hardware-reduced (ACPI 6.5, 4.1): no PM timer, no SCI, no fixed registers but sleep and reset. Linux
//! then leaves the old timer and interrupt controllers alone (`acpi_generic_reduced_hw_init` in
//! arch/x86/kernel/acpi/boot.c), with all that it does at boot to find out how they are wired; kvmclock and the
//! local APIC's timer are its time. No interrupt is its own then but what a device here names: COM1's too, which
//! takes `CONFIG_SERIAL_8250_PNP`. There are no interrupt overrides in the MADT, because they say where an ISA
//! interrupt goes, and there is none.

mod dsdt;
mod numa;
mod table;
#[cfg(test)]
mod tests;

use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};

use super::cpu_ids::ApicIds;
use super::layout::{
    ACPI_END, ACPI_START, IOAPIC, LOCAL_APIC, RESET_PORT, RESET_VALUE, Ram, SLEEP_CONTROL_PORT,
    SLEEP_STATUS_PORT,
};
use crate::error::KvmError;
use table::{FIRST_X2APIC_ID, OEM, OEM_REVISION, OEM_TABLE, table};

/// Where a table may begin.
const ALIGNMENT: usize = 16;

/// All tables as one piece, to be put at [`ACPI_START`]; the root pointer is first.
pub(crate) fn tables(ids: ApicIds, ram: &[Ram]) -> Result<Vec<u8>, KvmError> {
    let topology = ids.topology();
    let mut room = Room(vec![0; Rsdp::len()]);
    let dsdt = room.place(&dsdt::dsdt());
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(room.place(&fadt(dsdt)));
    xsdt.add_entry(room.place(&madt(ids)));
    xsdt.add_entry(room.place(&numa::srat(ids, ram)));
    if topology.numa_nodes() > 1 {
        xsdt.add_entry(room.place(&numa::slit(topology.numa_nodes())));
    }
    let xsdt = room.place(&xsdt);
    room.finish(xsdt).map_err(|size| KvmError::FirmwareTables {
        topology,
        size,
        max: (ACPI_END - ACPI_START) as usize,
    })
}

/// The tables so far.
struct Room(Vec<u8>);

impl Room {
    /// Appends `table` and gives its address.
    fn place(&mut self, table: &dyn Aml) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let address = ACPI_START + self.0.len() as u64;
        table.to_aml_bytes(&mut self.0);
        address
    }

    /// Puts the root pointer in its place. Fails with the size when that is too much.
    fn finish(mut self, xsdt: u64) -> Result<Vec<u8>, usize> {
        let size = self.0.len();
        if size as u64 > ACPI_END - ACPI_START {
            return Err(size);
        }
        let mut root = Vec::new();
        Rsdp::new(OEM, xsdt).to_aml_bytes(&mut root);
        self.0[..root.len()].copy_from_slice(&root);
        Ok(self.0)
    }
}

/// How the machine is turned off and reset, and that it has nothing of a PC.
fn fadt(dsdt: u64) -> impl Aml {
    /// No VGA to be probed, no clock in CMOS; a keyboard controller would have to be told of. Table 5.10.
    const VGA_NOT_PRESENT: u16 = 1 << 2;
    const CMOS_RTC_NOT_PRESENT: u16 = 1 << 5;

    let port = |port: u16| {
        let bits = 8;
        GAS::new(
            AddressSpace::SystemIo,
            bits,
            0,
            AccessSize::ByteAccess,
            port.into(),
        )
    };
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless)
        .flag(Flags::HwReducedAcpi);
    fadt.iapc_boot_arch = (VGA_NOT_PRESENT | CMOS_RTC_NOT_PRESENT).into();
    fadt.reset_reg = port(RESET_PORT);
    fadt.reset_value = RESET_VALUE;
    fadt.sleep_control_reg = port(SLEEP_CONTROL_PORT);
    fadt.sleep_status_reg = port(SLEEP_STATUS_PORT);
    fadt.hypervisor_vendor_identity = u64::from_le_bytes(*b"KTSTRVMM").into();
    fadt.finalize()
}

/// The interrupt controllers, CPUs in the order in which Linux shall number them. 5.2.12.
fn madt(ids: ApicIds) -> Sdt {
    const REVISION: u8 = 5;
    /// KVM's IOAPIC has this one.
    const IOAPIC_ID: u8 = 0;

    let mut body = Vec::new();
    body.dword(LOCAL_APIC as u32);
    // No pair of 8259 beside it, as far as anyone needs to know.
    body.dword(0);
    for cpu in 0..ids.topology().cpus() {
        let id = ids.id_of(cpu);
        if id < FIRST_X2APIC_ID {
            // A CPU's number is never above its id.
            ProcessorLocalApic::new(cpu as u8, id as u8, EnabledStatus::Enabled)
                .to_aml_bytes(&mut body);
        } else {
            local_x2apic(&mut body, cpu, id);
        }
    }
    IoApic::new(IOAPIC_ID, IOAPIC as u32, 0).to_aml_bytes(&mut body);
    table(*b"APIC", REVISION, &body)
}

/// 5.2.12.12.
fn local_x2apic(body: &mut Vec<u8>, cpu: u32, id: u32) {
    const TYPE: u8 = 9;
    const LENGTH: u8 = 16;
    const ENABLED: u32 = 1;

    body.vec(&[TYPE, LENGTH, 0, 0]);
    body.dword(id);
    body.dword(ENABLED);
    body.dword(cpu);
}
