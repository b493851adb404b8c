//! Builds a machine on KVM from its specification, and runs it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use kvm_ioctls::VmFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use vm_memory::GuestMemoryMmap;

use super::affinity::AffinityGuard;
use super::device_bus::DeviceBus;
use super::end::EndEvent;
use super::host::{open, prepare};
use super::memory::Allocated;
use super::vcpu::Vcpus;
use super::virtio::Port;
use super::{memory, performance};
use crate::arch::boot::Payload;
use crate::arch::cpu_ids::ApicIds;
use crate::arch::exits::Devices;
use crate::arch::layout::ram;
use crate::arch::{boot, cmdline, firmware, vcpu};
use crate::backend::{Backend, KvmConfig};
use crate::channel::{PORT_NAME, TERMINAL_NAME};
use crate::error::{KvmError, MachineError};
use crate::exit::Diagnostic;
use crate::hypervisor::{CpuActivity, Hypervisor, MachineEnd, RunningMachine};
use crate::image::Image;
use crate::spec::MachineSpec;
use crate::stream;
use crate::terminal::Terminal;

/// Runs machines on the host's KVM.
#[derive(Debug)]
pub(crate) struct Kvm {
    config: KvmConfig,
    image: Image,
}

impl Kvm {
    pub(crate) fn new(config: KvmConfig, image: Image) -> Self {
        Self { config, image }
    }

    fn boot(&self, spec: &MachineSpec) -> Result<KvmMachine, MachineError> {
        // This comes first, as all threads that are started below inherit it.
        let affinity = performance::confine(&spec.host_placement)?;
        let (console, guest_console) = stream::pair().map_err(MachineError::host("socketpair"))?;
        let (channel, guest_channel) = stream::pair().map_err(MachineError::host("socketpair"))?;
        let ports = ports(guest_channel, spec.terminal.as_ref())?;
        let device = open(&self.config.device)?;
        let vm = device
            .create_vm()
            .map_err(KvmError::ioctl("KVM_CREATE_VM"))?;
        let ids = ApicIds::new(spec.topology);
        let realtime = spec.host_placement.performance().is_some();
        if realtime {
            performance::keep_in_guest(&vm)?;
        }

        let ram = ram(spec.topology, spec.memory_mib);
        let policy = performance::memory_policy(&spec.host_placement);
        let Allocated { memory, note } = memory::allocate_as(&ram, policy)?;
        prepare(&device, &vm, &memory, ids.needs_x2apic())?;
        let payload = Payload {
            image: &self.image,
            initramfs: spec.initramfs.as_deref(),
            cmdline: &cmdline::for_kvm(spec),
            acpi: &firmware::tables(ids, &ram)?,
        };
        let entry = boot::load(&memory, &ram, &payload)?;
        let vcpus = vcpu::create_all(&device, &vm, &memory, ids, entry, realtime)?;

        let devices = Arc::new(DeviceBus::new(&vm, &memory, guest_console, ports)?);
        let end = Arc::new(EndEvent::new().map_err(KvmError::host("eventfd"))?);
        let as_seen: Arc<dyn Devices> = devices.clone();
        let pins = performance::pins(&spec.host_placement);
        let vcpus = Vcpus::start(vcpus, &memory, &as_seen, &end, &pins)?;
        vcpus.resume()?;
        Ok(KvmMachine {
            vcpus,
            devices,
            end,
            console,
            channel,
            note,
            _vm: vm,
            _memory: memory,
            _affinity: affinity,
        })
    }
}

/// The ports of the virtio console: the channel, and the terminal if there is one.
fn ports(channel: OwnedFd, terminal: Option<&Terminal>) -> Result<Vec<Port>, MachineError> {
    let mut ports = vec![Port {
        name: PORT_NAME.to_owned(),
        socket: channel,
        console: false,
    }];
    if let Some(terminal) = terminal {
        ports.push(Port {
            name: TERMINAL_NAME.to_owned(),
            socket: terminal.open()?,
            console: true,
        });
    }
    Ok(ports)
}

impl Hypervisor for Kvm {
    fn check(&self, spec: &MachineSpec) -> Result<(), MachineError> {
        Backend::Kvm.check_features(spec)?;
        let device = open(&self.config.device)?;
        let most = device.get_max_vcpus();
        if spec.topology.cpus() as usize > most {
            return Err(MachineError::TooLarge {
                topology: spec.topology,
                backend: Backend::Kvm,
                max: most as u32,
            });
        }
        let highest = ApicIds::new(spec.topology).highest();
        if highest as usize >= device.get_max_vcpu_id() {
            return Err(MachineError::ApicIds {
                topology: spec.topology,
                backend: Backend::Kvm,
                highest,
            });
        }
        performance::check(&device, spec)?;
        cmdline::check_length(&cmdline::for_kvm(spec))
    }

    fn start(&self, spec: &MachineSpec) -> Result<Box<dyn RunningMachine>, MachineError> {
        Ok(Box::new(self.boot(spec)?))
    }
}

/// A running machine. Fields are dropped in this order: the vCPUs, the devices, then the VM, its memory and the affinity.
#[derive(Debug)]
struct KvmMachine {
    vcpus: Vcpus,
    devices: Arc<DeviceBus>,
    end: Arc<EndEvent>,
    console: OwnedFd,
    channel: OwnedFd,
    /// Where its memory deviates from what was requested.
    note: Option<String>,
    _vm: VmFd,
    _memory: GuestMemoryMmap,
    _affinity: Option<AffinityGuard>,
}

impl RunningMachine for KvmMachine {
    fn console(&self) -> BorrowedFd<'_> {
        self.console.as_fd()
    }

    fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    fn signals(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.end.event(), self.devices.console.ended()]
    }

    fn poll_end(&mut self) -> Result<Option<MachineEnd>, MachineError> {
        let Some(ended) = self.end.how() else {
            return Ok(None);
        };
        self.devices.serial.hang_up();
        self.vcpus.stop();
        self.devices.serial.end();
        self.end.silence();
        // Earlier output of the guest is still in transit, and is read in the meantime.
        let console = &self.devices.console;
        console.drain();
        Ok(is_readable(console.ended())?.then_some(ended))
    }

    fn version(&self) -> Option<String> {
        Some(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn cpu_activity(&mut self) -> Result<Option<Vec<CpuActivity>>, MachineError> {
        Ok(self.vcpus.activity())
    }

    fn end(mut self: Box<Self>) -> Vec<Diagnostic> {
        self.devices.serial.hang_up();
        self.vcpus.stop();
        self.devices.console.stop();
        let fault = self.devices.console.fault();
        let note = self.note.take().map(Diagnostic::Performance);
        note.into_iter()
            .chain(fault.map(Diagnostic::Device))
            .collect()
    }
}

impl Drop for KvmMachine {
    /// The vCPUs are joined next: none of them may wait for a console that nobody reads.
    fn drop(&mut self) {
        self.devices.serial.hang_up();
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> Result<bool, MachineError> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))
        .map_err(MachineError::host("poll"))?;
    Ok(!fds[0].revents().is_empty())
}
