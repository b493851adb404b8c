//! The host's KVM, and the setup that every VM needs.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kvm_ioctls::{Cap, Kvm as Device, VmFd};
use vm_memory::GuestMemoryMmap;

use super::memory;
use crate::arch::interrupts;
use crate::error::KvmError;

/// Opens the KVM device.
pub(super) fn open(path: &Path) -> Result<Device, KvmError> {
    let refused = |source| KvmError::Open {
        path: path.to_owned(),
        source,
    };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| refused(error.into()))?;
    Device::new_with_path(name)
        .map_err(|error| refused(io::Error::from_raw_os_error(error.errno())))
}

/// Sets up in `vm` what must exist before vCPUs, including `memory`; `wide_ids` for APIC ids of more than eight bits.
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
    // Memory comes before the interrupt controllers: once those exist, KVM waits about 7 ms for a grace period before
    // it accepts any.
    memory::register(vm, memory)?;
    interrupts::create(vm, wide_ids)
}
