//! The kernel's command line: what makes boots fast and quiet, then the machine's own arguments.

use super::cpu_ids::ApicIds;
use super::tsc;
use crate::error::MachineError;
use crate::spec::MachineSpec;

/// Longest command line that a kernel accepts, without the final NUL: `COMMAND_LINE_SIZE` of arch/x86, less one.
const MAX_LEN: usize = 2047;

/// What every kernel is told.
const COMMON: &[&str] = &[
    "console=ttyS0",
    // A panic resets the machine at once, and that ends the run.
    "panic=-1",
    // Nobody here opens BSD-style terminals, and making 256 of them takes an emulated CPU 60 ms.
    "pty.legacy_count=0",
];

/// What kernels are told that QEMU emulates.
const EMULATED: &[&str] = &[
    // One host thread reads the one host counter for all guest CPUs: it cannot disagree with itself.
    "tsc=reliable",
    // A busy host takes longer to deliver the ten timer ticks than the kernel waits for them, and it panics.
    "no_timer_check",
];

/// The command line of a machine on KVM.
pub(crate) fn for_kvm(spec: &MachineSpec) -> String {
    // There is no PCI to be looked for.
    let mut words = vec!["pci=off"];
    if ApicIds::new(spec.topology).needs_x2apic() {
        // The IOAPIC has eight bits for whom an interrupt goes to.
        words.push("irqaffinity=0");
    }
    join(&words, spec)
}

/// The command line of a machine that QEMU emulates.
pub(crate) fn for_qemu(spec: &MachineSpec) -> String {
    let mut words = EMULATED.to_vec();
    let khz = tsc::frequency_khz();
    // On a busy host calibration is wrong by factors, and so would be every time the guest measures.
    let tsc = format!("tsc_early_khz={khz}");
    words.push(&tsc);
    // What the other CPUs would calibrate: a delay loop counts the TSC's ticks per jiffy.
    let lpj = spec
        .kernel_hz
        .filter(|hz| *hz > 0)
        .map(|hz| format!("lpj={}", khz * 1000 / u64::from(hz)));
    words.extend(lpj.as_deref());
    join(&words, spec)
}

fn join(own: &[&str], spec: &MachineSpec) -> String {
    let mut words = [COMMON, own].concat();
    if !spec.verbose_console {
        words.push("quiet");
    }
    words.extend(spec.cmdline.iter().map(String::as_str));
    words.join(" ")
}

/// Checks that `cmdline` is no longer than kernels accept.
pub(crate) fn check_length(cmdline: &str) -> Result<(), MachineError> {
    if cmdline.len() > MAX_LEN {
        return Err(MachineError::CmdlineTooLong {
            length: cmdline.len(),
            max: MAX_LEN,
        });
    }
    Ok(())
}
