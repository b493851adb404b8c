//! The profile of a program with counters, from a real machine to a file of the host. `cargo-ktstr/tests/coverage.rs` makes
//! reports of such files.

use std::fs;
use std::path::Path;
use std::process::Command;

use ktstr_harness::runner::profile;

#[path = "support/case.rs"]
mod case;

/// Its body counts, leaves the half of a profile beside its own, and gets no chance to write anything when it ends.
const PROGRAM: &str = r#"
fn main() {
    for entry in std::fs::read_dir("/.ktstr-profiles").unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        std::fs::write("/.ktstr-profiles/half.profraw", &bytes[..bytes.len() / 2]).unwrap();
    }
    std::process::abort();
}
"#;

/// Counters of a profile that is whole: they follow the header, ids of binaries and records of 64 bytes.
fn counters(profile: &[u8]) -> Vec<u64> {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let header: Vec<u64> = profile[..128].chunks_exact(8).map(word).collect();
    let start = 128 + header[2] + header[3] * 64 + header[4];
    let counters = &profile[start as usize..][..header[5] as usize * 8];
    counters.chunks_exact(8).map(word).collect()
}

fn compile(program: &Path) {
    let source = program.with_extension("rs");
    fs::write(&source, PROGRAM).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc)
        .args(["-C", "instrument-coverage", "-C"])
        .args(["llvm-args=-runtime-counter-relocation", "-o"])
        .args([program, &source])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{errors}");
}

#[test]
fn what_a_killed_program_counted_comes_back_and_a_half_is_named() {
    if case::kernel().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    compile(&program);
    let target_dir = dir.path().join("target");
    fs::create_dir(&target_dir).unwrap();
    let session = dir.path().join("session.json");
    let told = serde_json::json!({
        "version": 1, "id": "1", "epoch": "1", "runs_dir": dir.path(),
        "coverage": { "target_dir": target_dir, "objects": target_dir.join("debug") },
    });
    fs::write(&session, told.to_string()).unwrap();

    let variables = [
        ("KTSTR_SESSION", session.to_str().unwrap()),
        ("KTSTR_SCHEDULER", program.to_str().unwrap()),
    ];
    let run = case::run("schedulers", "ktstr/steady", &variables);
    run.failed_with("was killed by signal 6", None);
    let half =
        "ktstr: coverage: the profile half.profraw of steady (1n2l2c1t) is left out: truncated: ";
    assert!(run.stderr.contains(half), "{}", run.stderr);
    let notes: Vec<_> = fs::read_dir(target_dir.join("ktstr-coverage-notes"))
        .unwrap()
        .collect();
    assert_eq!(notes.len(), 1);

    // Init has no counters here.
    let files = fs::read_dir(&target_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    let [file] = files.as_slice() else {
        panic!("{files:?}: {}", run.stderr);
    };
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("ktstr-guest-steady"), "{name}");
    assert!(name.ends_with(".profraw"), "{name}");
    let bytes = fs::read(file).unwrap();
    assert_eq!(profile::check(&bytes), Ok(()));
    assert!(counters(&bytes).contains(&1), "{:?}", counters(&bytes));

    // Nothing of it without a session that measures.
    let run = case::run("schedulers", "ktstr/steady", &variables[1..]);
    assert!(!run.stderr.contains("coverage"), "{}", run.stderr);
}
