//! Boots a machine and talks to it: `cargo run --bin boot_machine -- KERNEL-IMAGE [TOPOLOGY]`.
//!
//! The program is both sides. On the host it packs itself into an initramfs and runs a machine; as
//! PID 1 of that machine it answers questions about files of the guest.

use std::error::Error;
use std::ffi::CStr;
use std::fs;
use std::time::Duration;

use ktstr_core::Topology;
use ktstr_core::host::Host;
use ktstr_vmm::channel::{GuestChannel, PORT_NAME};
use ktstr_vmm::initramfs::Initramfs;
use ktstr_vmm::{
    BackendSelection, Flow, Frame, Machine, MachineSpec, Observer, Outbox, guest_memory_mib,
};
use rustix::mount::{MountFlags, mount};

/// Frame tags of this little protocol.
const READY: u8 = 1;
const FILE: u8 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    if std::process::id() == 1 {
        return guest();
    }
    let mut args = std::env::args().skip(1);
    let kernel = args
        .next()
        .ok_or("usage: boot_machine KERNEL-IMAGE [TOPOLOGY, such as 1n2l2c2t]")?;
    let topology: Topology = args.next().unwrap_or("1n2l2c2t".to_owned()).parse()?;

    let cache = tempfile::tempdir()?;
    let initramfs = Initramfs::builder()
        .init(std::env::current_exe()?)
        .build()
        .build_cached(cache.path())?;
    let selection = BackendSelection::detect(&Host::of_this_process(), None)?;
    let backend = selection.backend();
    let machine = Machine::new(
        MachineSpec {
            initramfs: Some(initramfs.path().to_owned()),
            memory_mib: guest_memory_mib(topology, 256, initramfs.size()),
            ..MachineSpec::new(kernel, topology)
        },
        selection.config,
    )?;

    let mut interview = Interview {
        questions: vec![
            "/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list",
            "/sys/devices/system/cpu/online",
            "/proc/version",
        ],
    };
    let exit = machine.run(&mut interview)?;
    let ready = exit.timings.first_frame.unwrap_or_default();
    println!(
        "{} on {backend}; ready after {ready:.1?}, gone after {:.1?}",
        exit.reason, exit.timings.end
    );
    Ok(())
}

/// Asks the guest one question after another.
struct Interview {
    /// Files to ask for; the last comes first.
    questions: Vec<&'static str>,
}

impl Observer for Interview {
    fn frame(&mut self, frame: Frame, outbox: &mut Outbox) -> Flow {
        if frame.tag == FILE {
            println!("  {}", String::from_utf8_lossy(&frame.payload).trim());
        }
        let Some(question) = self.questions.pop() else {
            return Flow::Stop;
        };
        println!("{question}");
        outbox.send(&Frame {
            tag: FILE,
            payload: question.into(),
        });
        Flow::Continue
    }
}

/// The other side: mounts what it needs, says that it is ready, answers until the host ends the machine.
fn guest() -> Result<(), Box<dyn Error>> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(kind, place, kind, MountFlags::empty(), None::<&CStr>)?;
    }
    let mut channel = GuestChannel::open(PORT_NAME)?;
    channel.send(&Frame {
        tag: READY,
        payload: Vec::new(),
    })?;
    loop {
        let question = channel.recv(Duration::from_secs(60))?;
        let path = String::from_utf8(question.payload)?;
        let payload = fs::read(&path).unwrap_or_else(|error| error.to_string().into_bytes());
        channel.send(&Frame { tag: FILE, payload })?;
    }
}
