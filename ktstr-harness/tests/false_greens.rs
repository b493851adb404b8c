//! A campaign of false greens: something is broken (the host, the kernel, the scheduler, the harness, the test itself)
//! while a test runs that must not pass. Each row ends with exit code 1, or 2 where there is nothing to judge by; none
//! passes, and none is a skip.
//!
//! The tests are in `examples/must_fail.rs`, but for two that other examples have.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ktstr_core::Outcome;

#[path = "support/case.rs"]
mod case;
#[path = "../../ktstr-kernel/tests/support/mounted.rs"]
mod mounted;
use case::Run;
use mounted::Mounted;

const FAIL: (i32, Outcome) = (1, Outcome::Fail);
const INCONCLUSIVE: (i32, Outcome) = (2, Outcome::Inconclusive);

fn run_with(name: &str, variables: &[(&str, &Path)]) -> Run {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.to_str().expect("a plain path")))
        .collect();
    case::run("must_fail", &format!("ktstr/{name}"), &variables)
}

/// Asserts the exit code, that nothing calls it a skip or a pass, and that `cause` is told.
fn told(run: &Run, (code, outcome): (i32, Outcome), cause: &str) {
    assert_eq!(run.code, code, "{}", run.stderr);
    assert!(!run.stderr.contains("SKIP"), "{}", run.stderr);
    assert!(
        run.stderr.contains(cause),
        "no `{cause}` in\n{}",
        run.stderr
    );
    for sidecar in &run.sidecars {
        assert_eq!(sidecar.verdict.outcome(), outcome, "{sidecar:?}");
    }
}

/// The same, and there is a record that says so.
fn recorded(run: &Run, end: (i32, Outcome), cause: &str) {
    told(run, end, cause);
    assert_eq!(run.sidecars.len(), 1, "{:?}", run.files);
}

/// A directory with a program of this name, a shell script.
fn with_program(dir: &Path, name: &str, script: &str) -> PathBuf {
    let program = dir.join(name);
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // The rest of the search path behind it.
    let path = std::env::var("PATH").unwrap_or_default();
    PathBuf::from(format!("{}:{path}", dir.display()))
}

fn schedulers() -> Option<PathBuf> {
    let dir = std::env::var_os("KTSTR_TEST_SCHEDULERS").filter(|dir| !dir.is_empty());
    if dir.is_none() {
        eprintln!("SKIP: KTSTR_TEST_SCHEDULERS is not set; `make test` sets it");
    }
    dir.map(PathBuf::from)
}

// The host.

#[test]
fn the_test_fails_where_nothing_is_broken() {
    recorded(&run_with("finds_a_fault", &[]), FAIL, "mine: the fault");
}

#[test]
fn a_lock_directory_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "").unwrap();
    for place in [file.as_path(), Path::new("/proc")] {
        let run = run_with("finds_a_fault", &[("KTSTR_LOCK_DIR", place)]);
        told(&run, FAIL, &place.display().to_string());
    }
}

#[test]
fn a_lock_directory_on_a_read_only_disk() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::new(&dir.path().join("locks"), "size=64k") else {
        return;
    };
    assert!(disk.remount("ro"));
    let place = dir.path().join("locks");
    let run = run_with("finds_a_fault", &[("KTSTR_LOCK_DIR", &place)]);
    recorded(&run, FAIL, &place.display().to_string());
}

#[test]
fn a_record_directory_that_cannot_be_used() {
    for place in ["/proc/no", "/dev/null"] {
        let run = run_with("finds_a_fault", &[("KTSTR_SIDECAR_DIR", Path::new(place))]);
        told(&run, FAIL, place);
    }
}

#[test]
fn a_record_directory_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("records");
    let Some(_disk) = Mounted::new(&place, "size=16k") else {
        return;
    };
    fs::write(place.join("filler"), vec![0_u8; 16 << 10]).unwrap();
    let run = run_with("finds_a_fault", &[("KTSTR_SIDECAR_DIR", &place)]);
    told(&run, FAIL, &place.display().to_string());
}

#[test]
fn a_cache_that_cannot_be_written() {
    // The kernel must be found without it.
    let Some(kernel) = case::kernel() else { return };
    let variables = [
        ("KTSTR_CACHE_DIR", Path::new("/proc/no")),
        ("KTSTR_KERNEL", &kernel),
    ];
    recorded(
        &run_with("finds_a_fault", &variables),
        FAIL,
        "mine: the fault",
    );
}

#[test]
fn an_emulator_that_is_missing_broken_or_killed() {
    let qemu = case::program_in_path("qemu-system-x86_64").expect("QEMU");
    let emulator = [
        ("exit 0", "QEMU"),
        ("exit 1", "QEMU"),
        ("echo no such machine >&2; exit 1", "no such machine"),
        ("kill -KILL $$", "SIGKILL"),
        ("exec timeout --signal=KILL 1 QEMU \"$@\"", "SIGKILL"),
    ];
    for (script, cause) in emulator {
        let dir = tempfile::tempdir().unwrap();
        let script = script.replace("QEMU", &qemu.display().to_string());
        let path = with_program(dir.path(), "qemu-system-x86_64", &script);
        let backend = ("KTSTR_BACKEND", Path::new("qemu"));
        let run = run_with("finds_a_fault", &[("PATH", &path), backend]);
        recorded(&run, FAIL, cause);
    }
    let run = run_with("finds_a_fault", &[("PATH", Path::new("/nonexistent"))]);
    recorded(&run, FAIL, "qemu-system-x86");
}

