//! The host's KVM, and what every VM needs of it.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kvm_bindings::{KvmIrqRouting, kvm_enable_cap, kvm_irq_routing_entry, kvm_irq_routing_irqchip};
use kvm_ioctls::{Cap, Kvm as Device, VmFd};
use vm_memory::GuestMemoryMmap;

use super::error::KvmError;
use super::memory;

/// Where KVM is.
pub(super) const DEVICE: &str = "/dev/kvm";

/// Opens KVM's device.
pub(super) fn open(path: &Path) -> Result<Device, KvmError> {
    let refused = |source| KvmError::Open {
        path: path.to_owned(),
        source,
    };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| refused(error.into()))?;
    Device::new_with_path(name)
        .map_err(|error| refused(io::Error::from_raw_os_error(error.errno())))
}

/// What has to be there before processors, `memory` included; `wide_ids` for APIC ids beyond 254.
pub(super) fn prepare(
    device: &Device,
    vm: &VmFd,
    memory: &GuestMemoryMmap,
    wide_ids: bool,
) -> Result<(), KvmError> {
    for (capability, name) in [
        (Cap::Irqchip, "interrupt controllers"),
        (Cap::Irqfd, "irqfd"),
        (Cap::Ioeventfd, "ioeventfd"),
        (Cap::ImmediateExit, "immediate exit"),
    ] {
        if !device.check_extension(capability) {
            return Err(KvmError::Missing(name));
        }
    }
    // Intel processors without unrestricted guests run real mode by means of these pages; in the hole for devices.
    vm.set_identity_map_address(0xfffb_c000)
        .map_err(KvmError::ioctl("KVM_SET_IDENTITY_MAP_ADDR"))?;
    vm.set_tss_address(0xfffb_d000)
        .map_err(KvmError::ioctl("KVM_SET_TSS_ADDR"))?;
    // Before the interrupt controllers: once they are there, KVM waits some 7 ms for a grace period before it takes any.
    memory::register(vm, memory)?;
    if wide_ids {
        let mut capability = kvm_enable_cap {
            cap: kvm_bindings::KVM_CAP_X2APIC_API,
            ..kvm_enable_cap::default()
        };
        capability.args[0] = u64::from(
            kvm_bindings::KVM_X2APIC_API_USE_32BIT_IDS
                | kvm_bindings::KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
        );
        vm.enable_cap(&capability)
            .map_err(KvmError::ioctl("KVM_ENABLE_CAP(KVM_CAP_X2APIC_API)"))?;
    }
    // No timer beside it: hardware-reduced ACPI has none, and the local APICs have theirs.
    vm.create_irq_chip()
        .map_err(KvmError::ioctl("KVM_CREATE_IRQCHIP"))?;
    let routes: Vec<kvm_irq_routing_entry> = (0..IOAPIC_PINS).map(to_ioapic).collect();
    let routes = KvmIrqRouting::from_entries(&routes)
        .map_err(|error| KvmError::Memory(format!("{error:?}")))?;
    vm.set_gsi_routing(&routes)
        .map_err(KvmError::ioctl("KVM_SET_GSI_ROUTING"))
}

/// Pins of KVM's IOAPIC.
const IOAPIC_PINS: u32 = 24;

/// Leads an interrupt to the IOAPIC only. By default it goes to a PC's old controller as well, which a kernel on
/// hardware-reduced ACPI never masks.
fn to_ioapic(pin: u32) -> kvm_irq_routing_entry {
    let mut route = kvm_irq_routing_entry {
        gsi: pin,
        type_: kvm_bindings::KVM_IRQ_ROUTING_IRQCHIP,
        ..kvm_irq_routing_entry::default()
    };
    route.u.irqchip = kvm_irq_routing_irqchip {
        irqchip: kvm_bindings::KVM_IRQCHIP_IOAPIC,
        pin,
    };
    route
}
