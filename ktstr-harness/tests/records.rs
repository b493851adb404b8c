//! What a test binary says and writes down, whoever runs it: nextest, `cargo test`, an editor, a person. And what
//! becomes of it where it cannot write.
//!
//! The tests that it runs are in `examples/on_host.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ktstr_core::Outcome;
use ktstr_core::record::{INTERRUPTED, Record, RecordKind, RunDir, standing};
use rustix::process::{Pid, Signal, kill_process};

#[path = "../../ktstr-kernel/tests/support/mounted.rs"]
mod mounted;
use mounted::Mounted;

/// Against hanging only.
const LIMIT: Duration = Duration::from_secs(120);

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn results(&self) -> PathBuf {
        self.path("results")
    }

    /// The example, outside of nextest.
    fn command(&self, arguments: &str) -> Command {
        let me = std::env::current_exe().unwrap();
        let binary = me.parent().and_then(Path::parent).unwrap();
        let mut command = Command::new(binary.join("examples/on_host"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("NEXTEST") || name.starts_with("KTSTR_") {
                command.env_remove(&*name);
            }
        }
        command
            .args(arguments.split_whitespace())
            .env("KTSTR_SIDECAR_DIR", self.results())
            .env("KTSTR_RUN_EPOCH", "here")
            .stdin(Stdio::null());
        command
    }

    /// The example as nextest runs the case `case` of it.
    fn nextest(&self, case: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = self.command(&format!("--exact {case} --nocapture --include-ignored"));
        command
            .env("NEXTEST", "1")
            .env("NEXTEST_TEST_NAME", case)
            .env("NEXTEST_BINARY_ID", "ktstr-harness::example/on_host")
            .env("NEXTEST_STRESS_CURRENT", "none")
            .envs(variables.iter().copied());
        command
    }

    fn records(&self, epoch: &str) -> Vec<Record> {
        let run = RunDir::new(self.results(), epoch);
        let records = run.own_records().unwrap().into_iter();
        records.map(Result::unwrap).collect()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn results_are_told_as_libtest_tells_them() {
    let place = Place::new();
    let output = place.command("host/").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    let (before, time) = text.split_once("; finished in ").unwrap();
    let expected = "
running 7 tests
test host/never_ends ... ignored
test host/fails ... FAILED
test host/gives_no_signal ... FAILED, inconclusive
test host/is_deep ... ok
test host/needs_a_file ... FAILED
test host/passes ... ok
test host/skips ... ignored, no such device

failures:
    host/fails
    host/gives_no_signal
    host/needs_a_file

test result: FAILED. 2 passed; 3 failed; 2 ignored; 0 measured; 3 filtered out";
    // Variants of the test in a machine are there as well.
    let count = expected.rsplit_once("; ").unwrap().0;
    assert!(before.starts_with(count), "{text}");
    assert!(
        before.ends_with(" filtered out") && time.contains('s'),
        "{text}"
    );
    assert!(
        text.ends_with("6 tests run, worst outcome: fail\n"),
        "{text}"
    );
    let stderr = stderr(&output);
    assert!(
        stderr.contains("ktstr_test 'fails' [sched=eevdf] [host] failed:\n"),
        "{stderr}"
    );
    assert_eq!(place.records("here").len(), 6);
}

#[test]
fn an_editor_finds_a_test_by_its_function_and_by_its_path() {
    for name in ["passes", "on_host::passes", "host/passes"] {
        let place = Place::new();
        let arguments = format!("{name} --exact --show-output --include-ignored");
        let output = place.command(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let expected =
            "\nrunning 1 test\ntest host/passes ... ok\n\ntest result: ok. 1 passed; 0 failed;";
        assert!(text.starts_with(expected), "{text}");
    }
    let place = Place::new();
    for name in ["is_deep", "deep::er::is_deep", "deep"] {
        let output = place.command(name).output().unwrap();
        assert!(stdout(&output).contains("\ntest host/is_deep ... ok\n"));
    }
    // Cargo asks every test target for it: a target that has none is no failure, and says so.
    let output = place.command("nothing --exact").output().unwrap();
    assert!(output.status.success());
    assert!(stdout(&output).contains("\nrunning 0 tests\n\ntest result: ok. 0 passed"));
    assert!(stderr(&output).contains("no test is called nothing; "));
    // Nextest asks for what was listed.
    let output = place.nextest("host/nothing", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn libtests_words_are_honoured_or_answered() {
    let place = Place::new();
    let log = place.path("log");
    let arguments = format!(
        "passes -Z unstable-options --color always --test-threads 4 --report-time --shuffle-seed 3 --logfile {}",
        log.display()
    );
    let output = place.command(&arguments).output().unwrap();
    let text = stdout(&output);
    assert!(
        text.contains("running 1 test (shuffle seed: 3)\n"),
        "{text}"
    );
    assert!(
        text.contains("host/passes ... \u{1b}[32mok\u{1b}[0m <0."),
        "{text}"
    );
    assert_eq!(fs::read_to_string(log).unwrap(), "ok host/passes\n");
    let output = place.command("--fail-fast --format terse host/fails host/passes");
    let output = { output }.output().unwrap();
    let text = stdout(&output);
    assert!(
        text.starts_with("\nrunning 2 tests\nF\n\nfailures:\n    host/fails\n"),
        "{text}"
    );
    let output = place.command("--format json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--format json: only "));
    let many = place.command("host/passes host/skips --test-threads 4");
    let said = stderr(&{ many }.output().unwrap());
    assert_eq!(said.matches("--test-threads: ").count(), 1, "{said}");
}

#[test]
fn every_attempt_and_iteration_keeps_its_record_and_its_name() {
    let place = Place::new();
    let file = place.path("file");
    let needs = |variables: &[(&str, &str)]| {
        let mut command = place.nextest("host/needs_a_file", variables);
        command.env("ON_HOST_FILE", &file).output().unwrap()
    };
    let output = needs(&[("NEXTEST_ATTEMPT", "1")]);
    assert_eq!(output.status.code(), Some(1));
    // Nextest tells how it ended.
    assert_eq!(stdout(&output), "");
    fs::write(&file, "").unwrap();
    assert!(needs(&[("NEXTEST_ATTEMPT", "2")]).status.success());
    let records = place.records("here");
    let told: Vec<_> = records
        .iter()
        .map(
            |Record {
                 sidecar,
                 failure_dump,
                 kind,
                 ..
             }| {
                let outcome = sidecar.verdict.outcome();
                (*kind, sidecar.attempt, outcome, failure_dump.is_some())
            },
        )
        .collect();
    let expected = [
        (RecordKind::Earlier, 1, Outcome::Fail, true),
        (RecordKind::Latest, 2, Outcome::Pass, false),
    ];
    assert_eq!(told, expected);
    let sidecar = &records[0].sidecar;
    assert_eq!(sidecar.package.as_deref(), Some("ktstr-harness"));
    assert_eq!(sidecar.target.as_deref(), Some("on_host"));
    let source = sidecar.source.as_deref().unwrap();
    assert!(source.ends_with("examples/on_host.rs"), "{source}");
    let binary_id = sidecar.binary_id.as_deref();
    assert_eq!(binary_id, Some("ktstr-harness::example/on_host"));

    // Two iterations of a stress run in the next session, of which one fails.
    let epoch = ("KTSTR_RUN_EPOCH", "next");
    assert!(
        needs(&[epoch, ("NEXTEST_STRESS_CURRENT", "0")])
            .status
            .success()
    );
    fs::remove_file(&file).unwrap();
    assert!(
        !needs(&[epoch, ("NEXTEST_STRESS_CURRENT", "1")])
            .status
            .success()
    );
    fs::write(&file, "").unwrap();
    assert!(
        needs(&[epoch, ("NEXTEST_STRESS_CURRENT", "2")])
            .status
            .success()
    );
    let next = place.records("next");
    let iterations: Vec<_> = next.iter().map(|record| record.sidecar.stress).collect();
    assert_eq!(iterations, [Some(3), Some(1), Some(2)]);
    let [worst] = &standing(next)[..] else {
        panic!("one case")
    };
    assert_eq!(
        (worst.sidecar.stress, worst.failure_dump.is_some()),
        (Some(2), true)
    );
    assert_eq!(
        place.records("here").len(),
        2,
        "those of the session before"
    );
}

/// What a session inside of a test hands on is not taken for its own.
#[test]
fn what_nextest_says_of_another_test_is_not_believed() {
    let place = Place::new();
    let outer = [("NEXTEST_TEST_NAME", "outer"), ("NEXTEST_ATTEMPT", "3")];
    let output = place.nextest("host/passes", &outer).output().unwrap();
    assert!(output.status.success());
    let sidecar = &place.records("here")[0].sidecar;
    assert_eq!((sidecar.attempt, sidecar.binary_id.as_deref()), (1, None));
}

#[test]
fn a_test_that_is_killed_leaves_a_record_that_says_so() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let place = Place::new();
        assert!(
            place
                .nextest("host/passes", &[])
                .status()
                .unwrap()
                .success()
        );
        let mut test = place.nextest("host/never_ends", &[]).spawn().unwrap();
        let begin = Instant::now();
        let is_unfinished = |record: &Record| record.kind == RecordKind::Unfinished;
        while !place.records("here").iter().any(is_unfinished) {
            assert!(begin.elapsed() < LIMIT);
            thread::sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_child(&test), signal).unwrap();
        assert!(!test.wait().unwrap().success());
        let standing = standing(place.records("here"));
        let told: Vec<_> = standing
            .iter()
            .map(|record| {
                (
                    record.sidecar.case.as_str(),
                    record.sidecar.verdict.outcome(),
                )
            })
            .collect();
        let expected = [
            ("host/never_ends", Outcome::Fail),
            ("host/passes", Outcome::Pass),
        ];
        assert_eq!(told, expected);
        let verdict = &standing[0].sidecar.verdict;
        assert_eq!(verdict.details()[0].check, INTERRUPTED);
    }
}

/// Where no record can be written, nothing runs, and that is a failure.
#[test]
fn a_directory_of_records_is_tried_before_a_test_runs() {
    let place = Place::new();
    let never_ends = || place.nextest("host/never_ends", &[]).output().unwrap();
    let says = |output: &Output, what: &str| {
        assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
        let text = stderr(output);
        assert!(text.contains(place.results().to_str().unwrap()), "{text}");
        assert!(
            text.contains(what) && text.contains("KTSTR_SIDECAR_DIR"),
            "{text}"
        );
    };
    fs::write(place.results(), "").unwrap();
    says(&never_ends(), "File exists");
    fs::remove_file(place.results()).unwrap();
    let Some(disk) = Mounted::new(&place.results(), "size=512k") else {
        return;
    };
    let before = place.nextest("host/fails", &[]).output().unwrap();
    assert_eq!(before.status.code(), Some(1));
    let records = place.records("here");
    fs::write(place.results().join("full"), vec![0; 400 << 10]).unwrap();
    says(&never_ends(), "No space left on device");
    says(
        &place.nextest("host/fails", &[]).output().unwrap(),
        "No space left on device",
    );
    fs::remove_file(place.results().join("full")).unwrap();
    assert!(disk.remount("ro"));
    says(&never_ends(), "Read-only file system");
    assert_eq!(place.records("here"), records, "what was there stays");
}

/// A lock directory that cannot be used must not make a pass of a test that never ran.
#[test]
fn a_directory_of_locks_that_cannot_be_used_fails() {
    let place = Place::new();
    let run = |locks: &Path| {
        let mut command = place.nextest("ktstr/in_a_machine", &[]);
        let output = command.env("KTSTR_LOCK_DIR", locks).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(locks.to_str().unwrap()), "{text}");
        assert!(
            text.contains("KTSTR_LOCK_DIR") && !text.contains("SKIP"),
            "{text}"
        );
    };
    fs::write(place.path("file"), "").unwrap();
    run(&place.path("file"));
    let locks = place.path("locks");
    let Some(disk) = Mounted::new(&locks, "size=64k") else {
        return;
    };
    assert!(disk.remount("ro"));
    run(&locks);
}

#[test]
fn only_what_needs_a_home_asks_for_it() {
    let place = Place::new();
    let homeless = |arguments: &str| {
        let mut command = place.command(arguments);
        command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
        command.output().unwrap()
    };
    let listed = homeless("--list --format terse");
    assert!(listed.status.success(), "{}", stderr(&listed));
    assert!(stdout(&listed).contains("ktstr/in_a_machine: test\n"));
    assert!(homeless("host/passes").status.success());
    assert!(homeless("--thresholds passes").status.success());
    let output = homeless("ktstr/in_a_machine");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("set KTSTR_CACHE_DIR, XDG_CACHE_HOME or HOME"),
        "{text}"
    );
}
