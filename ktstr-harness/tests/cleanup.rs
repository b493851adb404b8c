//! What a test started is gone when it ends, however it ends; and tests beside each other end as they
//! would alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

#[path = "../../ktstr-vmm/tests/support/processes.rs"]
mod processes;
use processes::{children, is_qemu};

/// Against hanging only.
const LIMIT: Duration = Duration::from_secs(240);

/// Where these runs reserve host CPUs, out of the way of whatever else the host does.
const LOCK_DIR: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/locks");

fn misbehave(case: &str, results: &Path) -> Command {
    let me = std::env::current_exe().unwrap();
    let binary = me
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/misbehave");
    let mut command = Command::new(binary);
    command
        .args([case, "--exact", "--nocapture"])
        .env("KTSTR_SIDECAR_DIR", results)
        .env("KTSTR_LOCK_DIR", LOCK_DIR)
        .env_remove("KTSTR_NO_SKIP_MODE")
        .env_remove("KTSTR_KERNEL_LIST")
        .env_remove("KTSTR_SESSION")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begin.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn qemu_of(parent: u32) -> u32 {
    until("no machine was started", || {
        children(parent).into_iter().find(|pid| is_qemu(*pid))
    })
}

fn end_by(signal: Signal) {
    let dir = tempfile::tempdir().unwrap();
    let mut test: Child = misbehave("ktstr/never_returns", dir.path())
        .spawn()
        .unwrap();
    let machine = qemu_of(test.id());
    kill_process(Pid::from_child(&test), signal).unwrap();
    assert!(!test.wait().unwrap().success());
    until("the machine outlives its test", || {
        (!is_qemu(machine)).then_some(())
    });
}

/// What a terminal's Ctrl-C sends, and what nextest sends a test at its time limit.
#[test]
fn signals_take_the_machine_along() {
    end_by(Signal::INT);
    end_by(Signal::TERM);
    end_by(Signal::KILL);
}

/// Kills a shell in the place of nextest, called `name`, that starts a test by `script`, a shell's: the test and its
/// machine must go with it.
fn end_with_nextest(name: &str, script: &str) {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let test = misbehave("ktstr/never_returns", dir.path());
    let shell = dir.path().join(name);
    std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
    let mut runner = Command::new(shell);
    runner
        .args(["-c", script])
        .arg(test.get_program())
        .args(test.get_args())
        .env("KTSTR_SIDECAR_DIR", dir.path())
        .env("KTSTR_LOCK_DIR", LOCK_DIR)
        .env("PID_FILE", &pid_file)
        .env_remove("KTSTR_SESSION")
        .env("NEXTEST", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut runner = runner.spawn().unwrap();
    let test: u32 = until("no test was started", || {
        fs::read_to_string(&pid_file).ok()?.trim().parse().ok()
    });
    let machine = qemu_of(test);
    runner.kill().unwrap();
    runner.wait().unwrap();
    let gone = |pid: u32| !PathBuf::from(format!("/proc/{pid}")).exists();
    until("the test outlives its runner", || gone(test).then_some(()));
    until("the machine outlives its test", || {
        (!is_qemu(machine)).then_some(())
    });
}

/// A nextest that was killed cannot end its tests: they notice by themselves.
#[test]
fn a_killed_runner_takes_test_and_machine_along() {
    end_with_nextest("sh", r#""$0" "$@" & echo $! >"$PID_FILE"; wait"#);
}

/// What cargo is configured to run tests by stands between nextest and the test, and lives on.
#[test]
fn a_killed_nextest_takes_test_and_machine_along_whatever_sits_between() {
    end_with_nextest(
        "cargo-nextest",
        r#"timeout 600 sh -c 'echo $$ >"$PID_FILE"; exec "$0" "$@"' "$0" "$@" & wait"#,
    );
    // One more, and the one that ends is not the test's parent.
    end_with_nextest(
        "cargo-nextest",
        r#"timeout 600 sh -c '"$0" "$@" & echo $! >"$PID_FILE"; wait' "$0" "$@" & wait"#,
    );
}

/// `tests/verdicts.rs` has how each ends alone.
#[test]
fn eight_at_once_end_as_each_does_alone() {
    const CASES: [(&str, i32); 8] = [
        ("ktstr/passes", 0),
        ("ktstr/violates_a_check", 1),
        ("ktstr/divides_by_zero", 2),
        ("ktstr/skips", 0),
        ("ktstr/panics", 1),
        ("ktstr/shares_the_machine", 0),
        ("ktstr/passes_against_its_declaration", 1),
        ("ktstr/fails_as_declared", 0),
    ];
    let expected: Vec<i32> = CASES.iter().map(|(_, code)| *code).collect();
    let dirs: Vec<_> = CASES.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |index: usize| {
        misbehave(CASES[index].0, dirs[index].path())
            .spawn()
            .unwrap()
    };
    let code = |mut child: Child| child.wait().unwrap().code().unwrap_or(-1);

    let running: Vec<Child> = (0..CASES.len()).map(start).collect();
    let together: Vec<i32> = running.into_iter().map(code).collect();
    assert_eq!(together, expected);
}
