//! The vCPUs of a machine: one thread each, which runs the guest and takes commands.
//!
//! ```text
//!            Resume
//!   Paused ----------> Running ----------> Exited
//!          <----------          Exit, or
//!             Pause             the machine's end
//! ```
//!
//! Threads start paused. A command goes through a channel, followed by a kick (`kick.rs`) that takes a vCPU out of the
//! guest. The answer comes through a channel that goes with the command, and closes if the thread ends instead.

mod kick;
#[cfg(test)]
mod tests;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kvm_ioctls::VcpuFd;
use vm_memory::GuestMemoryMmap;

use self::kick::{ImmediateExit, install_handler};
use self::thread::{Command, VcpuThread};
use super::affinity::VcpuPin;
use super::end::EndEvent;
use crate::arch::exits::Devices;
use crate::arch::state::{RegisterList, VcpuState};
use crate::error::KvmError;
use crate::hypervisor::CpuActivity;

/// How long a vCPU may take to react. It is out of the guest at once, but its thread may wait for a console that nobody
/// reads, or for a CPU of a busy host.
const LIMIT: Duration = Duration::from_secs(30);

/// The vCPUs of a machine. Dropping them ends them.
#[derive(Debug)]
pub(super) struct Vcpus {
    /// By the guest's CPU numbers.
    vcpus: Vec<Vcpu>,
    limit: Duration,
}

/// A vCPU's thread, from outside.
#[derive(Debug)]
struct Vcpu {
    cpu: u32,
    thread: JoinHandle<VcpuFd>,
    immediate_exit: ImmediateExit,
    commands: Sender<Command>,
    /// Whether the thread ended in order.
    exited: Arc<AtomicBool>,
    /// The answer to the last [`Command::Activity`] that is still to come.
    asked: Option<Receiver<CpuActivity>>,
    /// That answer, once it has come.
    activity: Option<CpuActivity>,
}

impl Vcpus {
    /// Starts a thread for each of `vcpus`, paused, and waits until each is where its pin wants it; without `pins` they
    /// run where this thread may. `memory` is the guest's.
    pub(super) fn start(
        vcpus: Vec<VcpuFd>,
        memory: &GuestMemoryMmap,
        devices: &Arc<dyn Devices>,
        end: &Arc<EndEvent>,
        pins: &[VcpuPin],
    ) -> Result<Self, KvmError> {
        install_handler()?;
        let mut started = Self {
            vcpus: Vec::with_capacity(vcpus.len()),
            limit: LIMIT,
        };
        let mut starts = Vec::with_capacity(vcpus.len());
        for (cpu, vcpu) in (0..).zip(vcpus) {
            let (commands, to_thread) = mpsc::channel();
            let (start, has_started) = mpsc::channel();
            let thread = VcpuThread {
                cpu,
                memory: memory.clone(),
                devices: Arc::clone(devices),
                end: Arc::clone(end),
                pin: pins.get(cpu as usize).copied(),
                commands: to_thread,
                started: start,
                exited: Arc::default(),
            };
            started.vcpus.push(Vcpu::spawn(thread, vcpu, commands)?);
            starts.push(has_started);
        }
        started
            .wait_all(&starts)?
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(started)
    }

    /// Has those that are paused run the guest where they were, the first one last: at the start it is the one that
    /// wakes the others.
    pub(super) fn resume(&self) -> Result<(), KvmError> {
        for vcpu in self.vcpus.iter().rev() {
            // No kick: one that is paused waits for a command, and one that runs is to run on.
            vcpu.send(Command::Resume)?;
        }
        Ok(())
    }

