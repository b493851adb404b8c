//! Writers of one run directory that are killed, are many, and have no space left: no record is lost, broken or mixed up.

#[allow(dead_code, reason = "disks are only full here")]
#[path = "../../ktstr-kernel/tests/support/mounted.rs"]
mod mounted;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ktstr_core::Verdict;
use ktstr_core::record::{Record, RecordKind, RunDir, Sidecar};
use mounted::Mounted;

/// The directory that [`writer`] writes to, and its number among the writers.
const DIR: &str = "WRITERS_DIR";
const NUMBER: &str = "WRITERS_NUMBER";

/// How many cases a writer has of its own; it repeats them as further attempts.
const CASES: u32 = 3;

/// The case that all writers share.
const SHARED: &str = "shared";

/// A failure whose evidence is [`evidence`].
fn failure(case: &str, attempt: u32) -> Sidecar {
    Sidecar {
        attempt,
        ..Sidecar::new(case, &format!("ktstr/{case}"), Verdict::fail("x", "y"))
    }
}

/// Which record it is the evidence of, and some bytes.
fn evidence(case: &str, attempt: u32) -> (String, u32, String) {
    (case.to_owned(), attempt, "x".repeat(30_000))
}

/// The cases and attempts that writer `number` writes as its `n`th.
fn nth(number: u32, n: u32) -> [(String, u32); 2] {
    let own = (format!("of_{number}_{}", n % CASES), n / CASES + 1);
    [own, (SHARED.to_owned(), number * 1000 + n + 1)]
}

#[test]
#[ignore = "the other tests run it, as a process of its own"]
fn writer() {
    let (Some(dir), Ok(number)) = (env::var_os(DIR), env::var(NUMBER)) else {
        return;
    };
    let run = RunDir::new(dir, "e");
    let number = number.parse().unwrap();
    for n in 0..1000 {
        for (case, attempt) in nth(number, n) {
            let sidecar = failure(&case, attempt);
            let begun = run.begin(&sidecar).unwrap();
            run.write(&sidecar, Some(&evidence(&case, attempt)))
                .unwrap();
            begun.end();
        }
        println!("\nwritten {n}");
    }
}

/// Writer `number`, which is killed when it has written `count` times and that time has passed.
fn killed(dir: &Path, number: u32, count: u32, after: Duration) -> u32 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "writer", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut written = lines
        .map_while(Result::ok)
        .filter(|line| line.starts_with("written "));
    for _ in 0..count {
        written.next().unwrap();
    }
    thread::sleep(after);
    kill(&mut child);
    // What it said before it was killed.
    count + u32::try_from(written.count()).unwrap()
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// All records by case and attempt; each is whole, and has no evidence but its own.
fn records(run: &RunDir) -> BTreeMap<(String, u32), Record> {
    let mut records = BTreeMap::new();
    for record in run.records().unwrap() {
        let record = record.unwrap();
        let Sidecar { test, attempt, .. } = &record.sidecar;
        if let Some(dump) = &record.failure_dump {
            let json = fs::read(dump).unwrap();
            let found: (String, u32, String) = serde_json::from_slice(&json).unwrap();
            assert_eq!(found, evidence(test, *attempt), "{}", dump.display());
        }
        if record.kind != RecordKind::Unfinished {
            records.insert((test.clone(), *attempt), record);
        }
    }
    records
}

fn scratch() -> tempfile::TempDir {
    // Files are synced, which takes its time on a disk.
    let memory = Path::new("/dev/shm");
    let made = memory.is_dir().then(|| tempfile::tempdir_in(memory));
    made.and_then(Result::ok)
        .unwrap_or_else(|| tempfile::tempdir().unwrap())
}

#[test]
fn a_writer_that_is_killed_takes_no_record_along() {
    let dir = scratch();
    let run = RunDir::new(dir.path().join("run"), "e");
    let mut finished = Vec::new();
    let mut random: u64 = 0x2545_f491_4f6c_dd1d;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    // Always two of them at once.
    for round in 0..25_u32 {
        let mut plan = |writer: u32| {
            let count = u32::try_from(next(5)).unwrap();
            (2 * round + writer, count, Duration::from_micros(next(4000)))
        };
        let plans = [plan(0), plan(1)];
        let written: Vec<(u32, u32)> = thread::scope(|scope| {
            let path = run.path();
            let writers = plans.map(|(number, count, after)| {
                let killed = scope.spawn(move || killed(path, number, count, after));
                (number, killed)
            });
            let writers = writers.into_iter();
            writers
                .map(|(number, killed)| (number, killed.join().unwrap()))
                .collect()
        });
        for (number, count) in written {
            finished.extend((0..count).flat_map(|n| nth(number, n)));
        }
    }
    let records = records(&run);
    assert!(finished.len() > 50, "{}", finished.len());
    for name in &finished {
        let record = records
            .get(name)
            .unwrap_or_else(|| panic!("{name:?} is lost"));
        assert!(record.failure_dump.is_some(), "{name:?} has no evidence");
    }
    // The next run removes what killed writers left, when it is old; the lock is free.
    run.write(&failure("last", 1), None::<&()>).unwrap();
}

#[test]
fn many_writers_of_one_case_keep_every_attempt() {
    let dir = scratch();
    let run = RunDir::new(dir.path().join("run"), "e");
    let (writers, each) = (6, 10);
    thread::scope(|scope| {
        for number in 0..writers {
            let path = run.path();
            scope.spawn(move || killed(path, number, each, Duration::ZERO));
        }
    });
    let records = records(&run);
    for number in 0..writers {
        for name in (0..each).flat_map(|n| nth(number, n)) {
            let record = &records[&name];
            assert!(record.failure_dump.is_some(), "{name:?}");
        }
    }
}

#[test]
fn a_full_disk_takes_no_record_away() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let Some(_mounted) = Mounted::new(&disk, "size=1m") else {
        return;
    };
    let run = RunDir::new(disk.join("run"), "e");
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 200 << 10]).unwrap();
    let write = |n: u32, attempt: u32| {
        let case = format!("case_{n}");
        run.write(&failure(&case, attempt), Some(&evidence(&case, attempt)))
    };
    let mut count = 0;
    let error = loop {
        match write(count, 1) {
            Ok(_) => count += 1,
            Err(error) => break error.to_string(),
        }
        assert!(count < 100, "the disk never fills");
    };
    assert!(error.contains("No space left on device"), "{error}");
    let full = records(&run);
    assert!(full.len() > 5 && full.values().all(|record| record.failure_dump.is_some()));
    // Once more, and as a second attempt: what is there stays.
    for attempt in [1, 2] {
        for n in 0..count {
            assert!(write(n, attempt).is_err());
        }
        assert!(run.begin(&failure("another", attempt)).is_err());
    }
    assert_eq!(records(&run), full);
    let mut entries = fs::read_dir(run.path()).unwrap().flatten();
    let is_temporary = |path: &Path| path.extension().is_some_and(|it| it == "tmp");
    assert!(!entries.any(|entry| is_temporary(&entry.path())));
    fs::remove_file(ballast).unwrap();
    write(0, 2).unwrap();
    assert_eq!(records(&run).len(), full.len() + 1);
}
