//! The kernel command line: arguments for a fast and quiet boot, then those of the machine.

use super::cpu_ids::ApicIds;
use super::tsc;
use crate::error::MachineError;
use crate::spec::MachineSpec;

/// Maximum length of a command line, without the final NUL: `COMMAND_LINE_SIZE` of arch/x86, minus one.
const MAX_LEN: usize = 2047;

/// Arguments of every kernel.
const COMMON: &[&str] = &[
    "console=ttyS0",
    // A panic resets the machine immediately, which ends the run.
    "panic=-1",
    // BSD-style terminals are not used, and creating 256 of them takes an emulated CPU 60 ms.
    "pty.legacy_count=0",
];

/// Arguments of kernels on QEMU's emulation.
const EMULATED: &[&str] = &[
    // One host thread reads the host's TSC for all guest CPUs, so that their counters cannot diverge.
    "tsc=reliable",
    // On a busy host the ten timer ticks take longer than the kernel waits for them, and it would panic.
    "no_timer_check",
];

/// The command line of a machine on KVM.
pub(crate) fn for_kvm(spec: &MachineSpec) -> String {
    // There is no PCI to probe.
    let mut words = vec!["pci=off"];
    if ApicIds::new(spec.topology).needs_x2apic() {
        // The IOAPIC has eight bits for the destination of an interrupt.
        words.push("irqaffinity=0");
    }
    join(&words, spec)
}

/// The command line of a machine that QEMU emulates.
pub(crate) fn for_qemu(spec: &MachineSpec) -> String {
    let mut words = EMULATED.to_vec();
    let khz = tsc::frequency_khz();
    // On a busy host, calibration is off by a factor, and so would be every time that the guest measures.
    let tsc = format!("tsc_early_khz={khz}");
    words.push(&tsc);
    // The other CPUs would calibrate this: a delay loop counts TSC ticks per jiffy.
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

/// Checks that `cmdline` is not longer than kernels accept.
pub(crate) fn check_length(cmdline: &str) -> Result<(), MachineError> {
    if cmdline.len() > MAX_LEN {
        return Err(MachineError::CmdlineTooLong {
            length: cmdline.len(),
            max: MAX_LEN,
        });
    }
    Ok(())
}
