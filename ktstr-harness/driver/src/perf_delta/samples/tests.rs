//! Which records are values of which side.

use ktstr_core::Verdict;

use super::*;

fn record(test: &str, commit: &str) -> Sidecar {
    Sidecar {
        performance_mode: Some(true),
        performance_mode_declared: Some(true),
        project_commit: Some(commit.to_owned()),
        metrics: BTreeMap::from([("max_gap_ms".to_owned(), 5.0)]),
        ..Sidecar::new(test, &format!("ktstr/{test}"), Verdict::pass())
    }
}

fn names(side: &Side) -> Vec<String> {
    side.cases.keys().map(PerfCase::name).collect()
}

#[test]
fn only_performance_tests_are_compared() {
    let exclusive = record("a", "c");
    let shared = Sidecar {
        performance_mode: Some(false),
        ..record("b", "c")
    };
    let other = Sidecar {
        performance_mode: Some(false),
        performance_mode_declared: Some(false),
        ..record("other", "c")
    };
    let skipped = Sidecar {
        performance_mode: None,
        verdict: Verdict::skip("no KVM"),
        metrics: BTreeMap::new(),
        ..record("skipped", "c")
    };
    // Its record does not tell how the test is declared.
    let old = Sidecar {
        performance_mode_declared: None,
        ..record("old", "c")
    };
    let variant = Sidecar {
        variant: "8cpu-2llc-smt".to_owned(),
        ..record("a", "c")
    };
    let records = [exclusive, shared, other, skipped, old, variant];
    let side = Side::of(&records, Machines::Exclusive);
    assert_eq!(names(&side), ["a/8cpu-2llc-smt", "a", "old"]);
    let whys: Vec<_> = side.skipped.values().collect();
    assert_eq!(whys, ["no KVM"]);
    let side = Side::of(&records, Machines::Shared);
    assert_eq!(names(&side), ["a/8cpu-2llc-smt", "a", "b", "old"]);
    assert!(Side::of(&[], Machines::Shared).is_empty());
}

#[test]
fn failed_runs_count_and_are_told() {
    let failed = Sidecar {
        verdict: Verdict::fail("max_gap_ms", "a gap of 9 ms"),
        ..record("a", "c")
    };
    let broken = Sidecar {
        metrics: BTreeMap::new(),
        ..failed.clone()
    };
    let side = Side::of(&[record("a", "c"), failed, broken], Machines::Exclusive);
    let (_, runs) = side.cases.first_key_value().unwrap();
    assert_eq!((runs.runs, runs.failed), (3, 2));
    assert_eq!(runs.values["max_gap_ms"], [5.0, 5.0]);
    assert_eq!(runs.failure.as_deref(), Some("a gap of 9 ms"));
    assert_eq!(side.most_runs(), 3);
}

#[test]
fn each_iteration_of_the_newest_run_is_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let write = |epoch: &str, attempt, stress, value| {
        let sidecar = Sidecar {
            attempt,
            stress,
            metrics: BTreeMap::from([("max_gap_ms".to_owned(), value)]),
            ..record("a", "c")
        };
        let run = RunDir::new(dir.path().join("r"), epoch);
        run.write(&sidecar, None::<&()>).unwrap()
    };
    write("1", 1, Some(1), 100.0);
    write("1", 1, Some(2), 100.0);
    write("1", 1, Some(3), 100.0);
    write("2", 1, Some(1), 1.0);
    write("2", 2, Some(1), 2.0);
    write("2", 1, Some(2), 3.0);
    let begun = RunDir::new(dir.path().join("r"), "2").begin(&Sidecar {
        stress: Some(3),
        ..record("a", "c")
    });
    let found = Found::read(dir.path()).unwrap();
    assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
    let side = Side::of(&found.records, Machines::Exclusive);
    let (_, runs) = side.cases.first_key_value().unwrap();
    assert_eq!(runs.values["max_gap_ms"], [2.0, 3.0]);
    begun.unwrap().end();
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let good = RunDir::new(dir.path().join("k-c"), "1");
    good.write(&record("a", "c"), None::<&()>).unwrap();
    let broken = good.write(&record("b", "c"), None::<&()>).unwrap();
    fs::write(&broken, "{").unwrap();
    fs::create_dir_all(dir.path().join(".locks")).unwrap();
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    // The directory itself may hold records.
    for place in [dir.path(), good.path()] {
        let found = Found::read(place).unwrap();
        assert_eq!(found.records.len(), 1);
        assert_eq!(found.unreadable.len(), 1);
        assert!(found.unreadable[0].contains("not a ktstr sidecar"));
    }
    assert!(Found::read(&dir.path().join("none")).is_err());
}

#[test]
fn a_case_has_ended_when_its_record_says_so() {
    let killed = Sidecar {
        verdict: Verdict::fail(INTERRUPTED, "killed"),
        ..record("killed", "c")
    };
    let records = [record("a", "c"), killed];
    assert!(have_all_ended(["ktstr/a"], &records));
    assert!(!have_all_ended(["ktstr/a", "ktstr/killed"], &records));
    assert!(!have_all_ended(["ktstr/b"], &records));
    assert!(have_all_ended([], &records));
}
