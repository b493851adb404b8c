//! What depends on the processor's architecture.
//!
//! The rest of the crate uses these modules, which every architecture has under the same names:
//!
//! | module | what it knows |
//! | --- | --- |
//! | `layout` | where everything is in the guest's physical memory |
//! | `boot` | the kernel's boot protocol: what is put where, and where the kernel is entered |
//! | `cmdline` | the kernel arguments that every machine gets |
//! | `cpu_ids` | how the hardware numbers CPUs |
//! | `firmware` | the tables that describe the machine to the kernel |
//! | `interrupts` | the interrupt controllers |
//! | `vcpu` | creating a vCPU: what it can do, and its state at reset or at the kernel's entry |
//! | `exits` | what an exit from the guest asks for |
//! | `activity` | what a vCPU is doing |
//! | `state` | the whole state of a vCPU, saved and restored |
//! | `trial` | the guest that tells whether KVM can run Linux |
//!
//! There is one architecture so far. What a second one needs besides: kernel images (`image.rs`) and QEMU's machine and
//! CPU model (`qemu/args.rs`).

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "ktstr runs machines on x86-64 hosts only; build for x86_64-unknown-linux-gnu or -musl"
);

mod x86_64;

pub(crate) use x86_64::{
    activity, boot, cmdline, cpu_ids, exits, firmware, interrupts, layout, state, trial, vcpu,
};
