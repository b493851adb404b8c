use super::super::sidecar::tests::example;
use super::*;
use crate::Outcome;

const NO_DUMP: Option<&()> = None;

/// The file names in `run` by `prefix`, without what does not begin so.
fn names(run: &RunDir, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(run.path()).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries
        .map(name)
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

/// The test, attempt, epoch and kind of every record.
fn told(run: &RunDir) -> Vec<(String, u32, String, RecordKind)> {
    let records = run.records().unwrap().into_iter().map(Result::unwrap);
    records
        .map(|Record { sidecar, kind, .. }| (sidecar.test, sidecar.attempt, sidecar.epoch, kind))
        .collect()
}

fn attempt(test: &str, attempt: u32, verdict: Verdict) -> Sidecar {
    Sidecar {
        attempt,
        verdict,
        ..example(test)
    }
}

fn failed() -> Verdict {
    Verdict::fail("check", "why")
}

#[test]
fn a_run_keeps_its_records_and_replaces_only_what_it_ran() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs/k-c");
    let first = RunDir::new(&path, "1");
    first.write(&example("a"), NO_DUMP).unwrap();
    RunDir::new(&path, "1")
        .write(&example("b"), Some(&"why"))
        .unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    assert_eq!(first.sidecars().unwrap().len(), 2);
    // One of two failures is run again: the other one's evidence stays.
    let second = RunDir::new(&path, "2");
    second.write(&example("a"), NO_DUMP).unwrap();
    let latest = RecordKind::Latest;
    let expected = [("a", "2"), ("b", "1")];
    let expected = expected.map(|(test, epoch)| (test.to_owned(), 1, epoch.to_owned(), latest));
    assert_eq!(told(&second), expected);
    assert_eq!(names(&second, "b-").len(), 2);
    assert!(path.join("notes.txt").exists());

    let own = |run: &RunDir| {
        let own = run.own_records().unwrap().into_iter().map(Result::unwrap);
        own.map(|record| record.sidecar.test).collect::<Vec<_>>()
    };
    assert_eq!(
        (own(&first), own(&second)),
        (vec!["b".to_owned()], vec!["a".to_owned()])
    );
    assert!(RunDir::has_epoch(&path, "1") && RunDir::has_epoch(&path, "2"));
    assert!(!RunDir::has_epoch(&path, "3"));
    assert_eq!(RunDir::last_epoch(&path).as_deref(), Some("2"));
}

#[test]
fn runs_of_a_directory_are_remembered_up_to_a_number() {
    let dir = tempfile::tempdir().unwrap();
    for epoch in 0..2 * EPOCHS {
        let run = RunDir::new(dir.path(), epoch.to_string());
        run.write(&example("a"), NO_DUMP).unwrap();
    }
    let last = (2 * EPOCHS - 1).to_string();
    assert_eq!(RunDir::last_epoch(dir.path()), Some(last));
    assert!(!RunDir::has_epoch(dir.path(), "0"));
    assert!(RunDir::has_epoch(dir.path(), &EPOCHS.to_string()));
    // As earlier versions wrote it.
    fs::write(dir.path().join(EPOCH_FILE), "old").unwrap();
    assert_eq!(RunDir::last_epoch(dir.path()).as_deref(), Some("old"));
}

#[test]
fn a_retry_that_passes_takes_its_failure_dump_away() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path().join("r"), "1");
    let sidecar = run.write(&example("a"), Some(&"why")).unwrap();
    run.write(&example("a"), NO_DUMP).unwrap();
    assert!(sidecar.exists());
    let names = names(&run, "");
    assert!(
        !names.iter().any(|name| name.contains("failure")),
        "{names:?}"
    );
}

