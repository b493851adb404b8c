//! `stats` and `show-host`, on records that the library wrote.

use std::fs;
use std::path::Path;

use ktstr_core::record::{
    RunDir, SchedulerExit, Sidecar, Stage, Timings, VerifiedProgram, VerifierStats,
};
use ktstr_core::{KernelLabel, Preset, Verdict};
use serde_json::Value;

use crate::place::{Place, cargo_ktstr, text};
use crate::restricted::{forbid, restricted};

/// Sessions, by the times that they began: a minute after each other.
const BEFORE: &str = "1767225540000000000-6";
const NEWEST: &str = "1767225600000000000-7";

fn write(dir: &Path, epoch: &str, sidecar: &Sidecar) {
    RunDir::new(dir, epoch).write(sidecar, None::<&()>).unwrap();
}

fn cell(insns: u64) -> Sidecar {
    let preset = Preset::ALL[0];
    let program = VerifiedProgram {
        name: "mine_enqueue".to_owned(),
        prog_type: 27,
        verified_insns: Some(insns),
    };
    Sidecar {
        variant: preset.name.to_owned(),
        topology: Some(preset.topology),
        scheduler: "mine".to_owned(),
        kernel_label: Some(KernelLabel::from_version("6.12.1")),
        timings: Timings {
            wait_s: Some(0.5),
            boot_s: Some(1.0),
            scenario_s: Some(2.0),
            teardown_s: Some(0.1),
        },
        verifier: Some(VerifierStats {
            stage: Stage::Liveness,
            load_s: Some(0.5),
            programs: vec![program],
        }),
        ..Sidecar::new(
            "verifier",
            &format!("verifier/mine/kernel_6_12_1/{}", preset.name),
            Verdict::pass(),
        )
    }
}

