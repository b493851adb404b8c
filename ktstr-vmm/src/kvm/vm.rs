//! A machine on KVM, from its specification to one that runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, IoEventAddress, Kvm as Device, VcpuFd, VmFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::boot::{self, Payload};
use super::error::KvmError;
use super::host::{DEVICE, open, prepare};
use super::layout::{COM1, COM1_GSI, VIRTIO_GSI, VIRTIO_MMIO, VIRTIO_MMIO_SIZE, ram};
use super::memory::Allocated;
use super::seat::Confined;
use super::serial::Serial;
use super::vcpu::{Devices, End, Vcpus};
use super::virtio::{self, Port, VirtioConsole};
use super::{acpi, cpuid, memory, performance, registers};
use crate::apic::ApicIds;
use crate::channel::{PORT_NAME, TERMINAL_NAME};
use crate::cmdline;
use crate::error::MachineError;
use crate::exit::Diagnostic;
use crate::image::Image;
use crate::machine::{Ended, Hypervisor, MAX_CMDLINE, Vm};
use crate::spec::MachineSpec;
use crate::stream;
use crate::terminal::Terminal;
use crate::watch::CpuState;

/// Carries machines by the host's KVM.
#[derive(Debug)]
pub(crate) struct Kvm {
    image: Image,
}

impl Kvm {
    pub(crate) fn new(image: Image) -> Self {
        Self { image }
    }

    fn boot(&self, spec: &MachineSpec) -> Result<Running, MachineError> {
        // First: whatever is started below inherits it.
        let confined = spec.host.confine()?;
        let (console, guest_console) = stream::pair().map_err(MachineError::host("socketpair"))?;
        let (channel, guest_channel) = stream::pair().map_err(MachineError::host("socketpair"))?;
        let terminal = spec.terminal.as_ref().map(Terminal::open).transpose()?;
        let device = open(Path::new(DEVICE))?;
        let vm = device
            .create_vm()
            .map_err(KvmError::ioctl("KVM_CREATE_VM"))?;
        let ids = ApicIds::new(spec.topology);
        let realtime = spec.host.performance().is_some();
        if realtime {
            performance::keep_in_guest(&vm)?;
        }

        let ram = ram(spec.topology, spec.memory_mib);
        let Allocated { memory, note } = memory::allocate_as(&ram, spec.host.memory())?;
        prepare(&device, &vm, &memory, ids.needs_x2apic())?;
        let acpi = acpi::tables(ids, &ram).map_err(KvmError::from)?;
        let payload = Payload {
            image: &self.image,
            initramfs: spec.initramfs.as_deref(),
            cmdline: &cmdline::for_kvm(spec),
            acpi: &acpi,
        };
        let entry = boot::load(&memory, &ram, &payload)?;
        registers::write_tables(&memory)?;

        let mut ports = vec![Port {
            name: PORT_NAME.to_owned(),
            socket: guest_channel,
            console: false,
        }];
        if let Some(socket) = terminal {
            ports.push(Port {
                name: TERMINAL_NAME.to_owned(),
                socket,
                console: true,
            });
        }
        let devices = Arc::new(Board::new(&vm, &memory, guest_console, ports)?);
        let vcpus = vcpus(&device, &vm, ids, entry, realtime)?;
        let end = Arc::new(End::new().map_err(KvmError::host("eventfd"))?);
        let as_seen: Arc<dyn Devices> = devices.clone();
        let vcpus = Vcpus::start(vcpus, &memory, &as_seen, &end, &spec.host.seats())?;
        Ok(Running {
            vcpus,
            devices,
            end,
            console,
            channel,
            note,
            _vm: vm,
            _memory: memory,
            _confined: confined,
        })
    }
}

impl Hypervisor for Kvm {
    fn check(&self, spec: &MachineSpec) -> Result<(), MachineError> {
        let device = open(Path::new(DEVICE))?;
        let most = device.get_max_vcpus();
        if spec.topology.cpus() as usize > most {
            return Err(MachineError::TooLarge {
                topology: spec.topology,
                backend: crate::Backend::Kvm,
                max: most as u32,
            });
        }
        let highest = ApicIds::new(spec.topology).highest();
        if highest as usize >= device.get_max_vcpu_id() {
            return Err(MachineError::ApicIds {
                topology: spec.topology,
                backend: crate::Backend::Kvm,
                highest,
            });
        }
        performance::check(&device, spec)?;
        let length = cmdline::for_kvm(spec).len();
        if length > MAX_CMDLINE {
            return Err(MachineError::CmdlineTooLong(length));
        }
        Ok(())
    }

    fn start(&self, spec: &MachineSpec) -> Result<Box<dyn Vm>, MachineError> {
        Ok(Box::new(self.boot(spec)?))
    }
}