#[test]
fn kernels_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("vmlinuz");
    fs::write(&text, "not a kernel").unwrap();
    let missing = dir.path().join("missing");
    let cut = dir.path().join("cut");
    let Some(kernel) = case::kernel() else { return };
    let whole = fs::read(kernel).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    for kernel in [&text, &missing, &cut] {
        let run = run_with("finds_a_fault", &[("KTSTR_KERNEL", kernel)]);
        recorded(&run, FAIL, &kernel.display().to_string());
    }
}

#[test]
fn settings_that_make_no_sense() {
    for (name, value) in [
        ("KTSTR_KERNEL_LIST", "/boot/vmlinuz"),
        ("KTSTR_BACKEND", "bochs"),
        ("KTSTR_CPU_CAP", "none"),
        ("KTSTR_CPU_CAP", "1000000"),
    ] {
        let run = run_with("finds_a_fault", &[(name, Path::new(value))]);
        told(
            &run,
            FAIL,
            if value == "1000000" { "1000000" } else { name },
        );
    }
}

#[test]
fn a_name_that_no_test_has() {
    let run = run_with("finds_a_faultt", &[]);
    told(&run, FAIL, "finds_a_faultt");
}

// The kernel.

#[test]
fn a_kernel_that_warns() {
    recorded(
        &run_with("the_kernel_warns", &[]),
        FAIL,
        "WARNING: CPU: 0 PID: 7 at kernel/sched/core.c:1",
    );
}

#[test]
fn a_lock_that_lockdep_complains_about() {
    recorded(
        &run_with("lockdep_complains", &[]),
        FAIL,
        "possible circular locking dependency",
    );
}

#[test]
fn a_kernel_bug() {
    recorded(
        &run_with("the_kernel_has_a_bug", &[]),
        FAIL,
        "NULL pointer dereference",
    );
}

#[test]
fn a_tainted_kernel() {
    recorded(&run_with("the_kernel_is_tainted", &[]), FAIL, "taint");
}

#[test]
fn a_warning_that_the_log_has_lost() {
    let run = run_with("a_flood_hides_the_warning", &[]);
    recorded(
        &run,
        INCONCLUSIVE,
        "were overwritten before they could be read",
    );
}

#[test]
fn a_kernel_that_panics() {
    recorded(
        &run_with("the_kernel_panics", &[]),
        FAIL,
        "kernel panic: sysrq triggered crash",
    );
}

#[test]
fn an_init_that_dies() {
    let run = case::run("dies_early", "ktstr/never_gets_there", &[]);
    recorded(&run, FAIL, "SIGILL");
}

// The scheduler.

#[test]
fn a_scheduler_under_which_no_worker_ran() {
    let Some(programs) = schedulers() else { return };
    let qmap = programs.join("scx_qmap");
    // `scx_qmap -p` takes only tasks that ask for it, and this test's do not.
    let scheduler = [("KTSTR_SCHEDULER", qmap.to_str().expect("a plain path"))];
    let run = case::run("schedulers", "ktstr/escapes_from_qmap", &scheduler);
    recorded(&run, INCONCLUSIVE, "no worker ran under");
}

#[test]
fn a_scheduler_that_goes() {
    let Some(programs) = schedulers() else { return };
    let program = programs.join("scx_simple");
    let run = run_with("the_scheduler_goes", &[("KTSTR_SCHEDULER", &program)]);
    recorded(&run, FAIL, "SIGKILL");
}

#[test]
fn schedulers_that_are_none() {
    recorded(
        &run_with("the_scheduler_is_a_directory", &[]),
        FAIL,
        "directory",
    );
    recorded(
        &run_with("the_scheduler_schedules_nothing", &[]),
        FAIL,
        "exited with status 0",
    );
    let missing = [("KTSTR_SCHEDULER", Path::new("/no/such/program"))];
    recorded(
        &run_with("the_scheduler_is_missing", &missing),
        FAIL,
        "/no/such/program",
    );
}

// The test.

#[test]
fn bodies_that_leave_without_a_result() {
    recorded(&run_with("exits_with_0", &[]), FAIL, "exited with code 0");
    recorded(
        &run_with("becomes_another_program", &[]),
        FAIL,
        "exited with code 0",
    );
}

#[test]
fn a_body_that_stops() {
    recorded(
        &run_with("stops_itself", &[]),
        FAIL,
        "did not return within",
    );
}

#[test]
fn checks_without_anything_to_judge() {
    recorded(
        &run_with("measures_nothing", &[]),
        INCONCLUSIVE,
        "max_gap_ms",
    );
    recorded(
        &run_with("measures_no_number", &[]),
        INCONCLUSIVE,
        "latency",
    );
}

#[test]
fn expectations_that_do_not_hide_a_failure() {
    recorded(
        &run_with("declared_to_fail_and_passes", &[]),
        FAIL,
        "expect_err",
    );
    recorded(
        &run_with("fails_beside_what_may_be_inconclusive", &[]),
        FAIL,
        "mine: the fault",
    );
}