/// Two sessions of a small suite, the newer one on a later commit.
fn suite(runs: &Path) {
    let run = runs.join("6.12.1-abc1234");
    write(&runs.join("6.12.1-0ld0000"), BEFORE, &cell(1000));
    write(&run, NEWEST, &cell(1500));
    for (n, preset) in Preset::ALL[..8].iter().enumerate() {
        let verdict = match n {
            2 => Verdict::fail(
                "max_gap_ms",
                "900 > 500 in cgroup left, worker 3 (pid 61), on CPU 5",
            ),
            5 => Verdict::skip("the emulator has no place left"),
            _ => Verdict::pass(),
        };
        let mut sidecar = Sidecar {
            variant: preset.name.to_owned(),
            topology: Some(preset.topology),
            kernel_label: Some(KernelLabel::from_version("6.12.1")),
            timings: Timings {
                wait_s: Some(0.0),
                boot_s: Some(1.5),
                scenario_s: Some(12.0),
                teardown_s: Some(0.1),
            },
            project_commit: Some("abc1234".to_owned()),
            ..Sidecar::new(
                "nobody_waits_long",
                &format!("gauntlet/nobody_waits_long/{}", preset.name),
                verdict,
            )
        };
        let gap = if n == 2 { 900.0 } else { 100.0 + n as f64 };
        sidecar.metrics.insert("max_gap_ms".to_owned(), gap);
        write(&run, NEWEST, &sidecar);
    }
    write(
        &run,
        NEWEST,
        &Sidecar {
            scheduler: "mine".to_owned(),
            kernel_label: Some(KernelLabel::from_version("6.12.1")),
            scheduler_exit: Some(SchedulerExit {
                kind: "SCX_EXIT_ERROR_STALL".to_owned(),
                reason: "runnable task stall".to_owned(),
                message: "spin[57] failed to run for 3.2s".to_owned(),
            }),
            ..Sidecar::new("stalls", "ktstr/stalls", Verdict::pass())
        },
    );
    for (attempt, verdict) in [
        (1, Verdict::inconclusive("max_migration_ratio", "0 / 0")),
        (2, Verdict::pass()),
    ] {
        write(
            &run,
            NEWEST,
            &Sidecar {
                attempt,
                ..Sidecar::new("on_host", "host/on_host", verdict)
            },
        );
    }
    fs::write(run.join("torn.ktstr.json"), r#"{"schema": 1, "te"#).unwrap();
}

const EXPECTED: &str = "\
Run of 2026-01-01T00:00:00Z
  6.12.1-abc1234: 11 cases
  9 passed, 1 failed, 1 skipped

Verdicts
  test               pass  fail  incl  skip  by size of machine
  nobody_waits_long     6     1     -     1  ..sF....
  on_host               1     -     -     -  .
  stalls                1     -     -     -  .
  verifier/mine         1     -     -     -  .
  . pass, F fail, ? inconclusive, s skip; `incl`: inconclusive

Failed and inconclusive
  fail  gauntlet/nobody_waits_long/9cpu-3llc-nosmt
    max_gap_ms: 900 > 500 in cgroup left, worker 3 (pid 61), on CPU 5

Exits of schedulers
  SCX_EXIT_ERROR_STALL of mine: 1 case, 1 passed
    ktstr/stalls: spin[57] failed to run for 3.2s

Flaky: not every attempt ended alike
  host/on_host: 1 of 2 attempts did not pass, counts as pass
    max_migration_ratio: 0 / 0

Outliers among the gauntlet variants of a test
  nobody_waits_long max_gap_ms on kernel_6_12_1, median 104 ms
    0090000
    9cpu-3llc-nosmt: 900 ms (179.0, worse)
  Distance from the median above 3.5 times 1.4826 MAD (1.2533 times the mean
  deviation where the MAD is 0) and the metric's gates; 5 variants or more.

Verified instructions against 6.12.1-0ld0000
  mine: median +50.0 % over 1 program
    mine_enqueue +50.0 %: 1000 -> 1500 on kernel_6_12_1, 4cpu-1llc-nosmt

Slowest tests, by all of their cases
  test               cases    total  longest  where
  nobody_waits_long      8  108.8 s   13.6 s  bbbsssssssssssssssssssss
  verifier/mine          1    3.6 s    3.6 s  wbst
  w wait for CPUs, b boot, s scenario, t teardown

Skipped
  1 case: the emulator has no place left

Not read
  sidecar target/ktstr/6.12.1-abc1234/torn.ktstr.json: not a ktstr sidecar
    (EOF while parsing a string at line 1 column 17); remove it or run the tests
    again
";

fn stats(place: &Place, words: &[&str]) -> String {
    let mut command = cargo_ktstr();
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    let output = place.run(command.arg("stats").args(words).env("LC_ALL", "C"));
    assert!(
        output.status.success(),
        "{words:?}: {}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

fn json(place: &Place, words: &[&str]) -> Value {
    let document: Value =
        serde_json::from_str(&stats(place, &[words, &["--json"]].concat())).unwrap();
    assert_eq!(document["schema"], 1);
    document
}

#[test]
fn the_newest_run_is_told_in_eighty_columns() {
    let place = Place::new();
    suite(&place.dir().join("target/ktstr"));
    assert_eq!(stats(&place, &["--dir", "target/ktstr"]), EXPECTED);
    let forced = place.run(
        cargo_ktstr()
            .arg("stats")
            .env("CLICOLOR_FORCE", "1")
            .env_remove("NO_COLOR"),
    );
    assert!(
        text(&forced.stdout).contains("\u{1b}[1m\u{1b}[31m1 failed\u{1b}[0m"),
        "{}",
        text(&forced.stdout)
    );
    let none = place.run(
        cargo_ktstr()
            .arg("stats")
            .env("NO_COLOR", "1")
            .env("LC_ALL", "C.UTF-8"),
    );
    assert!(text(&none.stdout).contains("▁▁█▁") && !text(&none.stdout).contains('\u{1b}'));
}

#[test]
fn documents_have_what_they_are_documented_to_have() {
    let place = Place::new();
    suite(&place.dir().join("target/ktstr"));
    let analysis = json(&place, &[]);
    assert_eq!(analysis["session"]["epoch"], NEWEST);
    assert_eq!(analysis["session"]["begun"], "2026-01-01T00:00:00Z");
    assert_eq!(analysis["session"]["runs"][0]["run"], "6.12.1-abc1234");
    assert_eq!(analysis["session"]["counts"]["fail"], 1);
    assert_eq!(analysis["verdicts"][0]["test"], "nobody_waits_long");
    assert_eq!(
        analysis["verdicts"][0]["cases"].as_array().unwrap().len(),
        8
    );
    assert_eq!(analysis["outliers"][0]["machine"], "9cpu-3llc-nosmt");
    assert_eq!(analysis["outliers"][0]["worse"], true);
    assert_eq!(analysis["times"][0]["phases"]["scenario_s"], 96.0);
    assert_eq!(analysis["exits"][0]["kind"], "SCX_EXIT_ERROR_STALL");
    assert_eq!(analysis["verifier"]["before"], "6.12.1-0ld0000");
    assert_eq!(
        analysis["verifier"]["schedulers"][0]["changed"][0]["growth_pct"],
        50.0
    );
    assert_eq!(analysis["retries"][0]["failed"], 1);
    assert_eq!(analysis["skips"][0]["cases"], 1);
    assert_eq!(analysis["unreadable"].as_array().unwrap().len(), 1);
    for empty in ["restarts", "kernel_faults"] {
        assert_eq!(analysis[empty], Value::Array(Vec::new()), "{empty}");
    }

    let list = json(&place, &["list"]);
    let runs: Vec<_> = list["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (&run["run"], &run["tests"]))
        .collect();
    assert_eq!(runs[0].0, "6.12.1-abc1234");
    // One of them cannot be read.
    assert_eq!((runs[0].1, runs[1].1), (&12.into(), &1.into()));
    assert!(
        stats(&place, &["list"])
            .contains("\n  RUN             TESTS  DATE                  ARCH\n")
    );

    let metrics = json(&place, &["list-metrics"]);
    let gap = metrics["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "max_gap_ms")
        .unwrap();
    assert_eq!(
        (&gap["unit"], &gap["better"]),
        (&"ms".into(), &"lower".into())
    );
    assert!(gap["absolute_gate"].is_number() && gap["relative_gate_pct"].is_number());

    let values = json(&place, &["list-values"]);
    assert_eq!(values["commits"][0]["value"], "abc1234");
    assert_eq!(values["kernels"][0]["value"], "kernel_6_12_1");
    assert_eq!(values["schedulers"][1]["value"], "mine");

    let host = json(&place, &["show-host", "--run", "6.12.1-abc1234"]);
    assert_eq!(
        (&host["run"], &host["hosts"][0]["records"]),
        (&"6.12.1-abc1234".into(), &12.into())
    );

    let explained = json(&place, &["explain-sidecar", "--run", "6.12.1-abc1234"]);
    let absent = explained["absent"].as_array().unwrap();
    let topology = absent.iter().find(|it| it["field"] == "topology").unwrap();
    assert_eq!(topology["groups"][0]["class"], "expected");
    assert!(
        stats(&place, &["explain-sidecar", "--run", "6.12.1-abc1234"])
            .contains("lack `binary_id`: nextest did not run it")
    );
}

#[test]
fn without_runs_there_is_a_hint_and_an_empty_document() {
    let place = Place::new();
    assert_eq!(
        stats(&place, &[]),
        "no runs yet: `cargo ktstr test` makes one\n"
    );
    assert!(stats(&place, &["list"]).ends_with("  none yet: `cargo ktstr test` makes one\n"));
    let analysis = json(&place, &[]);
    assert_eq!(
        (&analysis["session"], &analysis["verdicts"]),
        (&Value::Null, &Value::Array(Vec::new()))
    );
    assert_eq!(json(&place, &["list"])["runs"], Value::Array(Vec::new()));
}

#[test]
fn what_is_not_there_is_an_error_that_helps() {
    let place = Place::new();
    suite(&place.dir().join("target/ktstr"));
    let fails = |words: &[&str]| place.fails(cargo_ktstr().arg("stats").args(words), 1);
    let error = fails(&["show-host", "--run", "6.12.1"]);
    assert!(
        error.contains("(there is `6.12.1-abc1234`, `6.12.1-0ld0000`); `cargo ktstr stats list`"),
        "{error}"
    );
    let error = fails(&["--dir", "nowhere"]);
    assert!(error.starts_with("--dir nowhere: No such file"), "{error}");
    let archive = place.dir().join("archive");
    fs::rename(place.dir().join("target/ktstr"), &archive).unwrap();
    let list = stats(&place, &["list", "--dir", "archive"]);
    assert!(list.contains("6.12.1-abc1234"), "{list}");
    let only = json(&place, &["--dir", "archive/6.12.1-0ld0000"]);
    assert_eq!(only["session"]["counts"]["pass"], 1);
    // Elsewhere there is no project.
    let mut elsewhere = cargo_ktstr();
    let output = place
        .prepare(elsewhere.arg("stats"))
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("error: no cargo project here"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn this_host_is_shown_as_records_have_it() {
    let place = Place::new();
    let shown = place.run(cargo_ktstr().arg("show-host"));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let expected = format!(
        "this host\n  kernel            {release}  architecture      {}\n",
        std::env::consts::ARCH
    );
    assert!(
        text(&shown.stdout).starts_with(&expected),
        "{}",
        text(&shown.stdout)
    );
    let document = place.run(cargo_ktstr().args(["show-host", "--json"]));
    let document: Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(
        (&document["schema"], &document["run"]),
        (&1.into(), &Value::Null)
    );
    assert_eq!(
        document["hosts"][0]["host"]["kernel_release"],
        release.trim()
    );
}

#[test]
fn a_record_that_may_not_be_read_is_named_and_the_others_are_told() {
    let place = Place::new();
    let run = place.dir().join("target/ktstr/6.12.1-abc1234");
    suite(&place.dir().join("target/ktstr"));
    let names = fs::read_dir(&run).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stalls = names.find(|name| name.contains("stalls")).unwrap();
    forbid(&run.join(&stalls)).unwrap();
    let mut command = cargo_ktstr();
    command.args(["stats", "--dir", "target/ktstr"]);
    place.prepare(command.env("LC_ALL", "C"));
    let Some(mut command) = restricted(&command) else {
        return;
    };
    let output = command.output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // One case less, and all that is left.
    assert!(said.contains("\n  6.12.1-abc1234: 10 cases\n"), "{said}");
    assert!(
        said.contains("\n  nobody_waits_long     6     1     -     1  ..sF....\n"),
        "{said}"
    );
    let (_, not_read) = said.split_once("\nNot read\n").expect(&said);
    let not_read = not_read.split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, why) in [
        (stalls.as_str(), "Permission denied (os error 13)"),
        ("torn.ktstr.json", "not a ktstr sidecar"),
    ] {
        let named = format!("sidecar target/ktstr/6.12.1-abc1234/{name}: {why}");
        assert!(not_read.contains(&named), "{named}: {not_read}");
    }
    command.arg("--json");
    let document: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(document["unreadable"].as_array().unwrap().len(), 2);
}
