//! Records of a project's tests, as cargo's own nextest and test commands run them: attempts, iterations, names that two
//! targets share, parts of a run that are run again.
//!
//! Its tests run on the host, so that no machine is needed.

#[path = "../../ktstr-kernel/tests/support/bz_image.rs"]
mod bz_image;
#[path = "support/project.rs"]
mod project;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bz_image::bz_image;
use ktstr_core::record::{Record, RunDir, Sidecar, Timings, standing};
use ktstr_core::{Outcome, Verdict};
use project::Project;

/// `fails_on` fails whenever the file that counts its runs holds one of the numbers that are asked for.
const TESTS: &str = r#"
fn run_number(name: &str) -> u32 {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    let number = before.parse().unwrap_or(0) + 1;
    std::fs::write(file, number.to_string()).unwrap();
    number
}

fn fails_on(name: &str, numbers: &[u32]) -> Result<AssertResult> {
    let number = run_number(name);
    if numbers.contains(&number) {
        return Ok(AssertResult::fail("number", format!("run {number} of {name}")));
    }
    Ok(AssertResult::pass())
}

#[ktstr_test(host_only)]
fn flaky(_: &Ctx) -> Result<AssertResult> {
    fails_on("flaky", &[1])
}

#[ktstr_test(host_only)]
fn stressed(_: &Ctx) -> Result<AssertResult> {
    fails_on("stressed", &[2, 4])
}

#[ktstr_test(host_only)]
fn same(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::fail("mine", "the first target's"))
}

mod inner {
    use super::*;

    #[ktstr_test(host_only, allow_inconclusive, max_gap_ms = 123)]
    fn quick(_: &Ctx) -> Result<AssertResult> {
        Ok(AssertResult::pass())
    }
}
"#;

const MORE: &str = r#"
use ktstr_harness::prelude::*;

ktstr_harness::main!();

#[ktstr_test(host_only)]
fn same(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::pass())
}

#[ktstr_test(host_only)]
fn also_fails(_: &Ctx) -> Result<AssertResult> {
    Ok(AssertResult::fail("mine", "always"))
}
"#;

const LIBRARY: &str = r"
#[cfg(test)]
mod tests {
    use ktstr_harness::prelude::*;

    #[ktstr_test(host_only)]
    fn inside(_: &Ctx) -> Result<AssertResult> {
        Ok(AssertResult::pass())
    }
}
";

struct Place {
    project: Project,
}

impl Place {
    fn new() -> Self {
        let project = Project::new(TESTS);
        let more = "\n[[test]]\nname = \"more-tests\"\nharness = false\n";
        let place = Self { project };
        place.change("Cargo.toml", |manifest| {
            manifest.replace("\n[[test]]", &format!("{more}\n[[test]]"))
        });
        fs::write(place.path().join("tests/more-tests.rs"), MORE).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.project.path()
    }

    fn change(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, change(text)).unwrap();
    }

    fn run(mut command: Command, epoch: &str) -> Output {
        Self::run_with(&mut command, &[], epoch)
    }

    fn run_with(command: &mut Command, variables: &[(&str, &str)], epoch: &str) -> Output {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("NEXTEST") {
                command.env_remove(&*name);
            }
        }
        command.env("KTSTR_RUN_EPOCH", epoch);
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// `cargo {arguments}`; what it said on both channels, and its exit code.
    fn cargo(&self, arguments: &str, epoch: &str) -> (String, Option<i32>) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.project.command(Path::new(&cargo));
        command.args(arguments.split_whitespace());
        let output = Self::run(command, epoch);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        (format!("{stdout}\n{stderr}"), output.status.code())
    }

    fn records(&self, epoch: &str) -> Vec<Record> {
        let run = RunDir::new(self.path().join("results"), epoch);
        let records = run.own_records().unwrap().into_iter();
        records.map(Result::unwrap).collect()
    }

    /// Binary, case and outcome of what stands of a run.
    fn standing(&self, epoch: &str) -> Vec<(String, String, Outcome)> {
        let told = |record: Record| {
            let sidecar = record.sidecar;
            let outcome = sidecar.verdict.outcome();
            (sidecar.binary_id.unwrap_or_default(), sidecar.case, outcome)
        };
        let mut all: Vec<_> = standing(self.records(epoch))
            .into_iter()
            .map(told)
            .collect();
        all.sort();
        all
    }
}

