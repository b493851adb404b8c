//! What a backend implements: starting a machine, and the machine that runs.
//!
//! A backend checks a machine, starts it and hands out its descriptors. Reading, framing, deadlines and cancelling are
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

/// A machine that runs. Dropping it ends it.
pub(crate) trait RunningMachine {
    /// A non-blocking stream socket that carries the console's output.
    fn console(&self) -> BorrowedFd<'_>;

    /// A non-blocking stream socket whose other end is the guest's virtio port.
    fn channel(&self) -> BorrowedFd<'_>;

    /// Descriptors that become readable when [`RunningMachine::poll_end`] has something to look at.
    fn signals(&self) -> Vec<BorrowedFd<'_>>;

    /// How the machine ended, once it has ended by itself. Console and channel then hold all there will be.
    fn poll_end(&mut self) -> Result<Option<MachineEnd>, MachineError>;

    /// Asks what the guest's CPUs are doing, and returns the answer to the last call once it is complete. Never waits;
    /// one of the signals tells that an answer has come, where it comes by a descriptor.
    fn cpu_activity(&mut self) -> Result<Option<Vec<CpuActivity>>, MachineError>;

    /// Ends the machine if it still runs, waits until nothing of it is left, and returns what is worth knowing of it.
    fn end(self: Box<Self>) -> Vec<Diagnostic>;
}

/// How a machine ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MachineEnd {
    /// The guest turned it off.
    PoweredOff,
    /// The guest reset it.
    Reset,
    /// The backend failed; why, in one line.
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
