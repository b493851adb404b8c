//! From `cargo ktstr test`, everything built, to the first instruction of the test body, against a bare
//! QEMU boot of the same kernel to a static init.
//!
//! Both are timed from the start of the process to a line of output: `BODY` from the test, `INIT` from the
//! init. They take turns, so that a busy host slows both.

use std::path::PathBuf;
use std::process::Command;

use ktstr_benches::bare::{self, until};
use ktstr_benches::{cargo_in, figure, kernel, make_user_project, middle, ms, workspace};

/// Runs of each.
const ROUNDS: usize = 15;

fn main() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    make_user_project(dir.path()).expect("a project");
    let kernel = kernel();
    let tool = build_tool();
    let initramfs = bare::initramfs(dir.path());
    let ktstr = || {
        let mut command = Command::new(&tool);
        command
            .args(["ktstr", "test", "--kernel"])
            .arg(&kernel)
            .args(["--", "--no-capture"]);
        command
            .current_dir(dir.path())
            .env("CARGO_TARGET_DIR", dir.path().join("target"));
        until(command, "BODY")
    };
    // Builds the project and fills the caches.
    let built = cargo_in(dir.path())
        .args(["nextest", "run", "--no-run"])
        .status();
    assert!(built.expect("cargo runs").success());
    ktstr();

    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(bare::boot(&kernel, &initramfs, 2));
        ours.push(ktstr());
    }
    let (ours, bare) = (middle(ours), middle(bare));
    figure("bare QEMU boot to a static init", &ms(bare), "-");
    figure(
        "cargo ktstr test to the first instruction of the body",
        &ms(ours),
        "-",
    );
    let ratio = format!("{:.2} x", ours.as_secs_f64() / bare.as_secs_f64());
    figure("ratio", &ratio, "1.15 x");
}

fn build_tool() -> PathBuf {
    let workspace = workspace();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = workspace.join("target");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "-p", "cargo-ktstr"])
        .current_dir(&workspace)
        .env("CARGO_TARGET_DIR", &target)
        .status();
    assert!(status.expect("cargo runs").success());
    target.join("release/cargo-ktstr")
}
