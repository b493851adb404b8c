//! `test`, with a cargo that only writes down how it was called.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use ktstr_core::Verdict;
use ktstr_core::record::{RunDir, Sidecar};

use crate::place::{Place, bz_image, cargo_ktstr, quoted, text};

#[test]
fn nextest_gets_kernels_switches_and_arguments() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    place.file("other", &bz_image("6.13.0"));
    let args = "test --kernel ./bzImage --kernel ./bzImage --kernel ./other --release \
        --nextest-profile ci --no-skip-mode --no-perf-mode --cpu-cap 2 -- -p x --run-ignored all --release";
    let output = place.run(cargo_ktstr().args(args.split_whitespace()));
    // Nextest's own.
    assert_eq!(output.status.code(), Some(100), "{}", text(&output.stderr));
    let log = fs::read_to_string(place.dir().join("cargo.log")).unwrap();
    let lines: Vec<_> = log.lines().collect();
    let expected = "nextest run --release --profile ci -p x --run-ignored all --release";
    assert_eq!(lines[..10].join(" "), expected);
    let variable = |name: &str| {
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{name}: {log}"))
    };
    let image = place.dir().join("bzImage");
    assert_eq!(variable("KTSTR_KERNEL"), image.to_str().unwrap());
    let list: Vec<_> = variable("KTSTR_KERNEL_LIST").split(';').collect();
    assert_eq!(list.len(), 2, "the same kernel twice is one: {list:?}");
    assert!(list[0].starts_with("kernel_path_bzimage_") && list[0].ends_with("/bzImage"));
    assert_eq!(variable("KTSTR_NO_SKIP_MODE"), "1");
    assert_eq!(variable("KTSTR_NO_PERF_MODE"), "1");
    assert_eq!(variable("KTSTR_CPU_CAP"), "2");
    // The tests are told by one file, which went with the session.
    let told = place.told();
    assert_eq!((&told["version"], &told["cpu_cap"]), (&1.into(), &2.into()));
    assert_eq!(
        (&told["no_skip_mode"], &told["no_perf_mode"]),
        (&true.into(), &true.into())
    );
    let images: Vec<_> = told["kernels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["image"])
        .collect();
    let other = place.dir().join("other");
    assert_eq!(images, [image.to_str().unwrap(), other.to_str().unwrap()]);
    assert!(!Path::new(variable("KTSTR_SESSION")).exists());
    let stderr = text(&output.stderr);
    assert_eq!(
        stderr
            .matches("cargo ktstr: resolved kernel \"./bzImage\"\n")
            .count(),
        1
    );
    assert!(
        !stderr.contains("test outputs"),
        "nothing was written: {stderr}"
    );
}

#[test]
fn without_a_kernel_the_one_that_is_taken_is_told() {
    let place = Place::new();
    place.entry(
        "6.12.9-tarball-x86_64-kcnew",
        "2026-07-04T23:06:12Z",
        |_| {},
    );
    let output = place.run(cargo_ktstr().arg("nextest"));
    assert_eq!(output.status.code(), Some(100));
    let stderr = text(&output.stderr);
    let image = place
        .cache_entry("6.12.9-tarball-x86_64-kcnew")
        .join("bzImage");
    let line = format!(
        "cargo ktstr: kernel 6.12.9: {} (newest cached kernel)\n",
        image.display()
    );
    assert!(stderr.contains(&line), "{stderr}");
    let log = fs::read_to_string(place.dir().join("cargo.log")).unwrap();
    assert!(
        log.contains(&format!("KTSTR_KERNEL={}\n", image.display())),
        "{log}"
    );
}

#[test]
fn a_session_ends_with_its_outputs_and_how_to_replay_failures() {
    let place = Place::new();
    place.file("bz Image", &bz_image("6.12.0"));
    let runs = place.dir().join("target/ktstr");
    let run = RunDir::new(runs.join("6.12.0-abc1234"), "e1");
    let write = |test: &str, case: &str, verdict| {
        run.write(&Sidecar::new(test, case, verdict), None::<&()>)
            .unwrap();
    };
    write("good", "ktstr/good", Verdict::pass());
    write(
        "bad",
        "gauntlet/bad/4cpu-1llc-nosmt",
        Verdict::fail("x", "y"),
    );
    for n in 0..11 {
        write(
            &format!("m{n:02}"),
            &format!("ktstr/m{n:02}"),
            Verdict::inconclusive("x", "y"),
        );
    }
    let old = RunDir::new(runs.join("old-abc1234"), "e0");
    let failed = Sidecar::new("old", "ktstr/old", Verdict::fail("x", "y"));
    old.write(&failed, None::<&()>).unwrap();

    let mut command = cargo_ktstr();
    command
        .env("KTSTR_RUN_EPOCH", "e1")
        .env("HOME", place.dir());
    command.args(["test", "--kernel", "./bz Image", "--base-config", "lean"]);
    let output = place.run(command.args(["--", "--features", "f", "--retries", "2"]));
    assert_eq!(output.status.code(), Some(100));
    let stderr = text(&output.stderr);
    let (_, summary) = stderr.split_once("\n\n").unwrap();
    let expected = "cargo ktstr: test outputs
  ~/target/ktstr/6.12.0-abc1234
    13 records (stats sidecars) written this run

cargo ktstr: 13 tests: 1 passed, 1 failed, 11 inconclusive

cargo ktstr: to rerun the failures
  cargo ktstr test --kernel './bz Image' --base-config lean -- --features f \
        --run-ignored all -E 'test(=gauntlet/bad/4cpu-1llc-nosmt)'
  cargo ktstr test --kernel './bz Image' --base-config lean -- --features f -E 'test(=ktstr/m00)'
";
    assert!(summary.starts_with(expected), "{summary}");
    assert!(
        summary.ends_with("-E 'test(=ktstr/m08)'\n  and 2 more\n"),
        "{summary}"
    );
}

