//! What a user's test crate costs: clean build, number of crates, size of the test binary.

use std::fs;
use std::path::Path;
use std::process::Command;

use ktstr_benches::{cargo_in, figure, make_user_project, timed};

fn main() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    make_user_project(dir.path()).expect("a project");
    let run = |args: &[&str]| {
        let output = cargo_in(dir.path())
            .args(args)
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    };
    // Downloading is not building.
    run(&["fetch", "--quiet"]);
    let mut crates = 0;
    let clean = timed(|| {
        let output = run(&["test", "--no-run"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        crates = said
            .lines()
            .filter(|line| line.trim_start().starts_with("Compiling "))
            .count();
    });
    figure(
        "clean build of a user's test crate",
        &format!("{:.1} s", clean.as_secs_f64()),
        "60 s",
    );
    figure(
        "crates built for it, the user's own included",
        &crates.to_string(),
        "120",
    );
    run(&["test", "--no-run", "--release"]);
    for profile in ["debug", "release"] {
        let binary = test_binary(&dir.path().join("target").join(profile).join("deps"));
        let stripped = dir.path().join("stripped");
        let status = Command::new("strip")
            .arg("-o")
            .arg(&stripped)
            .arg(&binary)
            .status();
        assert!(status.expect("strip runs").success());
        let size = fs::metadata(&stripped).expect("a stripped binary").len();
        let mib = format!("{:.1} MiB", size as f64 / f64::from(1 << 20));
        figure(
            &format!("its test binary, {profile}, stripped"),
            &mib,
            "8 MiB",
        );
    }
}

fn test_binary(deps: &Path) -> std::path::PathBuf {
    let is_ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("sched-") && path.extension().is_none()
    };
    let mut paths = fs::read_dir(deps)
        .expect("a deps directory")
        .flatten()
        .map(|entry| entry.path());
    paths.find(|path| is_ours(path)).expect("a test binary")
}
