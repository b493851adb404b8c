//! `verifier`, with a cargo that only pretends to run the cells.

use std::fs;

use ktstr_core::Verdict;
use ktstr_core::record::{RunDir, Sidecar, Stage, VerifiedProgram, VerifierStats};

use crate::place::{Place, bz_image, cargo_ktstr, text};

/// A place with a kernel, a cargo whose nextest lists `cases`, and the label of the kernel.
fn place(cases: &[&str]) -> Place {
    let place = Place::new();
    place.entry(
        "6.12.9-tarball-x86_64-kcnew",
        "2026-07-04T23:06:12Z",
        |_| {},
    );
    place.file("bzImage", &bz_image("6.12.0"));
    let case = r#"{"kind":"test","ignored":true,"filter-match":{"status":"matches"}}"#;
    let cases: Vec<String> = cases
        .iter()
        .map(|name| format!(r#""{name}":{case}"#))
        .collect();
    let list = format!(
        r#"{{"rust-build-meta":{{"target-directory":"/t","base-output-directories":[],"non-test-binaries":{{}},"linked-paths":[]}},
        "test-count":{},"rust-suites":{{"p::t":{{"package-name":"p","binary-id":"p::t","binary-name":"t","package-id":"p 0.1.0",
        "kind":"test","binary-path":"/t","build-platform":"target","cwd":"/p","status":"listed","testcases":{{{}}}}}}}}}"#,
        cases.len(),
        cases.join(",")
    );
    place.file("list.json", list.as_bytes());
    place.fake_cargo(
        r#"case "$1 $2" in
        "metadata "*) metadata ;;
        "nextest list") (printf '%s\n' "$@"; env) > list.log; cat list.json ;;
        "nextest run") (printf '%s\n' "$@"; env) > cargo.log; cp "$KTSTR_SESSION" session.json; exit 100 ;;
        *) exit 1 ;;
        esac"#,
    );
    place
}

const CASES: &[&str] = &[
    "ktstr/steady",
    "verifier/mine/kernel_6_12_9/4cpu-1llc-nosmt",
    "verifier/mine/kernel_6_12_9/4cpu-2llc-nosmt",
    "verifier/mine/kernel_6_12_9/8cpu-2llc-smt",
    "verifier/mine/kernel_6_12_9/9cpu-3llc-nosmt",
    "verifier/other/kernel_6_12_9/4cpu-1llc-nosmt",
];

#[test]
fn cells_are_listed_and_run_on_a_kernel_that_is_named() {
    let place = place(CASES);
    let line = "verifier --scheduler mine --raw --release --profile dev -- -p x -E test(/smt/)";
    let output = place.run(cargo_ktstr().args(line.split_whitespace()));
    assert_eq!(output.status.code(), Some(100), "{}", text(&output.stderr));
    let read = |name: &str| fs::read_to_string(place.dir().join(name)).unwrap();
    let (list, run) = (read("list.log"), read("cargo.log"));
    let lines: Vec<_> = list.lines().take(9).collect();
    let expected = "nextest list --release --message-format json --run-ignored all -p x";
    assert_eq!(lines.join(" "), expected);
    let lines: Vec<_> = run.lines().take(9).collect();
    let expected = r"nextest run --release --run-ignored all -E ((binary_id(=p::t) & test(/^verifier\/mine\//))) & ((test(/smt/))) -p x";
    assert_eq!(lines.join(" "), expected);
    for log in [&list, &run] {
        assert!(log.contains("\nKTSTR_KERNEL_LIST=kernel_6_12_9="), "{log}");
    }
    let told = place.told();
    assert_eq!(told["raw_verifier_log"], true, "{told}");
    assert_eq!(told["scheduler_profile"], "dev", "{told}");
    assert_eq!(told["kernels"][0]["label"], "kernel_6_12_9", "{told}");
    let output = place.run(cargo_ktstr().args(["verifier", "--kernel", "./bzImage"]));
    assert_eq!(output.status.code(), Some(100));
    assert_eq!(place.told()["raw_verifier_log"], false);
    assert!(read("cargo.log").contains("\nKTSTR_KERNEL_LIST=kernel_path_bzimage_"));
}

