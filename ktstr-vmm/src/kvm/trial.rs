//! Finds out by a throw-away guest whether this KVM can run Linux; see [`crate::arch::trial`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::end::EndEvent;
use super::host::{open, prepare};
use super::memory;
use super::vcpu::Vcpus;
use crate::arch::exits::Devices;
use crate::arch::trial;
use crate::error::KvmError;
use crate::hypervisor::MachineEnd;

/// A working KVM needs a few milliseconds in total.
const LIMIT: Duration = Duration::from_millis(500);

/// Runs the guest on the KVM at `device`. The error is one line that says why no kernel can run there.
pub(crate) fn run(device: &Path) -> Result<(), String> {
    let ended = attempt(device).map_err(|error| error.to_string())?;
    let why = match ended {
        Some(MachineEnd::PoweredOff) => return Ok(()),
        Some(MachineEnd::Reset) => "a trial guest crashed".to_owned(),
        Some(MachineEnd::Crashed(why)) => why,
        None => format!(
            "a trial guest did not finish within {} ms",
            LIMIT.as_millis()
        ),
    };
    Err(why)
}

fn attempt(device: &Path) -> Result<Option<MachineEnd>, KvmError> {
    let device = open(device)?;
    let vm = device
        .create_vm()
        .map_err(KvmError::ioctl("KVM_CREATE_VM"))?;
    let memory = memory::allocate(&trial::RAM)?;
    prepare(&device, &vm, &memory, false)?;
    let vcpu = trial::create(&device, &vm, &memory)?;

    let end = Arc::new(EndEvent::new().map_err(KvmError::host("eventfd"))?);
    let devices: Arc<dyn Devices> = Arc::new(NoDevices);
    let mut vcpus = Vcpus::start(vec![vcpu], &memory, &devices, &end, &[])?;
    vcpus.resume()?;
    let mut fds = [PollFd::from_borrowed_fd(end.event(), PollFlags::IN)];
    // Whether the wait was interrupted does not matter: the end of the machine is checked.
    let _ = poll(&mut fds, Timespec::try_from(LIMIT).ok().as_ref());
    vcpus.stop();
    Ok(end.how().map(trial::name_instruction))
}

/// A machine without devices.
#[derive(Debug)]
struct NoDevices;

impl Devices for NoDevices {
    fn port_read(&self, _: u16, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn port_write(&self, _: u16, _: &[u8]) {}

    fn memory_read(&self, _: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn memory_write(&self, _: u64, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_comes_to_an_answer() {
        // Whatever the device does, no wait exceeds the limit.
        let begin = Instant::now();
        let answer = run(Path::new("/dev/kvm"));
        println!("{answer:?} in {:?}", begin.elapsed());
    }
}
