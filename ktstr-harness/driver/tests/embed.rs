//! A program of somebody else's that embeds ktstr: it compiles with what is public, runs, and alone decides what is printed.

#[path = "../../../ktstr-kernel/tests/support/bz_image.rs"]
mod bz_image;
#[path = "support/place.rs"]
mod place;

use std::fs;
use std::path::Path;
use std::process::Command;

use bz_image::bz_image;
use ktstr_core::Verdict;
use ktstr_core::record::{RunDir, Sidecar};
use place::Programs;

/// A copy of the program at `dir`, as a package of its own beside nothing else.
fn copy_program(dir: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = here.ancestors().nth(2).unwrap();
    let root = fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    // Compiled as the workspace is, most of what it needs is there already.
    let profiles = &root[root.find("[profile.dev]").unwrap()..];
    let manifest = fs::read_to_string(here.join("tests/embedder/Cargo.toml")).unwrap();
    let manifest = manifest
        .replace("\"../..\"", &format!("{:?}", here.display().to_string()))
        .replace("../../../..", &workspace.display().to_string());
    fs::create_dir(dir.join("src")).unwrap();
    fs::write(dir.join("Cargo.toml"), format!("{manifest}\n{profiles}")).unwrap();
    // The versions that the workspace was tested with.
    fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    let main = "src/main.rs";
    fs::copy(here.join("tests/embedder").join(main), dir.join(main)).unwrap();
}

/// It builds where the workspace does, and other tests use what is there: it runs by itself.
#[test]
#[ignore = "builds in the target directory of the workspace: make test runs it by itself"]
fn a_program_outside_of_the_workspace_does_what_the_command_does() {
    let place = Programs::new(
        "shift 2; echo \"nextest $*\"; echo \"$KTSTR_KERNEL_LIST\" | tr ';' '\\n' | wc -l; exit 100",
    );
    for (name, version) in [("bzImage-a", "6.12.1"), ("bzImage-b", "6.13.2")] {
        fs::write(place.path().join(name), bz_image(version)).unwrap();
    }
    let run = RunDir::new(place.project().join("target/ktstr/r"), "embedded");
    let failed = Sidecar::new("bad", "ktstr/bad", Verdict::fail("x", "y"));
    let evidence = serde_json::json!({ "kernel_log": "oops" });
    run.write(&failed, Some(&evidence)).unwrap();

    let program = tempfile::tempdir().unwrap();
    copy_program(program.path());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["run", "--quiet", "--offline", "--"])
        .arg(place.path())
        .current_dir(program.path())
        .env("CARGO_TARGET_DIR", target);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "", "the libraries print nothing");
    let expected = "\
doctor: cargo-nextest 0.9.143
kernel: 6.12.1
kernel: 6.13.2
session: started
session: nextest -E test(x)
session: 2
session: exit status: 100
session: exit code 100, 1 failed
failure: ktstr/bad: oops (-E test(=ktstr/bad))
host CPU locks: ~/locks
  no locks
kernel cache: ~/cache/.locks
  no locks
runs: ~/project/target/ktstr/.locks
  r: free
";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