#[test]
fn skips_are_counted_by_their_reasons() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    let run = RunDir::new(place.dir().join("target/ktstr/6.12.0-abc1234"), "e1");
    let write = |test: &str, verdict| {
        let sidecar = Sidecar::new(test, &format!("ktstr/{test}"), verdict);
        run.write(&sidecar, None::<&()>).unwrap();
    };
    write("good", Verdict::pass());
    for n in 0..2 {
        write(&format!("large{n}"), Verdict::skip("a machine\ntoo large"));
    }
    write("kvm", Verdict::skip("needs KVM"));
    for n in 0..9 {
        write(&format!("odd{n}"), Verdict::skip(format!("odd {n}")));
    }
    let mut command = cargo_ktstr();
    command.env("KTSTR_RUN_EPOCH", "e1");
    let output = place.run(command.args(["test", "--kernel", "./bzImage"]));
    let stderr = text(&output.stderr);
    let (_, counts) = stderr.split_once("13 tests: ").unwrap();
    let expected = "1 passed, 12 skipped\n  2 skipped: a machine too large\n  1 skipped: needs KVM\n  1 skipped: odd 0\n";
    assert!(counts.starts_with(expected), "{stderr}");
    assert!(
        counts.ends_with("  1 skipped: odd 7\n  and 1 more reasons; each is in its record\n"),
        "{stderr}"
    );
    assert!(!stderr.contains("rerun"), "{stderr}");
}

#[test]
fn a_recorded_failure_is_never_a_success() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    place.fake_cargo(r#"case "$1 $2" in "nextest run") exit 0 ;; *) exit 1 ;; esac"#);
    let run = RunDir::new(place.dir().join("target/ktstr/6.12.0-abc1234"), "e1");
    let write = |test: &str, started: &str| {
        let failed = Sidecar {
            started: started.to_owned(),
            ..Sidecar::new(test, &format!("ktstr/{test}"), Verdict::fail("x", "y"))
        };
        run.write(&failed, None::<&()>).unwrap();
    };
    let test = || {
        let mut command = cargo_ktstr();
        command.env("KTSTR_RUN_EPOCH", "e1");
        place.run(command.args(["test", "--kernel", "./bzImage"]))
    };
    // Of another session of that epoch, which is over.
    write("before", "2001-01-01T00:00:00Z");
    assert_eq!(test().status.code(), Some(0));
    write("now", "9999-01-01T00:00:00Z");
    let output = test();
    assert_eq!(output.status.code(), Some(100));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("error: there are failures among the records"),
        "{stderr}"
    );
}

#[test]
fn tests_are_told_where_records_go_and_what_runs_machines() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    let test = |words: &str| {
        let mut command = cargo_ktstr();
        command.args(["test", "--kernel", "./bzImage"]);
        let output = place.run(command.args(words.split_whitespace()));
        assert_eq!(output.status.code(), Some(100), "{}", text(&output.stderr));
        place.told()
    };
    let runs = |target: &str| place.dir().join(target).join("ktstr").display().to_string();
    // Wherever cargo puts them, of which it was asked.
    let plain = test("");
    assert_eq!(plain["runs_dir"], runs("target"));
    // It was found to work, or there is none.
    let log = fs::read_to_string(place.dir().join("cargo.log")).unwrap();
    match plain["backend"].as_str() {
        Some(backend) => assert!(
            log.contains(&format!("\nKTSTR_BACKEND={backend}\n")),
            "{log}"
        ),
        None => assert!(!log.contains("\nKTSTR_BACKEND="), "{log}"),
    }
    let again = test("-- --target-dir else/where");
    assert_eq!(again["runs_dir"], runs("else/where"));
    assert_ne!(plain["id"], again["id"]);
}

