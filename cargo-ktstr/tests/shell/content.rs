//! What a shell's machine has of the host: its tools, included files, its root directory, a place for a debugger.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use super::{LIMIT, shell};

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn files_of_any_name_and_directories_are_included() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("a tree");
    fs::create_dir_all(tree.join("inner dir")).unwrap();
    fs::write(tree.join("inner dir/file"), "inside\n").unwrap();
    symlink("/", tree.join("out")).unwrap();
    let script = dir.path().join("run.sh");
    fs::write(
        &script,
        "#!/usr/bin/env bash\nfor x in hello; do echo $x | sed s/h/H/; done\n",
    )
    .unwrap();
    let odd = dir.path().join(OsStr::from_bytes(b"caf\xe9 \xff"));
    fs::write(&odd, "odd\n").unwrap();
    let mut command = shell();
    for file in [&tree, &script, &odd] {
        command.arg("-i").arg(file);
    }
    let line = "cd /include-files; ls 'a tree'; cat 'a tree/inner dir/file' caf*; readlink 'a tree/out'; ./run.sh";
    let output = command.args(["--exec", line]).output().unwrap();
    let (out, err) = said(&output);
    assert_eq!(out, "inner dir\nout\ninside\nodd\n/\nHello\n", "{err}");
}

#[test]
fn what_cannot_be_included_is_told_before_a_machine_starts() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    for (file, why) in [
        (missing.as_path(), "No such file or directory"),
        (Path::new("/dev/null"), "is a device"),
    ] {
        let mut command = shell();
        let output = command
            .arg("-i")
            .arg(file)
            .args(["--exec", "true"])
            .output();
        let output = output.unwrap();
        let (out, err) = said(&output);
        assert_eq!(
            (output.status.code(), out.as_str()),
            (Some(125), ""),
            "{err}"
        );
        assert!(
            err.contains(&file.display().to_string()) && err.contains(why),
            "{err}"
        );
    }
}

#[test]
fn the_hosts_root_is_read_and_not_written() {
    // The guest has a /tmp of its own.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "of the host\n").unwrap();
    let path = file.display();
    let line = format!(
        "cat {path}; echo guest > {path}; cat {path}; rm {path}; ls {path}; cat /proc/1/comm"
    );
    let output = shell()
        .args(["--host-root", "--exec", &line])
        .output()
        .unwrap();
    let (out, err) = said(&output);
    if err.contains("the kernel needs CONFIG_") || err.contains("needs the qemu backend") {
        eprintln!("skipped: {err}");
        return;
    }
    assert_eq!(out, "of the host\nguest\ninit\n", "{err}");
    assert!(err.contains("No such file"), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "of the host\n");
}

#[test]
fn kvm_has_no_root_of_the_host_and_no_debugger() {
    for (option, what) in [
        ("--host-root", "a directory shared with the host"),
        ("--gdb", "a debugger (gdb)"),
    ] {
        let mut command = shell();
        command.args(["--backend", "kvm", option, "--exec", "true"]);
        let output = command.env("KTSTR_BACKEND", "qemu").output().unwrap();
        let (out, err) = said(&output);
        let told = format!(
            "error: machine: {what} needs the qemu backend, and this machine runs on kvm; choose qemu\n"
        );
        assert_eq!((out.as_str(), err.as_str()), ("", told.as_str()));
        assert_eq!(output.status.code(), Some(125));
    }
}

/// The debugger's socket that a shell tells of.
fn socket(line: &str) -> PathBuf {
    let (_, rest) = line.split_once("target remote ").expect("the line to type");
    rest.trim().trim_end_matches('\'').into()
}

#[test]
fn a_debugger_stops_the_machine_and_lets_it_go() {
    let mut command = shell();
    command.args([
        "--gdb",
        "--backend",
        "qemu",
        "--exec",
        "grep -o nokaslr /proc/cmdline; echo done",
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let told = lines.find(|line| line.contains("target remote")).unwrap();
    let place = socket(&told);
    let mode = place
        .parent()
        .unwrap()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    super::wait_until("the socket", || place.exists());
    let mut debugger = UnixStream::connect(&place).unwrap();
    debugger.set_read_timeout(Some(LIMIT)).unwrap();
    debugger.write_all(b"+$qSupported#37").unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("PacketSize=") {
        let mut part = [0; 512];
        let count = debugger.read(&mut part).unwrap();
        assert!(count > 0, "{:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&part[..count]);
    }
    // Detach: the machine goes on.
    debugger.write_all(b"+$D#44").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "nokaslr\ndone\n");
    assert!(
        !place.parent().unwrap().exists(),
        "{} is left",
        place.display()
    );
}
