//! Machines on KVM, against QEMU's microvm on the same KVM with the same kernel and initramfs.
//!
//! Runs in the nested rig (`ktstr-vmm/tests/support/nested.rs`), where an exit from a guest costs a thousand times what it
//! does on hardware: ratios count there, not times. `KTSTR_TEST_NESTED_HOST` is the rig's Linux
//! (`scripts/distribution-kernel --kvm`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ktstr_benches::{bare, figure, ms, workspace};

#[path = "../../ktstr-vmm/tests/support/nested.rs"]
mod nested;
use nested::{in_measuring_host, linux};

/// What QEMU's microvm reads of its own.
const DATA: &[&str] = &[
    "bios-microvm.bin",
    "kvmvapic.bin",
    "linuxboot_dma.bin",
    "pvh.bin",
    "qboot.rom",
];

fn main() {
    let Some(linux) = linux() else { return };
    let qemu = ktstr_vmm::find_qemu(&ktstr_core::host::Host::of_this_process());
    let qemu = qemu.expect("qemu-system-x86_64");
    let data = Path::new("/usr/share/qemu");
    build_nested_host();
    let dir = tempfile::tempdir().expect("a scratch directory");
    let image = ktstr_benches::kernel();
    // Uncompressed where it is there: both start it directly.
    let vmlinux = image.with_file_name("vmlinux");
    let kernel = if vmlinux.is_file() { vmlinux } else { image };
    let mut files: Vec<(PathBuf, String)> = vec![
        (
            env!("CARGO_BIN_EXE_kvm_inside").into(),
            "/inside".to_owned(),
        ),
        (kernel, "/kernel".to_owned()),
        (bare::initramfs(dir.path()), "/initramfs".to_owned()),
        (qemu, "/qemu/qemu-system-x86_64".to_owned()),
    ];
    for name in DATA {
        files.push((data.join(name), format!("/qemu/data/{name}")));
    }
    let files: Vec<(PathBuf, &str)> = files
        .iter()
        .map(|(file, at)| (file.clone(), at.as_str()))
        .collect();
    let command = ["/inside", "/kernel", "/initramfs", "/qemu/data"];
    let (said, well) = in_measuring_host(&linux, &files, &command);
    assert!(well, "{said}");
    let number = |name: &str| -> u64 {
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok())
            .expect("a figure")
    };
    let [ours, qemu, started] =
        ["ours_us", "qemu_us", "started_us"].map(|name| Duration::from_micros(number(name)));
    figure(
        "QEMU's microvm to the first instruction of init",
        &ms(qemu),
        "-",
    );
    figure("ours", &ms(ours), "-");
    let ratio = format!("{:.2} x", ours.as_secs_f64() / qemu.as_secs_f64());
    figure("ratio", &ratio, "0.80 x");
    let share = format!("{:.2} x", started.as_secs_f64() / ours.as_secs_f64());
    figure(
        "of that until the guest's CPUs run (2, 512 MiB)",
        &ms(started),
        "see kvm_start",
    );
    figure("as a share of the whole", &share, "-");
    let mib = |name| format!("{:.1} MiB", number(name) as f64 / 1024.0);
    figure("memory beyond the guest's own", &mib("extra_kib"), "5 MiB");
    figure("the guest's, of 512 MiB", &mib("guest_kib"), "-");
}

/// The rig's init, where the rig looks for it.
fn build_nested_host() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--release",
            "-p",
            "ktstr-vmm",
            "--example",
            "nested_host",
        ])
        .current_dir(workspace())
        .status();
    assert!(status.expect("cargo runs").success());
}