#[test]
fn paths_mean_what_they_mean_where_they_are_written() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    let names = ["SIDECAR_DIR", "LOCK_DIR", "CACHE_DIR", "SCHEDULER"];
    let mut command = cargo_ktstr();
    for name in names {
        command.env(format!("KTSTR_{name}"), format!("some/{name}"));
    }
    let output = place.run(command.args(["test", "--kernel", "./bzImage"]));
    assert_eq!(output.status.code(), Some(100), "{}", text(&output.stderr));
    let log = fs::read_to_string(place.dir().join("cargo.log")).unwrap();
    for name in names {
        let path = place.dir().join("some").join(name);
        let line = format!("KTSTR_{name}={}\n", path.display());
        assert!(log.contains(&line), "{line}{log}");
    }
}

#[test]
fn a_place_that_takes_no_records_is_told_before_anything_starts() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    place.file("target", b"in the way");
    let test = || {
        let mut command = cargo_ktstr();
        command.args(["test", "--kernel", "./bzImage"]);
        command
    };
    let error = place.fails(&mut test(), 1);
    let runs = place.dir().join("target/ktstr").display().to_string();
    assert!(error.starts_with(&runs), "{error}");
    let error = place.fails(test().env("KTSTR_SIDECAR_DIR", "/proc/ktstr"), 1);
    assert!(
        error.starts_with("/proc/ktstr: ") && error.contains("set KTSTR_SIDECAR_DIR"),
        "{error}"
    );
    assert!(
        !place.dir().join("cargo.log").exists(),
        "nextest was started"
    );
}

#[test]
fn an_archive_needs_no_project() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    fs::remove_file(place.dir().join("Cargo.toml")).unwrap();
    let mut command = cargo_ktstr();
    command.args(["test", "--kernel", "./bzImage"]);
    let output = place.run(command.args(["--", "--archive-file", "a.tar.zst"]));
    assert_eq!(output.status.code(), Some(100), "{}", text(&output.stderr));
    let runs = place.dir().join("target/ktstr").display().to_string();
    assert_eq!(place.told()["runs_dir"], runs);
}

#[test]
fn a_nextest_that_was_killed_is_told() {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    place.fake_cargo(r#"case "$1 $2" in "nextest run") kill -KILL $$ ;; *) exit 1 ;; esac"#);
    let output = place.run(cargo_ktstr().args(["test", "--kernel", "./bzImage"]));
    assert_eq!(output.status.code(), Some(137));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("error: cargo nextest: killed by SIGKILL; "),
        "{stderr}"
    );
    assert!(
        stderr.contains("that were running count as failed\n"),
        "{stderr}"
    );
}

/// A cargo whose nextest tells when it runs, notes each Ctrl-C, and ends a while after the first.
fn place_with_a_patient_nextest() -> Place {
    let place = Place::new();
    place.file("bzImage", &bz_image("6.12.0"));
    place.fake_cargo(
        r#"case "$1 $2" in
        "nextest run")
            trap 'echo INT >>signals' INT
            echo >running
            while ! [ -s signals ]; do sleep 0.05; done
            # Time for another one.
            sleep 1
            exit 100 ;;
        *) exit 1 ;;
        esac"#,
    );
    place
}

fn until_it_runs(place: &Place, child: &mut Child) {
    while !place.dir().join("running").exists() {
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "it ended before nextest ran");
        sleep(Duration::from_millis(10));
    }
}

fn signals(place: &Place) -> String {
    fs::read_to_string(place.dir().join("signals")).unwrap()
}

#[test]
fn an_interrupt_of_the_command_alone_reaches_nextest() {
    let place = place_with_a_patient_nextest();
    let mut command = cargo_ktstr();
    place.prepare(command.args(["test", "--kernel", "./bzImage"]));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    until_it_runs(&place, &mut child);
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    assert_eq!(
        child.wait().unwrap().code(),
        Some(100),
        "nextest ends in its own order"
    );
    assert_eq!(signals(&place), "INT\n");
}

#[test]
fn an_interrupt_of_the_terminal_reaches_nextest_once() {
    let place = place_with_a_patient_nextest();
    let mut command = cargo_ktstr();
    command.args(["test", "--kernel", "./bzImage"]);
    // It has a terminal of its own, in whose foreground the command runs.
    let mut script = crate::place::command("script");
    script.args([
        "--quiet",
        "--return",
        "--command",
        // No shell stays in between: one that waits dies of the same Ctrl-C.
        &format!("exec {}", quoted(&command)),
        "/dev/null",
    ]);
    place.prepare(script.env("SHELL", "/bin/sh"));
    script.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = script.spawn().unwrap();
    until_it_runs(&place, &mut child);
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(100));
    assert_eq!(signals(&place), "INT\n");
}