/// The processors, the first at the kernel's entry and the others waiting to be woken.
fn vcpus(
    device: &Device,
    vm: &VmFd,
    ids: ApicIds,
    entry: u64,
    realtime: bool,
) -> Result<Vec<VcpuFd>, KvmError> {
    let supported = device
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(KvmError::ioctl("KVM_GET_SUPPORTED_CPUID"))?;
    let features = cpuid::Features {
        tsc_deadline: device.check_extension(Cap::TscDeadlineTimer),
        realtime,
    };
    let mut vcpus = Vec::new();
    for cpu in 0..ids.topology().cpus() {
        // KVM takes the number of a vCPU for its APIC id.
        let vcpu = vm
            .create_vcpu(u64::from(ids.id_of(cpu)))
            .map_err(KvmError::ioctl("KVM_CREATE_VCPU"))?;
        let entries = cpuid::vcpu(supported.as_slice(), ids, cpu, features);
        let entries = CpuId::from_entries(&entries)
            .map_err(|error| KvmError::Memory(format!("{error:?}")))?;
        vcpu.set_cpuid2(&entries)
            .map_err(KvmError::ioctl("KVM_SET_CPUID2"))?;
        registers::reset(&vcpu, ids.needs_x2apic())?;
        if cpu == 0 {
            registers::enter(&vcpu, entry)?;
        }
        vcpus.push(vcpu);
    }
    Ok(vcpus)
}

/// The devices of a machine.
#[derive(Debug)]
struct Board {
    serial: Serial,
    console: VirtioConsole,
}

impl Board {
    fn new(
        vm: &VmFd,
        memory: &GuestMemoryMmap,
        console: OwnedFd,
        ports: Vec<Port>,
    ) -> Result<Self, KvmError> {
        let interrupt = |gsi| {
            let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)
                .map_err(KvmError::host("eventfd"))?;
            vm.register_irqfd(&event, gsi)
                .map_err(KvmError::ioctl("KVM_IRQFD"))?;
            Ok::<_, KvmError>(event)
        };
        let serial = Serial::new(&interrupt(COM1_GSI)?, console)?;
        let console = VirtioConsole::new(memory.clone(), interrupt(VIRTIO_GSI)?, ports)
            .map_err(KvmError::host("virtio console"))?;
        let notify = IoEventAddress::Mmio(VIRTIO_MMIO + virtio::QUEUE_NOTIFY);
        for (queue, event) in (0_u32..).zip(console.notify_eventfds()) {
            vm.register_ioevent(event, &notify, queue)
                .map_err(KvmError::ioctl("KVM_IOEVENTFD"))?;
        }
        Ok(Self { serial, console })
    }

    /// The serial port's register behind `port`, if it is one.
    fn serial_offset(port: u16) -> Option<u8> {
        let offset = port.checked_sub(COM1).filter(|offset| *offset < 8)?;
        Some(offset as u8)
    }

    fn virtio_offset(address: u64) -> Option<u64> {
        let offset = address.checked_sub(VIRTIO_MMIO);
        offset.filter(|offset| *offset < VIRTIO_MMIO_SIZE)
    }
}

impl Devices for Board {
    fn port_read(&self, port: u16, data: &mut [u8]) {
        // Where nothing is, a bus reads as ones.
        data.fill(0xff);
        if let (Some(offset), [byte]) = (Self::serial_offset(port), data) {
            *byte = self.serial.read(offset);
        }
    }

    fn port_write(&self, port: u16, data: &[u8]) {
        if let (Some(offset), [byte]) = (Self::serial_offset(port), data) {
            self.serial.write(offset, *byte);
        }
    }

    fn memory_read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some(offset) = Self::virtio_offset(address) {
            self.console.read(offset, data);
        }
    }

    fn memory_write(&self, address: u64, data: &[u8]) {
        if let Some(offset) = Self::virtio_offset(address) {
            self.console.write(offset, data);
        }
    }
}

/// A machine that runs. The order of fields is the order in which it is taken apart: processors, devices, then the
/// VM and what it ran in.
#[derive(Debug)]
struct Running {
    vcpus: Vcpus,
    devices: Arc<Board>,
    end: Arc<End>,
    console: OwnedFd,
    channel: OwnedFd,
    /// What its memory is not like.
    note: Option<String>,
    _vm: VmFd,
    _memory: GuestMemoryMmap,
    _confined: Option<Confined>,
}

impl Vm for Running {
    fn console(&self) -> BorrowedFd<'_> {
        self.console.as_fd()
    }

    fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    fn signals(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.end.event(), self.devices.console.ended()]
    }

    fn check(&mut self) -> Result<Option<Ended>, MachineError> {
        let Some(ended) = self.end.how() else {
            return Ok(None);
        };
        self.devices.serial.hang_up();
        self.vcpus.stop();
        self.devices.serial.end();
        self.end.silence();
        // What the guest said before is on its way; meanwhile it is read.
        let console = &self.devices.console;
        console.drain();
        Ok(is_readable(console.ended())?.then_some(ended))
    }

    fn look(&mut self) -> Result<Option<Vec<CpuState>>, MachineError> {
        Ok(self.vcpus.look())
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

impl Drop for Running {
    /// Its processors are joined next: none of them may wait for a console that nobody reads.
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