#[test]
fn every_attempt_keeps_its_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path(), "1");
    run.write(&attempt("a", 1, failed()), Some(&"first"))
        .unwrap();
    run.write(&attempt("a", 2, failed()), Some(&"second"))
        .unwrap();
    let last = run
        .write(&attempt("a", 3, Verdict::pass()), NO_DUMP)
        .unwrap();
    let stem = example("a").stem();
    assert_eq!(last, dir.path().join(format!("{stem}.ktstr.json")));
    let expected = [
        "attempt-1.failure-dump.json",
        "attempt-1.json",
        "attempt-2.failure-dump.json",
        "attempt-2.json",
        "ktstr.json",
    ];
    assert_eq!(
        names(&run, "a-"),
        expected.map(|end| format!("{stem}.{end}"))
    );
    // Those who read the newest records alone see one.
    assert_eq!(run.sidecars().unwrap().len(), 1);
    let records: Vec<_> = run
        .records()
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let dump = |record: &Record| {
        let dump = record.failure_dump.as_ref();
        dump.map(|dump| fs::read_to_string(dump).unwrap())
    };
    let dumps: Vec<_> = records.iter().map(dump).collect();
    let text = |text: &str| Some(format!("\"{text}\""));
    assert_eq!(dumps, [text("first"), text("second"), None]);
    let standing = standing(records);
    assert_eq!(standing.len(), 1);
    assert_eq!(standing[0].sidecar.attempt, 3);

    // The next run's first attempt replaces the first one alone.
    let next = RunDir::new(dir.path(), "2");
    next.write(&attempt("a", 1, Verdict::pass()), NO_DUMP)
        .unwrap();
    let expected = [
        "attempt-2.failure-dump.json",
        "attempt-2.json",
        "attempt-3.json",
        "ktstr.json",
    ];
    assert_eq!(
        names(&next, "a-"),
        expected.map(|end| format!("{stem}.{end}"))
    );
}

#[test]
fn every_iteration_of_a_stress_run_keeps_its_evidence_and_the_worst_stands() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path(), "1");
    for iteration in 1..=6 {
        let fails = [2, 4].contains(&iteration);
        let verdict = if fails { failed() } else { Verdict::pass() };
        let sidecar = Sidecar {
            stress: Some(iteration),
            ..attempt("a", 1, verdict)
        };
        run.write(&sidecar, fails.then_some(&iteration)).unwrap();
    }
    let records: Vec<_> = run
        .records()
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len(), 6);
    let dumps = records
        .iter()
        .filter(|record| record.failure_dump.is_some());
    assert_eq!(dumps.count(), 2);
    let standing = standing(records);
    assert_eq!(standing.len(), 1);
    assert_eq!(standing[0].sidecar.verdict.outcome(), Outcome::Fail);

    // Once more, without stress: all six are still there.
    let again = RunDir::new(dir.path(), "2");
    again
        .write(&attempt("a", 1, Verdict::pass()), NO_DUMP)
        .unwrap();
    assert_eq!(again.records().unwrap().len(), 7);
    assert_eq!(again.own_records().unwrap().len(), 1);
}

#[test]
fn what_was_killed_leaves_a_record_and_takes_none() {
    let dir = tempfile::tempdir().unwrap();
    let before = RunDir::new(dir.path(), "1");
    before
        .write(&attempt("a", 1, failed()), Some(&"why"))
        .unwrap();
    let run = RunDir::new(dir.path(), "2");
    let killed = run.begin(&attempt("a", 1, Verdict::pass())).unwrap();
    let ended = run.begin(&example("b")).unwrap();
    run.write(&example("b"), NO_DUMP).unwrap();
    ended.end();
    drop(killed);
    let own: Vec<_> = run
        .own_records()
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let standing = standing(own);
    let told: Vec<_> = standing
        .iter()
        .map(|record| (record.sidecar.test.as_str(), record.kind))
        .collect();
    let expected = [("a", RecordKind::Unfinished), ("b", RecordKind::Latest)];
    assert_eq!(told, expected);
    let verdict = &standing[0].sidecar.verdict;
    assert_eq!(verdict.outcome(), Outcome::Fail);
    assert!(verdict.details()[0].check == INTERRUPTED, "{verdict:?}");
    assert_eq!(before.sidecars().unwrap().len(), 2);
    assert_eq!(names(&run, "a-").len(), 3);

    // A run that ends does not take another's away that began meanwhile.
    let third = RunDir::new(dir.path(), "3");
    let mine = third.begin(&example("a")).unwrap();
    let theirs = RunDir::new(dir.path(), "4").begin(&example("a")).unwrap();
    mine.end();
    assert_eq!(names(&run, "a-").len(), 3);
    theirs.end();
    assert_eq!(names(&run, "a-").len(), 2);
}

#[test]
fn a_killed_try_counts_until_there_is_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path(), "1");
    let outcome = || {
        let own = run.own_records().unwrap().into_iter().map(Result::unwrap);
        let standing = standing(own);
        assert_eq!(standing.len(), 1);
        standing[0].sidecar.verdict.outcome()
    };
    drop(run.begin(&attempt("a", 1, Verdict::pass())).unwrap());
    assert_eq!(outcome(), Outcome::Fail);
    run.write(&attempt("a", 2, Verdict::pass()), NO_DUMP)
        .unwrap();
    assert_eq!(outcome(), Outcome::Pass);
    assert_eq!(run.records().unwrap().len(), 2);
}

