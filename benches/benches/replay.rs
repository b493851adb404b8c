//! How long a replay takes to find the failures of a session of 10,000 cases.

use std::fs;
use std::path::Path;

use ktstr_benches::{figure, median, ms, timed};
use ktstr_core::record::{CgroupStats, RunDir, Sidecar};
use ktstr_core::{KernelLabel, Topology, Verdict};
use ktstr_driver::replay::Replay;

/// Records of the session.
const RECORDS: usize = 10_000;

/// One record in so many is a failure.
const FAILS: usize = 100;

/// A record of the size that those of tests with a few cgroups have.
fn record(number: usize) -> Sidecar {
    let verdict = if number.is_multiple_of(FAILS) {
        Verdict::fail(
            "max_gap_ms",
            "cgroup a: a gap of 3100 ms on CPU 3, at most 3000",
        )
    } else {
        Verdict::pass()
    };
    let test = format!("test_{}", number / 25);
    let case = format!("gauntlet/{test}/variant_{}", number % 25);
    let cgroup = |name: &str| CgroupStats {
        name: name.to_owned(),
        ..CgroupStats::default()
    };
    let metrics = (0..40).map(|n| (format!("metric_of_some_name_{n}"), 0.1 + f64::from(n)));
    Sidecar {
        binary_id: Some("mine::sched".to_owned()),
        package: Some("mine".to_owned()),
        target: Some("sched".to_owned()),
        source: Some("tests/sched.rs".to_owned()),
        epoch: "1795824037123456789-4711".to_owned(),
        topology: Some(Topology::constant(1, 2, 4, 2)),
        kernel_version: Some("6.14.2".to_owned()),
        kernel_label: Some(KernelLabel::from_version("6.14.2")),
        backend: Some("kvm".to_owned()),
        cgroups: ["a", "b", "c"].map(cgroup).into(),
        metrics: metrics.collect(),
        started: "2026-11-28T04:00:37Z".to_owned(),
        finished: "2026-11-28T04:00:49Z".to_owned(),
        ..Sidecar::new(&test, &case, verdict)
    }
}

fn write(dir: &Path) -> u64 {
    let first = record(0);
    let run = RunDir::new(dir, &first.epoch);
    run.write(&first, None::<&()>).expect("a record is written");
    let mut bytes = 0;
    for number in 1..RECORDS {
        let record = record(number);
        let json = serde_json::to_vec_pretty(&record).expect("a record is JSON");
        bytes += json.len() as u64;
        let path = dir.join(format!("{}{}", record.stem(), Sidecar::SUFFIX));
        fs::write(path, json).expect("a record is written");
    }
    bytes
}

fn main() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let bytes = write(&dir.path().join("6.14.2-abc1234"));
    let mut found = 0;
    let time = median(7, || {
        timed(|| {
            let replay = Replay::of_dir(dir.path(), None).expect("the records are read");
            found = replay.failures.len();
            assert!(replay.filter().is_some());
        })
    });
    assert_eq!(found, RECORDS / FAILS);
    let run = dir.path().join("6.14.2-abc1234");
    let read = median(7, || {
        timed(|| {
            for entry in fs::read_dir(&run).expect("the records are listed") {
                let path = entry.expect("the records are listed").path();
                fs::read(path).expect("a record is read");
            }
        })
    });
    let what = format!(
        "replay: failures among {RECORDS} records, {} MB",
        bytes >> 20
    );
    figure(&what, &ms(time), "500 ms");
    figure("  the same files, read and not parsed", &ms(read), "-");
}
