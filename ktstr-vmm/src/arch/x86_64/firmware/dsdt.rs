//! The DSDT: the devices.

use acpi_tables::Aml;
use acpi_tables::aml::{
    Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Package, ResourceTemplate, Scope, ZERO,
};
use acpi_tables::sdt::Sdt;

use super::super::layout::{COM1, COM1_GSI, SLEEP_OFF, VIRTIO_GSI, VIRTIO_MMIO, VIRTIO_MMIO_SIZE};
use super::table::table;

/// The sleep type of S5, which Linux writes as [`SLEEP_OFF`]: bits 4:2.
const S5_TYPE: u8 = SLEEP_OFF >> 2 & 7;

/// A serial port of a PC has 8 registers.
const COM_PORTS: u8 = 8;

pub(super) fn dsdt() -> Sdt {
    const REVISION: u8 = 2;

    let mut body = Vec::new();
    Name::new(
        "_S5_".into(),
        &Package::new(vec![&S5_TYPE, &ZERO, &ZERO, &ZERO]),
    )
    .to_aml_bytes(&mut body);
    // `virtio_mmio_acpi_match` in Linux's drivers/virtio/virtio_mmio.c.
    let console = device(
        "VIO0",
        &"LNRO0005",
        &Memory32Fixed::new(true, VIRTIO_MMIO as u32, VIRTIO_MMIO_SIZE as u32),
        VIRTIO_GSI,
    );
    // A 16550A: `pnp_dev_table` in drivers/tty/serial/8250/8250_pnp.c.
    let serial = device(
        "COM1",
        &EISAName::new("PNP0501"),
        &IO::new(COM1, COM1, 1, COM_PORTS),
        COM1_GSI,
    );
    body.extend(Scope::raw("_SB_".into(), [console, serial].concat()));
    table(*b"DSDT", REVISION, &body)
}

/// A device with one register range and one interrupt.
fn device(name: &str, id: &dyn Aml, registers: &dyn Aml, gsi: u32) -> Vec<u8> {
    let (consumer, edge, active_low, shared) = (true, true, false, false);
    let interrupt = Interrupt::new(consumer, edge, active_low, shared, gsi);
    let mut bytes = Vec::new();
    Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), id),
            &Name::new("_UID".into(), &ZERO),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![registers, &interrupt]),
            ),
        ],
    )
    .to_aml_bytes(&mut bytes);
    bytes
}
