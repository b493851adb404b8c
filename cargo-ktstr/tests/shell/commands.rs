//! Commands with the streams of a script.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

use super::{family, shell, wait_until_gone};

fn exec(line: &str) -> Command {
    let mut command = shell();
    command.args(["--exec", line]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn much_goes_through_intact_and_streams_stay_apart() {
    const MIB: usize = 64;
    let mut child = exec("cat; echo oops >&2; exit 7")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let writer = thread::spawn(move || {
        let mut hash = Sha256::new();
        let mut state = 1_u64;
        for _ in 0..MIB {
            let mut part = Vec::with_capacity(1 << 20);
            while part.len() < 1 << 20 {
                // Knuth's generator: bytes that repeat nowhere near.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                part.extend(state.to_le_bytes());
            }
            hash.update(&part);
            input.write_all(&part).unwrap();
        }
        hash.finalize()
    });
    let mut hash = Sha256::new();
    let mut length = 0;
    let mut part = vec![0; 1 << 20];
    loop {
        let count = output.read(&mut part).unwrap();
        if count == 0 {
            break;
        }
        length += count;
        hash.update(&part[..count]);
    }
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(text(&stderr), "oops\n");
    assert_eq!(status.code(), Some(7));
    assert_eq!(length, MIB << 20);
    assert!(
        hash.finalize() == writer.join().unwrap(),
        "other bytes came"
    );
}

#[test]
fn a_command_ends_with_its_status_whatever_it_leaves_running() {
    // Whoever else has the pipes does not keep the machine. A name that needs no terminal is not given.
    let output = exec("sleep 1000 & echo ${TERM-none}; kill -9 $$")
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), "none\n");
    assert_eq!(output.status.code(), Some(137));
    // Commands of a script, and what they print last.
    let mut child = shell()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let script = b"head -c 300000 /dev/zero\nexit 3\n";
    child.stdin.take().unwrap().write_all(script).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout.len(), 300_000);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_reader_that_goes_away_ends_it_as_it_ends_a_command_here() {
    let mut child = exec("yes").spawn().unwrap();
    let mut part = vec![0; 1 << 20];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut part)
        .unwrap();
    let processes = family(child.id());
    // What nobody reads is not kept here.
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok());
        kib.unwrap()
    };
    let before = memory();
    thread::sleep(std::time::Duration::from_secs(2));
    let grown = memory().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB");
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
    wait_until_gone(&processes);
}

#[test]
fn an_interrupt_goes_to_the_command_and_the_next_one_ends_the_machine() {
    let line = "trap 'echo interrupted' INT; echo ready; while :; do sleep 0.1; done";
    let mut child = exec(line).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut expect = |text: &str| {
        let mut bytes = vec![0; text.len()];
        output.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    };
    expect("ready\n");
    let processes = family(child.id());
    let client = Pid::from_child(&child);
    kill_process(client, Signal::INT).unwrap();
    expect("interrupted\n");
    kill_process(client, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    wait_until_gone(&processes);
}

#[test]
fn a_guest_that_dies_is_told_with_its_last_words() {
    // What the guest had said, but not sent, dies with it: it dies when it is told to.
    let mut child = exec("echo before; read line; echo c > /proc/sysrq-trigger")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 7];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    assert_eq!(&said, b"before\n");
    child.stdin.as_mut().unwrap().write_all(b"now\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("Kernel panic"), "{error}");
    let last = error.lines().last().unwrap();
    assert_eq!(
        last,
        "error: the guest's kernel panicked: sysrq triggered crash"
    );
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn a_full_disk_and_what_cannot_run_are_told() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = exec("echo x; sleep 1000").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let error = text(&output.stderr);
    assert!(
        error.contains("error: standard output: No space left"),
        "{error}"
    );
    let mut other = shell();
    other.args(["--scheduler", "./none", "--exec", "true"]);
    let output = other.output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let error = text(&output.stderr);
    assert!(error.contains("there is no such file"), "{error}");
}
