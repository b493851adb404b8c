//! How long it takes to pack the root directory of a shell, cold and from the cache, and to run `true` in a machine
//! against a bare QEMU boot of the same kernel. The last two take turns.

use std::path::Path;
use std::process::{Command, Stdio};

use ktstr_benches::bare;
use ktstr_benches::{figure, kernel, median, middle, ms, timed, workspace};
use ktstr_core::host::Host;
use ktstr_driver::shell::{ShellUse, root};
use ktstr_vmm::initramfs::PackedInitramfs;

/// Runs of each machine.
const ROUNDS: usize = 9;

fn main() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let host = Host::of_this_process();
    let pack = |cache: &Path| -> PackedInitramfs {
        let root = root(&host, ShellUse::Terminal).root;
        let root = root.init(env!("CARGO_BIN_EXE_hundred")).build();
        root.build_cached(cache).expect("an archive")
    };
    let cold = median(5, || {
        let cache = tempfile::tempdir().expect("a scratch directory");
        timed(|| assert!(!pack(cache.path()).hit()))
    });
    let mib = pack(dir.path()).size() as f64 / f64::from(1 << 20);
    let cached = median(49, || timed(|| assert!(pack(dir.path()).hit())));
    figure(
        &format!("root of a shell, {mib:.0} MiB, cold"),
        &ms(cold),
        "-",
    );
    figure("the same from the cache", &ms(cached), "50 ms");

    let tool = build_tool();
    let kernel = kernel();
    let initramfs = bare::initramfs(dir.path());
    let shell = || {
        timed(|| {
            let mut command = Command::new(&tool);
            command
                .args(["shell", "--exec", "true", "--kernel"])
                .arg(&kernel);
            let status = command.stdin(Stdio::null()).status();
            assert!(status.expect("a shell").success());
        })
    };
    // Fills the caches.
    shell();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(bare::boot(&kernel, &initramfs, 2));
        ours.push(shell());
    }
    let (ours, bare) = (middle(ours), middle(bare));
    figure("bare QEMU boot to a static init", &ms(bare), "-");
    figure("shell --exec true, to its end", &ms(ours), "-");
    let ratio = format!("{:.2} x", ours.as_secs_f64() / bare.as_secs_f64());
    figure("ratio", &ratio, "1.15 x");
}

fn build_tool() -> std::path::PathBuf {
    let workspace = workspace();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = workspace.join("target");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "-p", "cargo-ktstr"])
        .current_dir(&workspace)
        .env("CARGO_TARGET_DIR", &target)
        .status();
    assert!(status.expect("cargo runs").success());
    target.join("release/ktstr")
}
