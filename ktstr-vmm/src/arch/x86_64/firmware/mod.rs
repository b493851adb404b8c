//! The ACPI tables of the machine: CPUs, NUMA nodes, the two devices, power-off and reset.
//!
//! The machine is hardware-reduced (ACPI 6.5, 4.1): no PM timer, no SCI, and no fixed registers except sleep and reset.
//! Linux then does not use the legacy timer and interrupt controllers (`acpi_generic_reduced_hw_init` in
//! arch/x86/kernel/acpi/boot.c), and skips the probing of their wiring at boot; it keeps time by kvmclock and the local
//! APIC's timer. Only interrupts that a device here declares are usable, COM1's included, which requires
//! `CONFIG_SERIAL_8250_PNP`. The MADT has no interrupt overrides, as those map ISA interrupts, and there are none.

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

/// Alignment of tables.
const ALIGNMENT: usize = 16;

/// All tables in one block for [`ACPI_START`], the root pointer first.
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
    /// Appends `table` and returns its address.
    fn place(&mut self, table: &dyn Aml) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let address = ACPI_START + self.0.len() as u64;
        table.to_aml_bytes(&mut self.0);
        address
    }

    /// Writes the root pointer. Fails with the size of the tables if they are too large.
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

/// The FADT: how to turn the machine off and reset it, and that it has no PC hardware.
fn fadt(dsdt: u64) -> impl Aml {
    /// No VGA and no CMOS clock to probe; the flag for a keyboard controller is clear. Table 5.10.
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

/// The MADT: the interrupt controllers, and the CPUs in the order in which Linux is to number them. 5.2.12.
fn madt(ids: ApicIds) -> Sdt {
    const REVISION: u8 = 5;
    /// The id of KVM's IOAPIC.
    const IOAPIC_ID: u8 = 0;

    let mut body = Vec::new();
    body.dword(LOCAL_APIC as u32);
    // No dual 8259 is reported.
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
