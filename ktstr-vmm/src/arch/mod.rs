//! What depends on the processor's architecture.
//!
//! The rest of the crate uses these modules, which every architecture provides:
//!
//! | module | contents |
//! | --- | --- |
//! | `layout` | the layout of the guest's physical address space |
//! | `boot` | the kernel's boot protocol: what is loaded at which address, and the entry point |
//! | `cmdline` | the kernel arguments of every machine |
//! | `cpu_ids` | how the hardware numbers CPUs |
//! | `firmware` | the tables that describe the machine to the kernel |
//! | `interrupts` | the interrupt controllers |
//! | `vcpu` | the creation of vCPUs: their features, and their state at reset or at the kernel's entry |
//! | `exits` | the handling of exits from the guest |
//! | `activity` | what a vCPU is doing |
//! | `state` | the complete state of a vCPU, to save and restore |
//! | `trial` | the guest that finds out whether KVM can run Linux |
//!
//! There is one architecture so far. A second one also needs kernel images (`image.rs`) and QEMU's machine and CPU
//! model (`qemu/args.rs`).

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "ktstr runs machines on x86-64 hosts only; build for x86_64-unknown-linux-gnu or -musl"
);

mod x86_64;

pub(crate) use x86_64::{
    activity, boot, cmdline, cpu_ids, exits, firmware, interrupts, layout, state, trial, vcpu,
};
