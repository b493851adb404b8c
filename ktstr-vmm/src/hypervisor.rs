//! The traits that a backend implements: starting a machine, and a running machine.
//!
//! A backend checks a machine, starts it and provides its descriptors. Reading, framing, deadlines and cancellation are
//! the same for all backends (`run.rs`).

use std::fmt;
use std::os::fd::BorrowedFd;

use crate::error::MachineError;
use crate::exit::Diagnostic;
use crate::spec::MachineSpec;

/// A backend with its options and a kernel image, ready to start machines.
pub(crate) trait Hypervisor: fmt::Debug {
    /// Checks that this backend can run `spec`; starts nothing.
    fn check(&self, spec: &MachineSpec) -> Result<(), MachineError>;

    /// Starts a machine.
    fn start(&self, spec: &MachineSpec) -> Result<Box<dyn RunningMachine>, MachineError>;
}

/// A running machine. Dropping it ends it.
pub(crate) trait RunningMachine {
    /// A non-blocking stream socket that carries the console's output.
    fn console(&self) -> BorrowedFd<'_>;

    /// A non-blocking stream socket whose other end is the guest's virtio port.
    fn channel(&self) -> BorrowedFd<'_>;

    /// Descriptors that become readable when [`RunningMachine::poll_end`] should be called.
    fn signals(&self) -> Vec<BorrowedFd<'_>>;

    /// How the machine ended by itself; `None` while it runs. After the end, console and channel hold all output.
    fn poll_end(&mut self) -> Result<Option<MachineEnd>, MachineError>;

    /// Asks what the guest's CPUs are doing, and returns the answer to the previous call once it is complete. Never
    /// waits. If answers come through a descriptor, it is one of the signals.
    fn cpu_activity(&mut self) -> Result<Option<Vec<CpuActivity>>, MachineError>;

    /// The version of the program that runs it, once it is known.
    fn version(&self) -> Option<String>;

    /// Ends the machine if it still runs, waits until nothing of it is left, and returns its diagnostics.
    fn end(self: Box<Self>) -> Vec<Diagnostic>;
}

/// How a machine ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MachineEnd {
    /// The guest powered it off.
    PoweredOff,
    /// The guest reset it.
    Reset,
    /// The backend failed, for this reason, in one line.
    Crashed(String),
}

/// What a CPU of a guest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CpuActivity {
    /// It runs a program.
    Program,
    /// It runs the kernel.
    Kernel,
    /// It waits for an interrupt.
    Idle,
    /// It halted with interrupts off, or was never started.
    Stopped,
}
