//! `test`, with a cargo that only writes down how it was called.

use std::fs;

use ktstr_core::{RunDir, Sidecar, Verdict};

use crate::place::{Place, bz_image, cargo_ktstr, text};

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
    (13 stats sidecar(s))

cargo ktstr: run what did not pass again
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
