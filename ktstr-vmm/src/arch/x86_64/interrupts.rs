//! The interrupt controllers, which KVM emulates: a local APIC per vCPU and one IOAPIC.

use kvm_bindings::{KvmIrqRouting, kvm_enable_cap, kvm_irq_routing_entry, kvm_irq_routing_irqchip};
use kvm_ioctls::VmFd;

use crate::error::KvmError;

/// Pages that KVM needs for real mode on Intel processors without unrestricted guest; they lie in the device hole.
const IDENTITY_MAP: u64 = 0xfffb_c000;
const TSS: usize = 0xfffb_d000;

/// Pins of KVM's IOAPIC.
const IOAPIC_PINS: u32 = 24;

/// Creates them in `vm` before it has vCPUs; `wide_ids` for APIC ids above 254.
pub(crate) fn create(vm: &VmFd, wide_ids: bool) -> Result<(), KvmError> {
    vm.set_identity_map_address(IDENTITY_MAP)
        .map_err(KvmError::ioctl("KVM_SET_IDENTITY_MAP_ADDR"))?;
    vm.set_tss_address(TSS)
        .map_err(KvmError::ioctl("KVM_SET_TSS_ADDR"))?;
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
    // No PIT: hardware-reduced ACPI has none, and the local APICs have timers.
    vm.create_irq_chip()
        .map_err(KvmError::ioctl("KVM_CREATE_IRQCHIP"))?;
    let routes: Vec<kvm_irq_routing_entry> = (0..IOAPIC_PINS).map(to_ioapic).collect();
    let routes = KvmIrqRouting::from_entries(&routes).map_err(KvmError::memory)?;
    vm.set_gsi_routing(&routes)
        .map_err(KvmError::ioctl("KVM_SET_GSI_ROUTING"))
}

/// Routes an interrupt to the IOAPIC only. By default it also goes to the 8259, which a kernel on hardware-reduced ACPI
/// never masks.
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