fn told(all: &[(&str, &str, Outcome)]) -> Vec<(String, String, Outcome)> {
    let owned = |(binary, case, outcome): &(&str, &str, Outcome)| {
        ((*binary).to_owned(), (*case).to_owned(), *outcome)
    };
    all.iter().map(owned).collect()
}

#[test]
fn evidence_is_replaced_by_newer_evidence_of_the_same_alone() {
    let place = Place::new();
    // Two targets have a test of one name, one of them passes at its second try.
    let run = "nextest run --no-fail-fast -E not(test(stressed)) --retries 1";
    let (said, code) = place.cargo(run, "one");
    assert_eq!(code, Some(100), "{said}");
    let one = told(&[
        ("user::more-tests", "host/also_fails", Outcome::Fail),
        ("user::more-tests", "host/same", Outcome::Pass),
        ("user::user", "host/flaky", Outcome::Pass),
        ("user::user", "host/quick", Outcome::Pass),
        ("user::user", "host/same", Outcome::Fail),
    ]);
    assert_eq!(place.standing("one"), one, "{said}");
    let records = place.records("one");
    // Three were tried twice, and the failed tries have their evidence.
    assert_eq!(records.len(), 8);
    let dumps = records
        .iter()
        .filter(|record| record.failure_dump.is_some());
    assert_eq!(dumps.count(), 5);
    let more = |record: &&Record| record.sidecar.target.as_deref() == Some("more_tests");
    assert_eq!(records.iter().filter(more).count(), 3);

    // Six times one that fails twice.
    let (said, _) = place.cargo(
        "nextest run --no-fail-fast -E test(stressed) --stress-count 6",
        "two",
    );
    // Nextest's exit code may be 0 there: that of its last iteration.
    let records = place.records("two");
    let mut failed: Vec<_> = records
        .iter()
        .filter(|record| record.failure_dump.is_some())
        .map(|record| record.sidecar.stress)
        .collect();
    failed.sort();
    assert_eq!(
        (records.len(), failed),
        (6, vec![Some(2), Some(4)]),
        "{said}"
    );
    let two = told(&[("user::user", "host/stressed", Outcome::Fail)]);
    assert_eq!(place.standing("two"), two);

    // One of two failures once more: the other one's evidence stays.
    let (said, code) = place.cargo("nextest run -E test(also_fails)", "three");
    assert_eq!(code, Some(100), "{said}");
    let three = told(&[("user::more-tests", "host/also_fails", Outcome::Fail)]);
    assert_eq!(place.standing("three"), three);
    let without = |mut all: Vec<_>| {
        all.retain(|(_, case, _)| case != "host/also_fails");
        all
    };
    assert_eq!(without(place.standing("one")), without(one));
    assert_eq!(place.records("two").len(), 6);
}

#[test]
fn plain_cargo_test_runs_and_finds_tests_as_libtests() {
    let place = Place::new();
    // What an editor sends.
    let (said, code) = place.cargo(
        "test --test user -- inner::quick --exact --show-output",
        "one",
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("\nrunning 1 test\ntest host/quick ... ok\n\ntest result: ok. 1 passed;"),
        "{said}"
    );
    // Every target is asked for it.
    let (said, code) = place.cargo("test --tests -- quick --exact", "two");
    assert_eq!(code, Some(0), "{said}");
    let told: Vec<_> = place
        .records("two")
        .into_iter()
        .map(|record| {
            (
                record.sidecar.package,
                record.sidecar.target,
                record.sidecar.binary_id,
            )
        })
        .collect();
    let user = || Some("user".to_owned());
    assert_eq!(told, [(user(), user(), None)]);
    let (said, code) = place.cargo("test --no-fail-fast --tests", "three");
    assert_eq!(code, Some(101), "{said}");
    assert!(
        said.contains("test host/same ... ok\n") && said.contains("test host/same ... FAILED\n"),
        "{said}"
    );
    let same = place.records("three").into_iter();
    let same = same.filter(|record| record.sidecar.test == "same");
    assert_eq!(same.count(), 2);

    // By every name that is shown somewhere.
    for name in ["quick", "inner::quick", "user::inner::quick", "host/quick"] {
        let mut command = place.project.cargo_ktstr("show-thresholds");
        command.arg(name);
        let output = Place::run(command, "four");
        let text = String::from_utf8_lossy(&output.stdout);
        let expected = "host/quick [sched=eevdf]\n";
        assert!(
            text.contains(expected) && text.contains(" 123 ms\n"),
            "{name}: {output:?}"
        );
    }
}