#[test]
fn files_of_others_are_no_records() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "package.json",
        "a-1.attempt-.json",
        "a-1.attempt-x.json",
        "a-1.stress-1.json",
        "a-1.failure-dump.json",
        "a-1.attempt-1.failure-dump.json",
        ".a-1.ktstr.json.12-0.tmp",
        "attempt-1.txt",
    ] {
        fs::write(dir.path().join(name), "{").unwrap();
    }
    let run = RunDir::new(dir.path(), "1");
    assert!(run.records().unwrap().is_empty());
    fs::write(dir.path().join("a-1.stress-1-attempt-2.json"), "{").unwrap();
    fs::write(dir.path().join("a-1.ktstr.json"), "{").unwrap();
    assert_eq!(run.records().unwrap().len(), 2);
    assert_eq!(run.own_records().unwrap().len(), 2, "nobody knows whose");
}

/// More of them than one thread reads.
#[test]
fn many_records_come_in_the_order_of_their_files() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        let path = dir.path().join(format!("t-{number:04}.ktstr.json"));
        let sidecar = attempt(&format!("t{number}"), 1, Verdict::pass());
        let json = serde_json::to_vec(&sidecar).unwrap();
        fs::write(
            path,
            if number % 100 == 7 {
                b"{".to_vec()
            } else {
                json
            },
        )
        .unwrap();
    }
    let run = RunDir::new(dir.path(), "1");
    let records = run.records().unwrap();
    assert_eq!(records.len(), 1000);
    for (number, record) in records.into_iter().enumerate() {
        match record {
            Ok(record) => assert_eq!(record.sidecar.test, format!("t{number}")),
            Err(error) => assert!(number % 100 == 7, "{error}"),
        }
    }
}

#[test]
fn leftovers_of_killed_writers_go_with_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join(".a-1.ktstr.json.12-0.tmp");
    let new = dir.path().join(".a-1.ktstr.json.12-1.tmp");
    for path in [&old, &new] {
        fs::write(path, "half").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - 2 * LEFTOVER;
    fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    let run = RunDir::new(dir.path(), "1");
    run.write(&example("a"), NO_DUMP).unwrap();
    assert!(!old.exists() && new.exists());
}

#[test]
fn names_are_safe_and_complete() {
    assert_eq!(
        run_name(Some("6.12.1"), Some("abc1234-dirty")),
        "6.12.1-abc1234-dirty"
    );
    assert_eq!(run_name(None, None), "unknown-unknown");
    assert_eq!(run_name(Some("../x"), Some("")), ".._x-unknown");
}

#[test]
fn a_directory_that_cannot_be_written_says_what_to_do() {
    let run = RunDir::new("/proc/ktstr/none", "1");
    let errors = [
        run.write(&example("a"), NO_DUMP).unwrap_err(),
        run.begin(&example("a")).unwrap_err(),
        check(run.path()).unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("run directory /proc/ktstr/none: "), "{text}");
        assert!(text.contains("KTSTR_SIDECAR_DIR"), "{text}");
    }
}

/// Evidence that does not fit: what is there stays, and whole.
#[test]
fn what_cannot_be_written_replaces_nothing() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no space left on device"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path(), "1");
    run.write(&attempt("a", 1, failed()), Some(&"why")).unwrap();
    let before = names(&run, "");
    for number in [1, 2] {
        let error = run.write(&attempt("a", number, failed()), Some(&Unwritable));
        assert!(error.unwrap_err().to_string().contains("no space left"));
    }
    assert_eq!(names(&run, ""), before);
    let expected = ("a".to_owned(), 1, "1".to_owned(), RecordKind::Latest);
    assert_eq!(told(&run), [expected]);
}

/// Only one's own directory can be written, not the one it is in.
#[test]
fn the_lock_is_in_the_directory_where_it_cannot_be_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    // A file in the place of the directory of locks: root is refused by this as well.
    fs::write(dir.path().join(".locks"), "").unwrap();
    let run = RunDir::new(dir.path().join("r"), "1");
    run.write(&example("a"), NO_DUMP).unwrap();
    assert!(run.path().join(".locks/r.lock").exists());
}
