//! `shell`, at a terminal as a person uses it and in pipes as scripts do, in real machines.

mod commands;
mod content;
mod kernels;
mod scheduled;
#[path = "../../../ktstr-kernel/tests/support/server.rs"]
mod server;
mod terminal;
mod typed;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything here may take: machines wait for those of other tests, and emulated ones on a busy host are slow.
const LIMIT: Duration = Duration::from_secs(500);

/// `ktstr shell`, with no terminal and nothing to read.
fn shell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ktstr"));
    command.arg("shell").stdin(Stdio::null());
    for name in ["KTSTR_SESSION", "KTSTR_KERNEL_LIST", "NEXTEST_RUN_ID"] {
        command.env_remove(name);
    }
    command
}

/// Waits until `done`, which names what it is.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// The processes below `pid`, itself too.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        let tasks = fs::read_dir(format!("/proc/{parent}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    found
}

/// Whether the process is gone; one that nobody has waited for is.
fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    match stat.rsplit_once(") ") {
        Some((_, rest)) => rest.starts_with('Z'),
        None => !Path::new(&format!("/proc/{pid}")).exists(),
    }
}

fn wait_until_gone(processes: &[u32]) {
    for &pid in processes {
        wait_until(&format!("process {pid} is left"), || is_gone(pid));
    }
}