#[test]
fn what_is_not_there_to_be_swept_is_told() {
    let none = place(&["ktstr/steady"]);
    let error = none.fails(cargo_ktstr().arg("verifier"), 1);
    assert!(
        error.contains("no test binary declares a scheduler"),
        "{error}"
    );
    let place = place(CASES);
    let error = place.fails(cargo_ktstr().args(["verifier", "--scheduler", "nine"]), 1);
    assert!(
        error.starts_with("--scheduler nine: ") && error.ends_with("there are mine, other"),
        "{error}"
    );
    assert!(
        !place.dir().join("cargo.log").exists(),
        "nextest was started"
    );
    place.fake_cargo("exit 101");
    let error = place.fails(cargo_ktstr().arg("verifier"), 1);
    assert!(error.contains("exit code 101"), "{error}");
    // A nextest that speaks otherwise is no project without tests.
    place.fake_cargo("echo 'test: ktstr/steady'");
    let error = place.fails(cargo_ktstr().arg("verifier"), 1);
    assert!(
        error.contains("its list cannot be read") && error.contains("cargo install --locked"),
        "{error}"
    );
}

#[test]
fn records_become_tables() {
    let place = place(CASES);
    let run = RunDir::new(place.dir().join("target/ktstr/6.12.9-abc1234"), "e1");
    let cell = |preset: &str, verdict, stage: Option<Stage>, insns| {
        let program = |name: &str, insns| VerifiedProgram {
            name: name.to_owned(),
            prog_type: 27,
            verified_insns: Some(insns),
        };
        let sidecar = Sidecar {
            verifier: stage.map(|stage| VerifierStats {
                stage,
                load_s: None,
                programs: vec![program("mine_enqueue", insns), program("mine_init", 7)],
            }),
            ..Sidecar::new(
                "verifier",
                &format!("verifier/mine/kernel_6_12_9/{preset}"),
                verdict,
            )
        };
        run.write(&sidecar, None::<&()>).unwrap();
    };
    cell(
        "4cpu-1llc-nosmt",
        Verdict::pass(),
        Some(Stage::Liveness),
        40,
    );
    let failed = Verdict::fail("dispatch", "it was gone");
    cell("4cpu-2llc-nosmt", failed, Some(Stage::Dispatch), 1200);
    cell("8cpu-2llc-smt", Verdict::skip("too large"), None, 0);

    let mut command = cargo_ktstr();
    command.env("KTSTR_RUN_EPOCH", "e1");
    let output = place.run(command.args(["verifier", "--scheduler", "mine"]));
    assert_eq!(output.status.code(), Some(100));
    let expected = "
mine: verified instructions (`verified_insns`)
  kernel         mine_enqueue  mine_init
  kernel_6_12_9      40..1200          7

mine: cells
  topology         kernel_6_12_9
  4cpu-1llc-nosmt           pass
  4cpu-2llc-nosmt  FAIL dispatch
  8cpu-2llc-smt             skip
  (1 topologies without a result)
";
    assert_eq!(text(&output.stdout), expected);
    // How to run the one that failed again.
    let stderr = text(&output.stderr);
    let replay = "--run-ignored all -E 'test(=verifier/mine/kernel_6_12_9/4cpu-2llc-nosmt)'";
    assert!(stderr.contains(replay), "{stderr}");
    let counts = "cargo ktstr: 3 cells: 1 passed, 1 failed, 1 skipped\n  1 skipped: too large\n";
    assert!(stderr.contains(counts), "{stderr}");
}

#[test]
fn a_stage_that_no_cell_reached_has_no_figures() {
    let place = place(CASES);
    let run = RunDir::new(place.dir().join("target/ktstr/6.12.9-abc1234"), "e1");
    let case = "verifier/mine/kernel_6_12_9/4cpu-1llc-nosmt";
    let failed = Sidecar::new(
        "verifier",
        case,
        Verdict::fail("machine", "it did not boot"),
    );
    run.write(&failed, None::<&()>).unwrap();
    let mut command = cargo_ktstr();
    command.env("KTSTR_RUN_EPOCH", "e1");
    let output = place.run(command.args(["verifier", "--scheduler", "mine"]));
    let tables = text(&output.stdout);
    assert!(
        tables.contains("\n  no cell reached this stage\n"),
        "{tables}"
    );
}
