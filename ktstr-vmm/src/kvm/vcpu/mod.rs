//! The vCPUs of a machine. Each has a thread that runs the guest and takes commands.
//!
//! ```text
//!            Resume
//!   Paused ----------> Running ----------> Exited
//!          <----------          Exit, or
//!             Pause             the machine's end
//! ```
//!
//! Threads start paused. A command goes through a channel, followed by a kick (`kick.rs`) that interrupts the guest.
//! The answer comes through a channel in the command, which closes if the thread ends instead.

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

/// How long a vCPU may take to answer. A kick interrupts the guest immediately, but the thread may wait for a console
/// that nobody reads, or for a CPU of a busy host.
const LIMIT: Duration = Duration::from_secs(30);

/// The vCPUs of a machine. Dropping them ends them.
#[derive(Debug)]
pub(super) struct Vcpus {
    /// Indexed by the guest's CPU numbers.
    vcpus: Vec<Vcpu>,
    limit: Duration,
}

/// A handle to the thread of a vCPU.
#[derive(Debug)]
struct Vcpu {
    cpu: u32,
    thread: JoinHandle<VcpuFd>,
    immediate_exit: ImmediateExit,
    commands: Sender<Command>,
    /// Whether the thread ended without a panic.
    exited: Arc<AtomicBool>,
    /// The pending answer to the last [`Command::Activity`].
    asked: Option<Receiver<CpuActivity>>,
    /// That answer, once it has arrived.
    activity: Option<CpuActivity>,
}

impl Vcpus {
    /// Starts a paused thread for each of `vcpus`, and waits until each is pinned. Without `pins` they inherit the
    /// affinity of the calling thread. `memory` is guest memory.
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

    /// Resumes the paused vCPUs. The first one comes last, as it starts the others when the machine boots.
    pub(super) fn resume(&self) -> Result<(), KvmError> {
        for vcpu in self.vcpus.iter().rev() {
            // No kick: a paused vCPU waits for a command, and a running one continues.
            vcpu.send(Command::Resume)?;
        }
        Ok(())
    }

    /// Pauses all vCPUs. After this returns, none executes guest code until [`Vcpus::resume`]. After an error, some may
    /// be paused and others running.
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

    /// The states of all vCPUs, which must be paused.
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

    /// The activity of the vCPUs as of the previous call, once all of them have answered; then requests it again. Never
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
                // It fails if the thread has ended; the end of the machine is reported elsewhere.
                vcpu.asked = vcpu.ask(Command::Activity).ok();
            }
        }
        all
    }

    /// Ends all threads and waits for them.
    pub(super) fn stop(&mut self) {
        for vcpu in &self.vcpus {
            // It fails if the thread has already ended.
            let _ = vcpu.command(Command::Exit);
        }
        for vcpu in self.vcpus.drain(..) {
            // Threads do not panic: see `VcpuThread::run`.
            let _ = vcpu.thread.join();
        }
    }

    /// Waits for the answers of all vCPUs, in their order.
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

    /// Sends a command and kicks the thread, so that it handles it.
    fn command(&self, command: Command) -> Result<(), KvmError> {
        self.send(command)?;
        self.immediate_exit.kick(&self.thread);
        Ok(())
    }

    /// Sends a command without a kick.
    fn send(&self, command: Command) -> Result<(), KvmError> {
        self.commands.send(command).map_err(|_| self.gone())
    }

    /// Sends a command that has an answer; returns the channel for it.
    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<Receiver<T>, KvmError> {
        let (answer, answers) = mpsc::channel();
        self.command(command(answer))?;
        Ok(answers)
    }

    /// The error for a thread that takes no commands.
    fn gone(&self) -> KvmError {
        if self.exited.load(Ordering::SeqCst) {
            KvmError::VcpuExited(self.cpu)
        } else {
            KvmError::VcpuThread(self.cpu)
        }
    }
}