#[test]
fn tests_in_a_librarys_sources_are_told_what_to_do_and_then_run() {
    let place = Place::new();
    fs::write(place.path().join("lib.rs"), LIBRARY).unwrap();
    let (said, code) = place.cargo("test --lib", "one");
    assert_eq!(code, Some(101), "{said}");
    assert!(
        said.contains("in the sources of the library `user`"),
        "{said}"
    );
    let advice = "#[cfg(test)]\nktstr_harness::main!();\n";
    assert!(
        said.contains("[lib]\nharness = false\n") && said.contains(advice),
        "{said}"
    );
    place.change("Cargo.toml", |manifest| {
        manifest.replace("[lib]\n", "[lib]\nharness = false\n")
    });
    place.change("lib.rs", |library| format!("{library}\n{advice}"));
    let (said, code) = place.cargo("test --lib", "two");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("test host/inside ... ok\n"), "{said}");
    // The test target `user` is another one.
    let source = &place.records("two")[0].sidecar.source;
    assert_eq!(source.as_deref(), Some("lib.rs"));
}

#[test]
fn a_budget_runs_what_covers_most_by_what_was_measured() {
    let place = Place::new();
    let measured = [
        ("user::more-tests", "also_fails", 100.0),
        ("user::more-tests", "same", 4.0),
        ("user::user", "flaky", 4.0),
        ("user::user", "quick", 4.0),
        ("user::user", "same", 4.0),
        ("user::user", "stressed", 4.0),
    ];
    for (binary, test, seconds) in measured {
        let timings = Timings {
            scenario_s: Some(seconds - 0.5),
            ..Timings::default()
        };
        let sidecar = Sidecar {
            binary_id: Some(binary.to_owned()),
            package: Some(binary.to_owned()),
            timings,
            ..Sidecar::new(test, &format!("host/{test}"), Verdict::pass())
        };
        let run = RunDir::new(place.path().join("results"), "before");
        run.write(&sidecar, None::<&()>).unwrap();
    }

    // Without a session, each binary has all of the time. One case fits beside another, and none that takes longer.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut list = place.project.command(Path::new(&cargo));
    list.args(["nextest", "list", "--message-format", "oneline"]);
    let limits = [("KTSTR_BUDGET_SECS", "10"), ("NEXTEST_TEST_THREADS", "1")];
    let output = Place::run_with(&mut list, &limits, "list");
    let listed = String::from_utf8_lossy(&output.stdout);
    let expected = "user::more-tests host/same\nuser::user host/flaky\nuser::user host/quick\n";
    assert_eq!(listed, expected, "{output:?}");

    // A session shares it out.
    let image = place.path().join("bzImage");
    fs::write(&image, bz_image("6.12.1")).unwrap();
    let run = |budget: &str, epoch: &str| {
        let mut command = place.project.cargo_ktstr("test");
        command.args(["--", "--no-fail-fast"]);
        let limits = [
            ("KTSTR_BUDGET_SECS", budget),
            ("NEXTEST_TEST_THREADS", "1"),
            ("KTSTR_KERNEL", image.to_str().unwrap()),
        ];
        let output = Place::run_with(&mut command, &limits, epoch);
        String::from_utf8_lossy(&output.stderr).replace('\n', " ")
    };
    let said = run("10", "session");
    let line = "10 s: 2 of 6 cases run, 1 at a time, which took machines 8 s in earlier runs; 4 cases are left out, and \
        with them 3 tests (also_fails, quick, stressed)";
    assert!(said.contains(line), "{said}");
    let expected = told(&[
        ("user::more-tests", "host/same", Outcome::Pass),
        ("user::user", "host/flaky", Outcome::Fail),
    ]);
    assert_eq!(place.standing("session"), expected, "{said}");
    let said = run("3", "short");
    let line = "no test ends in 3 s, the shortest is expected to take";
    assert!(said.contains(line), "{said}");
    let said = run("3 s", "odd");
    let line = "KTSTR_BUDGET_SECS: `3 s` is not a number of seconds";
    assert!(said.contains(line), "{said}");
}