    /// Takes all of them out of the guest. When this returns none executes anything until [`Vcpus::resume`]. On an error
    /// some run on, and others are paused.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for snapshots, which come next")
    )]
    pub(super) fn pause(&self) -> Result<(), KvmError> {
        let ask = |vcpu: &Vcpu| vcpu.ask(Command::Pause);
        let paused = self.vcpus.iter().map(ask);
        let paused = paused.collect::<Result<Vec<_>, _>>()?;
        self.wait_all(&paused)?;
        Ok(())
    }

    /// The states of all of them, which are paused.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for snapshots, which come next")
    )]
    pub(super) fn save(&self, list: &Arc<RegisterList>) -> Result<Vec<VcpuState>, KvmError> {
        let ask = |vcpu: &Vcpu| vcpu.ask(|saved| Command::Save(Arc::clone(list), saved));
        let saved = self.vcpus.iter().map(ask);
        let saved = saved.collect::<Result<Vec<_>, _>>()?;
        self.wait_all(&saved)?.into_iter().collect()
    }

    /// What the vCPUs did when this was called the last time, once all of them have answered; asks anew then. Never
    /// waits.
    pub(super) fn activity(&mut self) -> Option<Vec<CpuActivity>> {
        for vcpu in &mut self.vcpus {
            let answer = vcpu.asked.as_ref().map(Receiver::try_recv);
            if let Some(Ok(activity)) = answer {
                vcpu.asked = None;
                vcpu.activity = Some(activity);
            }
        }
        let all: Option<Vec<CpuActivity>> = self.vcpus.iter().map(|vcpu| vcpu.activity).collect();
        for vcpu in &mut self.vcpus {
            if all.is_some() {
                vcpu.activity = None;
            }
            if vcpu.activity.is_none() && vcpu.asked.is_none() {
                // It fails for one that has ended: the machine's end is known otherwise.
                vcpu.asked = vcpu.ask(Command::Activity).ok();
            }
        }
        all
    }

    /// Has their threads exit, and waits for them.
    pub(super) fn stop(&mut self) {
        for vcpu in &self.vcpus {
            // It fails for one that has ended already.
            let _ = vcpu.command(Command::Exit);
        }
        for vcpu in self.vcpus.drain(..) {
            // They do not panic: see `VcpuThread::run`.
            let _ = vcpu.thread.join();
        }
    }

    /// Waits for the answers of all of them, in the same order.
    fn wait_all<T>(&self, answers: &[Receiver<T>]) -> Result<Vec<T>, KvmError> {
        let deadline = Instant::now() + self.limit;
        let wait = |(vcpu, answer): (&Vcpu, &Receiver<T>)| {
            let left = deadline.saturating_duration_since(Instant::now());
            answer.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Disconnected => vcpu.gone(),
                RecvTimeoutError::Timeout => KvmError::VcpuStuck {
                    cpu: vcpu.cpu,
                    limit: self.limit,
                },
            })
        };
        self.vcpus.iter().zip(answers).map(wait).collect()
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Vcpu {
    fn spawn(
        thread: VcpuThread,
        mut vcpu: VcpuFd,
        commands: Sender<Command>,
    ) -> Result<Self, KvmError> {
        let cpu = thread.cpu;
        let exited = Arc::clone(&thread.exited);
        let immediate_exit = ImmediateExit::of(&mut vcpu);
        let thread = std::thread::Builder::new()
            .name(format!("vcpu{cpu}"))
            .spawn(move || thread.run(vcpu))
            .map_err(KvmError::host("starting a thread for a vCPU"))?;
        Ok(Self {
            cpu,
            thread,
            immediate_exit,
            commands,
            exited,
            asked: None,
            activity: None,
        })
    }

    /// Sends a command and has the thread look at it.
    fn command(&self, command: Command) -> Result<(), KvmError> {
        self.send(command)?;
        self.immediate_exit.kick(&self.thread);
        Ok(())
    }

    /// Sends a command that the thread finds when it looks for one.
    fn send(&self, command: Command) -> Result<(), KvmError> {
        self.commands.send(command).map_err(|_| self.gone())
    }

    /// Sends a command that is answered; gives where the answer comes.
    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<Receiver<T>, KvmError> {
        let (answer, answers) = mpsc::channel();
        self.command(command(answer))?;
        Ok(answers)
    }

    /// Why the thread takes no commands.
    fn gone(&self) -> KvmError {
        if self.exited.load(Ordering::SeqCst) {
            KvmError::VcpuExited(self.cpu)
        } else {
            KvmError::VcpuThread(self.cpu)
        }
    }
}
