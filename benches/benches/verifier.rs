//! A cell of the verifier sweep, from the start of its process to its end, against a bare QEMU boot of the same kernel
//! on as many CPUs and the time that the scheduler takes to load, which the guest measures.
//!
//! `KTSTR_TEST_SCHEDULERS` is the directory of the kernel's own schedulers (`scripts/kernel-schedulers`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ktstr_benches::{bare, figure, kernel, middle, ms};
use ktstr_core::record::RunDir;
use ktstr_core::{KernelLabel, env};

/// Runs of each.
const ROUNDS: usize = 15;

fn main() {
    let programs = std::env::var_os("KTSTR_TEST_SCHEDULERS").filter(|dir| !dir.is_empty());
    let Some(programs) = programs.map(PathBuf::from) else {
        println!("a verifier cell: left out, KTSTR_TEST_SCHEDULERS is not set");
        return;
    };
    let dir = tempfile::tempdir().expect("a scratch directory");
    let kernel = kernel();
    let initramfs = bare::initramfs(dir.path());
    let scheduler = programs.join("scx_simple");
    let cell = || cell(&kernel, &scheduler, &dir.path().join("results"));
    // Fills the caches.
    cell();
    let (mut bare, mut cells, mut loads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(bare::boot(&kernel, &initramfs, 4));
        let (took, load) = cell();
        cells.push(took.saturating_sub(load));
        loads.push(load);
    }
    let (bare, cell, load) = (middle(bare), middle(cells), middle(loads));
    figure("bare QEMU boot, 4 CPUs", &ms(bare), "-");
    figure("scx_simple loads, in the guest", &ms(load), "-");
    figure("verifier cell without that", &ms(cell), "-");
    let ratio = format!("{:.2} x", cell.as_secs_f64() / bare.as_secs_f64());
    figure("ratio", &ratio, "1.30 x");
}

/// How long a cell takes, and how long of that the scheduler took to load.
fn cell(kernel: &Path, scheduler: &Path, results: &Path) -> (Duration, Duration) {
    let label = KernelLabel::from_path(kernel, false);
    let begin = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_swept"))
        .arg("--include-ignored")
        .args([
            "--exact",
            &format!("verifier/given/{label}/4cpu-1llc-nosmt"),
        ])
        .env(env::KERNEL_LIST, format!("{label}={}", kernel.display()))
        .env(env::SCHEDULER, scheduler)
        .env(env::SIDECAR_DIR, results)
        .stdin(Stdio::null())
        .status();
    let took = begin.elapsed();
    assert!(status.expect("the binary runs").success());
    let mut sidecars = RunDir::new(results, "")
        .sidecars()
        .expect("a run directory");
    let sidecar = sidecars.remove(0).expect("a sidecar");
    let load = sidecar.verifier.and_then(|verifier| verifier.load_s);
    (took, Duration::from_secs_f64(load.expect("it was enabled")))
}
