//! What sampling the run queues costs, of the guest's own CPU time and measured in the guest.

use std::process::{Command, Stdio};

use ktstr_benches::{figure, kernel};
use ktstr_core::env;
use ktstr_core::record::RunDir;

fn main() {
    for cpus in [4, 16] {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let status = Command::new(env!("CARGO_BIN_EXE_sampled"))
            .args(["--exact", &format!("ktstr/on_{cpus}_cpus")])
            .env(env::KERNEL, kernel())
            .env(env::SIDECAR_DIR, dir.path())
            .stdin(Stdio::null())
            .status();
        assert!(status.expect("the binary runs").success());
        let run = RunDir::new(dir.path(), "");
        let mut sidecars = run.sidecars().expect("a run directory");
        let sidecar = sidecars.remove(0).expect("a sidecar");
        let sampled = sidecar.sampled.as_ref().expect("samples");
        let cost = sampled.cost_pct(cpus).expect("some time");
        let what = format!(
            "sampling on {cpus} CPUs, {} times in {:.1} s",
            sampled.samples, sampled.wall_s
        );
        figure(&what, &format!("{cost:.2} %"), "1 %");
    }
}
