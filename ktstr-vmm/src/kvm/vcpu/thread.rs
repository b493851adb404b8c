//! The thread of one vCPU: a state machine that runs the guest and takes commands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use kvm_ioctls::VcpuFd;
use vm_memory::GuestMemoryMmap;

use super::super::affinity::VcpuPin;
use super::super::end::EndEvent;
use super::kick::ImmediateExit;
use crate::arch::activity;
use crate::arch::exits::{Devices, Handled, describe_broken, handle};
use crate::arch::state::{RegisterList, VcpuState};
use crate::error::KvmError;
use crate::hypervisor::{CpuActivity, MachineEnd};

/// A command to the thread of a vCPU. The thread handles commands after a kick, and answers through the sender in the
/// command. An answer that nobody waits for is dropped.
#[derive(Debug)]
pub(super) enum Command {
    /// Stay out of the guest until [`Command::Resume`].
    Pause(Sender<()>),
    /// Continue to run the guest; has no answer.
    Resume,
    /// Save the state of the paused vCPU.
    Save(Arc<RegisterList>, Sender<Result<VcpuState, KvmError>>),
    /// Report what the vCPU is doing.
    Activity(Sender<CpuActivity>),
    /// End the thread; has no answer.
    Exit,
}

/// The run state of a vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunState {
    /// It waits for a command. Its last entry into the guest was interrupted, so no I/O is pending.
    Paused,
    /// It runs the guest.
    Running,
    /// It will not run again: it was told to exit, or the machine has ended.
    Exited,
}

/// The state of a vCPU's thread.
pub(super) struct VcpuThread {
    pub(super) cpu: u32,
    pub(super) memory: GuestMemoryMmap,
    pub(super) devices: Arc<dyn Devices>,
    pub(super) end: Arc<EndEvent>,
    pub(super) pin: Option<VcpuPin>,
    pub(super) commands: Receiver<Command>,
    /// Reports that the thread is pinned, or why it could not be.
    pub(super) started: Sender<Result<(), KvmError>>,
    /// Set if the thread ends without a panic.
    pub(super) exited: Arc<AtomicBool>,
}

impl VcpuThread {
    /// Runs `vcpu` until it is told to exit or the machine ends. Always returns `vcpu`, even after a panic, as
    /// [`ImmediateExit::of`] requires.
    pub(super) fn run(self, mut vcpu: VcpuFd) -> VcpuFd {
        // After a panic the machine ends, so that no inconsistent state is used.
        let run = AssertUnwindSafe(|| self.run_states(&mut vcpu));
        if catch_unwind(run).is_err() {
            let panicked = KvmError::VcpuThread(self.cpu).to_string();
            self.end.set(MachineEnd::Crashed(panicked));
        }
        vcpu
    }

    fn run_states(&self, vcpu: &mut VcpuFd) {
        let pinned = self.pin.map_or(Ok(()), VcpuPin::apply);
        let mut state = match pinned {
            Ok(()) => RunState::Paused,
            Err(_) => RunState::Exited,
        };
        answer(&self.started, pinned);
        loop {
            state = match state {
                RunState::Running => self.run_guest(vcpu),
                RunState::Paused => self.wait_for_command(vcpu),
                RunState::Exited => break,
            };
        }
        self.exited.store(true, Ordering::SeqCst);
    }

    fn wait_for_command(&self, vcpu: &VcpuFd) -> RunState {
        match self.commands.recv() {
            Ok(command) => self.obey(command, RunState::Paused, vcpu),
            // The sender is gone, so that nobody can resume it.
            Err(_) => RunState::Exited,
        }
    }

    /// Runs the guest until its next exit.
    fn run_guest(&self, vcpu: &mut VcpuFd) -> RunState {
        let cpu = self.cpu;
        let ended = match vcpu.run() {
            Ok(exit) => match handle(exit, self.devices.as_ref()) {
                Handled::Done => return RunState::Running,
                Handled::Ended(ended) => ended,
                Handled::Broken(what) => MachineEnd::Crashed(describe_broken(vcpu, cpu, &what)),
            },
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {
                ImmediateExit::clear(vcpu);
                return self.obey_all(vcpu);
            }
            Err(error) => MachineEnd::Crashed(format!("KVM_RUN of CPU {cpu}: {error}")),
        };
        self.end.set(ended);
        RunState::Exited
    }

    /// Handles pending commands, up to one that stops the vCPU.
    fn obey_all(&self, vcpu: &VcpuFd) -> RunState {
        let mut state = RunState::Running;
        while state == RunState::Running {
            match self.commands.try_recv() {
                Ok(command) => state = self.obey(command, state, vcpu),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return RunState::Exited,
            }
        }
        state
    }

    fn obey(&self, command: Command, state: RunState, vcpu: &VcpuFd) -> RunState {
        match command {
            Command::Pause(paused) => {
                answer(&paused, ());
                RunState::Paused
            }
            Command::Resume => RunState::Running,
            Command::Save(list, saved) => {
                let state_of_vcpu = match state {
                    RunState::Paused => VcpuState::save(vcpu, &list),
                    RunState::Running | RunState::Exited => Err(KvmError::VcpuNotPaused(self.cpu)),
                };
                answer(&saved, state_of_vcpu);
                state
            }
            Command::Activity(told) => {
                answer(&told, activity::of(vcpu, &self.memory));
                state
            }
            Command::Exit => RunState::Exited,
        }
    }
}

fn answer<T>(to: &Sender<T>, answer: T) {
    // It fails if nobody waits for the answer.
    let _ = to.send(answer);
}
