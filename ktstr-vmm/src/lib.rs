//! Boots Linux kernels in virtual machines with a declared CPU topology, and talks to what runs in them.
//!
//! A machine is a value: say what it consists of, run it as often as you like, and read from its exit how it ended. Runs
//! leave nothing on the host. The crate prints nothing and reads no environment; what it needs from there is passed in.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use ktstr_core::Topology;
//! use ktstr_core::host::Host;
//! use ktstr_vmm::initramfs::Initramfs;
//! use ktstr_vmm::{BackendSelection, Flow, Frame, Machine, MachineSpec, Observer, Outbox};
//!
//! /// Stops the machine at the guest's first frame.
//! struct FirstFrame(Option<Frame>);
//!
//! impl Observer for FirstFrame {
//!     fn frame(&mut self, frame: Frame, _: &mut Outbox) -> Flow {
//!         self.0 = Some(frame);
//!         Flow::Stop
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What the guest boots into. The init sends a frame with `channel::GuestChannel`.
//! let initramfs = Initramfs::builder()
//!     .init("target/debug/my-init")
//!     .build()
//!     .build_cached(Path::new("/var/cache/my-tests"))?;
//!
//! // What the machine consists of: 2 last-level caches of 2 cores each.
//! let topology: Topology = "1n2l2c1t".parse()?;
//! let spec = MachineSpec {
//!     initramfs: Some(initramfs.path().to_owned()),
//!     ..MachineSpec::new("arch/x86/boot/bzImage", topology)
//! };
//!
//! // What runs it: KVM where it works here, else QEMU.
//! let backend = BackendSelection::detect(&Host::of_this_process(), None)?;
//!
//! let mut observer = FirstFrame(None);
//! let exit = Machine::new(spec, backend.config)?.run(&mut observer)?;
//! println!("{}: {:?}", exit.reason, observer.0);
//! # Ok(())
//! # }
//! ```
//!
//! In the order in which one meets them:
//!
//! - [`image`] tells whether a file is a kernel that boots here.
//! - [`initramfs`] packs the guest's root directory, with the libraries that its programs need.
//! - [`MachineSpec`] is what a machine consists of; [`HostPlacement`] says which host CPUs it runs on.
//! - [`Backend`], [`BackendConfig`] and [`BackendSelection`] are what runs it: ktstr's own microVM on KVM, or QEMU.
//! - [`Machine`] runs it. Meanwhile an [`Observer`] sees its console and exchanges [`Frame`]s with the guest; a
//!   [`CancelToken`] ends it from elsewhere; a [`Terminal`] is for whoever types.
//! - [`MachineExit`] tells how it ended, in an [`ExitReason`], and what was seen. What prevents a run is a
//!   [`MachineError`].
//! - [`channel`] is the guest's side: [`channel::GuestChannel`].
//! - [`child`] and [`BoundedLog`] are for programs around machines: processes that do not outlive their parent, and
//!   output of any length in bounded memory.

mod arch;
mod backend;
mod cancel;
pub mod channel;
pub mod child;
mod console;
mod error;
mod exit;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz_input;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hypervisor;
pub mod image;
pub mod initramfs;
mod kvm;
mod machine;
mod observer;
mod placement;
mod qemu;
mod run;
mod selection;
mod spec;
mod stream;
mod terminal;
mod watch;

pub use backend::{
    Backend, BackendConfig, Emulation, KvmAccess, KvmConfig, ParseBackendError, QemuConfig,
};
pub use cancel::CancelToken;
pub use channel::frame::{Frame, FrameError};
pub use console::BoundedLog;
pub use error::{KvmError, MachineError};
pub use exit::{
    Diagnostic, ExitReason, GuestActivity, InitExit, KernelPanic, MachineExit, Timings,
};
pub use machine::Machine;
pub use observer::{Flow, Interest, Observer, Outbox};
pub use placement::{HostPlacement, Performance};
pub use selection::{BackendSelection, Probe, find_qemu};
pub use spec::{MachineSpec, SharedDirectory, guest_memory_mib};
pub use terminal::Terminal;
