//! How long a machine on KVM takes from the call to the guest's first instruction: on this host's own `/dev/kvm`, with
//! everything a test has, a whole kernel and an initramfs.
//!
//! The kernel's first instructions are replaced by some that reset the machine, so that this runs also where
//! `/dev/kvm` cannot run Linux. What is measured is the host's side, which no emulation slows down there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ktstr_benches::{bare, figure, middle, ms};
use ktstr_core::Topology;
use ktstr_vmm::{Backend, ExitReason, Flow, Frame, Machine, MachineSpec, Observer, Outbox};

const ROUNDS: usize = 51;

/// `mov al, 0xfe; out 0x64, al`: the keyboard controller's reset line.
const RESET: [u8; 4] = [0xb0, 0xfe, 0xe6, 0x64];

fn main() {
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
        println!("SKIP: /dev/kvm: {error}");
        return;
    }
    let dir = tempfile::tempdir().expect("a scratch directory");
    let vmlinux = ktstr_benches::kernel().with_file_name("vmlinux");
    let kernel = resetting(&vmlinux, dir.path());
    let initramfs = bare::initramfs(dir.path());
    let mib = fs::metadata(&kernel).expect("a kernel").len() >> 20;
    println!("kernel {mib} MiB, 2 CPUs, 512 MiB");

    let runs: Vec<[Duration; 3]> = (0..ROUNDS).map(|_| run(&kernel, &initramfs)).collect();
    let [started, first, gone] = [0, 1, 2].map(|at| middle(runs.iter().map(|run| run[at])));
    figure("from run() until the guest's CPUs run", &ms(started), "-");
    figure(
        "from run() to the guest's first instruction, at most",
        &ms(first),
        "10 ms",
    );
    figure("from run() until all is gone", &ms(gone), "-");
}

/// When the machine was started, when its reset was known, when it was gone.
fn run(kernel: &Path, initramfs: &Path) -> [Duration; 3] {
    let spec = MachineSpec {
        initramfs: Some(initramfs.into()),
        memory_mib: 512,
        ..MachineSpec::new(kernel, Topology::constant(1, 1, 2, 1))
    };
    let machine = Machine::new(spec, Backend::Kvm).expect("a machine");
    let exit = machine.run(&mut Nothing).expect("a run");
    assert_eq!(exit.reason, ExitReason::Reset, "{:?}", exit.diagnostics);
    [exit.timings.started, exit.timings.decided, exit.timings.end]
}

struct Nothing;

impl Observer for Nothing {
    fn frame(&mut self, _: Frame, _: &mut Outbox) -> Flow {
        Flow::Continue
    }
}

/// A copy of `vmlinux` in `dir` that resets the machine where it is entered.
fn resetting(vmlinux: &Path, dir: &Path) -> PathBuf {
    let mut kernel = fs::read(vmlinux).expect("an uncompressed kernel beside the image");
    let at = entry_offset(&kernel).expect("an ELF kernel's entry in one of its segments");
    kernel[at..at + RESET.len()].copy_from_slice(&RESET);
    let path = dir.join("vmlinux");
    fs::write(&path, kernel).expect("a file");
    path
}

/// Where in the file the first instruction is: `e_entry` of the ELF header is a physical address in kernels.
fn entry_offset(kernel: &[u8]) -> Option<usize> {
    let file = elf::ElfBytes::<elf::endian::LittleEndian>::minimal_parse(kernel).ok()?;
    let entry = file.ehdr.e_entry;
    file.segments()?.iter().find_map(|segment| {
        let within = entry.checked_sub(segment.p_paddr)?;
        (within < segment.p_filesz).then(|| (segment.p_offset + within) as usize)
    })
}
