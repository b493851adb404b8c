use std::collections::BTreeMap;

use super::super::run::tests::{cgroup, report};
use super::*;
use crate::workload::{WakeLatency, WorkerEnd};

fn lines(checks: Checks, runs: &[CgroupRun]) -> (Outcome, Vec<String>) {
    let verdict = judge(&checks, runs);
    let lines = verdict.decisive().map(ToString::to_string).collect();
    (verdict.outcome(), lines)
}

fn passes(checks: Checks, runs: &[CgroupRun]) -> bool {
    lines(checks, runs).0 == Outcome::Pass
}

fn fails(checks: Checks, runs: &[CgroupRun], line: &str) {
    let (outcome, found) = lines(checks, runs);
    assert_eq!(
        (outcome, found.as_slice()),
        (Outcome::Fail, &[line.to_owned()][..])
    );
}

fn inconclusive(checks: Checks, runs: &[CgroupRun], word: &str) {
    let (outcome, found) = lines(checks, runs);
    assert_eq!(outcome, Outcome::Inconclusive, "{found:?}");
    assert!(found[0].contains(word), "{found:?}");
}

fn without_report(end: WorkerEnd) -> CgroupRun {
    let mut run = cgroup("a", [report(), report()]);
    run.workers[1].end = end;
    run
}

#[test]
fn nothing_asked_for_is_a_pass() {
    let late = WorkerReport {
        max_gap_ns: u64::MAX,
        residence: BTreeMap::from([(99, 1)]),
        ..report()
    };
    assert!(passes(Checks::NONE, &[cgroup("a", [late])]));
    assert!(passes(Checks::NONE, &[]));
}

#[test]
fn a_worker_without_a_report_always_fails() {
    let killed = without_report(WorkerEnd::Killed { signal: 9 });
    let line = "worker: cgroup a, worker 1 (pid 41) was killed by signal 9 (SIGKILL)";
    fails(Checks::NONE, std::slice::from_ref(&killed), line);

    let starved = CgroupRun {
        oom_kills: 1,
        ..killed
    };
    let line = format!("{line}: out of memory kill (oom_kill 1 in its memory.events)");
    fails(Checks::NONE, &[starved], &line);

    let panicked = without_report(WorkerEnd::Exited { status: 101 });
    let line = "worker: cgroup a, worker 1 (pid 41) panicked (exit status 101)";
    fails(Checks::NONE, &[panicked], line);
}

#[test]
fn many_lost_workers_are_counted() {
    let mut run = cgroup("a", vec![report(); 20]);
    for worker in &mut run.workers {
        worker.end = WorkerEnd::Lost("ended without a report");
    }
    let (_, found) = lines(Checks::NONE, &[run]);
    assert_eq!(found.len(), 9);
    assert_eq!(found[8], "worker: and 12 more workers left no report");
}

#[test]
fn gap() {
    let with_gap = |ns| WorkerReport {
        max_gap_ns: ns,
        max_gap_cpu: 3,
        ..report()
    };
    let checks = Checks {
        max_gap_ms: Some(100),
        ..Checks::NONE
    };
    assert!(passes(checks, &[cgroup("a", [with_gap(100_000_000)])]));
    fails(
        checks,
        &[cgroup("a", [report(), with_gap(101_000_000)])],
        "max_gap_ms: 101 > 100 in cgroup a, worker 1 (pid 41), on CPU 3",
    );
    let runs = [
        cgroup("a", [with_gap(150_000_000), report()]),
        cgroup("b", [with_gap(300_000_000), with_gap(200_000_000)]),
    ];
    fails(
        checks,
        &runs,
        "max_gap_ms: 300 > 100 in cgroup b, worker 0 (pid 40), on CPU 3, and in 2 more",
    );
    inconclusive(checks, &[], "no worker reported");
}

#[test]
fn spread() {
    let with_cpu = |cpu_ns| WorkerReport { cpu_ns, ..report() };
    let checks = Checks {
        max_spread_pct: Some(20.0),
        ..Checks::NONE
    };
    let pair = |low, high| [cgroup("a", [with_cpu(low), with_cpu(high)])];
    assert!(passes(checks, &pair(500_000_000, 700_000_000)));
    fails(
        checks,
        &pair(500_000_000, 750_000_000),
        "max_spread_pct: 25 > 20 in cgroup a (off-CPU share of its 2 workers)",
    );
    // Between cgroups, or with one worker, there is nothing to compare.
    let apart = [
        cgroup("a", [with_cpu(0)]),
        cgroup("b", [with_cpu(1_000_000_000)]),
    ];
    assert!(passes(checks, &apart));
    let timeless = WorkerReport::default();
    inconclusive(
        checks,
        &[cgroup("a", [timeless.clone(), timeless])],
        "no time passed",
    );
}

#[test]
fn isolation() {
    let on = |cpus: &[(u32, u64)]| WorkerReport {
        residence: cpus.iter().copied().collect(),
        ..report()
    };
    let checks = Checks {
        isolation: Some(true),
        ..Checks::NONE
    };
    assert!(passes(checks, &[cgroup("a", [on(&[(0, 5), (3, 5)])])]));
    fails(
        checks,
        &[cgroup("a", [report(), on(&[(3, 8), (4, 2)])])],
        "isolation: 2 of 10 iterations ran on CPU 4, outside cpuset 0-3, in cgroup a, worker 1 (pid 41)",
    );
    fails(
        checks,
        &[cgroup("a", [on(&[(4, 4), (5, 6)]), on(&[(9, 10)])])],
        "isolation: 10 of 10 iterations ran on CPUs 4-5, outside cpuset 0-3, in cgroup a, worker 0 (pid 40), \
         and in 1 more",
    );
    let off = Checks {
        isolation: Some(false),
        ..Checks::NONE
    };
    assert!(passes(off, &[cgroup("a", [on(&[(4, 10)])])]));
}

#[test]
fn iteration_rate() {
    let with = |iterations, wall_ns| WorkerReport {
        iterations,
        wall_ns,
        ..report()
    };
    let checks = Checks {
        min_iteration_rate: Some(10.0),
        ..Checks::NONE
    };
    assert!(passes(checks, &[cgroup("a", [report()])]));
    fails(
        checks,
        &[cgroup("a", [report(), with(9, 1_000_000_000)])],
        "min_iteration_rate: 9 < 10 in cgroup a, worker 1 (pid 41)",
    );
    fails(
        checks,
        &[cgroup("a", [with(0, 1_000_000_000)])],
        "min_iteration_rate: 0 < 10 in cgroup a, worker 0 (pid 40)",
    );
    inconclusive(checks, &[cgroup("a", [with(0, 0)])], "no time passed");
}

#[test]
fn wake_latency() {
    let woken = |ns: u64| WorkerReport {
        wake: WakeLatency {
            count: 100,
            max_ns: ns,
            samples_ns: vec![ns; 100],
        },
        ..report()
    };
    let checks = Checks {
        max_p99_wake_latency_ns: Some(5_000),
        ..Checks::NONE
    };
    // A cgroup that never sleeps does not spoil the other one's latency.
    let runs = [cgroup("spin", [report()]), cgroup("a", [woken(5_000)])];
    assert!(passes(checks, &runs));
    fails(
        checks,
        &[cgroup("a", [woken(1)]), cgroup("b", [woken(5_001)])],
        "max_p99_wake_latency_ns: 5001 > 5000 in cgroup b (100 wake-ups)",
    );
    inconclusive(
        checks,
        &[cgroup("spin", [report()])],
        "produced no wake-ups",
    );
}

#[test]
fn not_stuck_brings_gap_and_spread_at_their_defaults() {
    let checks = Checks {
        not_stuck: Some(true),
        ..Checks::NONE
    };
    let gap = |ms: u64| WorkerReport {
        max_gap_ns: ms * 1_000_000,
        ..report()
    };
    let limit = Checks::NOT_STUCK_GAP_MS;
    assert!(passes(checks, &[cgroup("a", [report(), gap(limit)])]));
    let (outcome, found) = lines(checks, &[cgroup("a", [gap(limit + 1)])]);
    assert_eq!(outcome, Outcome::Fail);
    assert!(found[0].starts_with("max_gap_ms: "), "{found:?}");

    let idle = WorkerReport {
        cpu_ns: 0,
        ..report()
    };
    let (_, found) = lines(checks, &[cgroup("a", [report(), idle])]);
    assert!(found[0].starts_with("max_spread_pct: 50 > "), "{found:?}");

    let still = WorkerReport {
        iterations: 0,
        residence: BTreeMap::new(),
        ..report()
    };
    fails(
        checks,
        &[cgroup("a", [still])],
        "not_stuck: 0 iterations < 1 within 1.0 s in cgroup a, worker 0 (pid 40)",
    );

    let looser = Checks {
        max_gap_ms: Some(limit * 2),
        ..checks
    };
    assert!(passes(looser, &[cgroup("a", [gap(limit + 1)])]));
    let off = Checks {
        not_stuck: Some(false),
        ..Checks::NONE
    };
    assert!(passes(off, &[cgroup("a", [gap(limit + 1)])]));
}

#[test]
fn rates_and_their_variation() {
    let checks = |cv, rate| Checks {
        max_throughput_cv: Some(cv),
        min_work_rate: Some(rate),
        ..Checks::NONE
    };
    let slow = WorkerReport {
        work_units: 80,
        ..report()
    };
    let uneven = [cgroup("a", [report(), slow])];
    // 160 and 80 units in a second: the deviation is 40, the mean 120.
    assert!(passes(checks(0.34, 80.0), &uneven));
    fails(
        checks(0.25, 0.0),
        &uneven,
        "max_throughput_cv: 0.3333 > 0.2500 in cgroup a",
    );
    fails(
        checks(1.0, 100.0),
        &uneven,
        "min_work_rate: 80 < 100 in cgroup a, worker 1 (pid 41)",
    );
    // One worker has nobody to differ from.
    assert!(passes(checks(0.0, 1.0), &[cgroup("a", [report()])]));
    let idle = WorkerReport {
        work_units: 0,
        ..report()
    };
    inconclusive(
        checks(1.0, 0.0),
        &[cgroup("a", [idle.clone(), idle])],
        "no work was done",
    );
    inconclusive(checks(1.0, 0.0), &[], "no worker reported");
    let timeless = WorkerReport {
        wall_ns: 0,
        ..report()
    };
    inconclusive(
        checks(1.0, 0.0),
        &[cgroup("a", [timeless])],
        "no time passed",
    );
}

#[test]
fn migrations_relate_to_iterations_and_to_each_other() {
    let checks = |ratio, crossing| Checks {
        max_migration_ratio: Some(ratio),
        max_cross_node_migration_ratio: crossing,
        ..Checks::NONE
    };
    let moving = WorkerReport {
        migrations: 4,
        node_migrations: 3,
        ..report()
    };
    let run = [cgroup("a", [report(), moving])];
    assert!(passes(checks(0.25, Some(0.6)), &run));
    fails(
        checks(0.2, None),
        &run,
        "max_migration_ratio: 0.2500 > 0.2000 in cgroup a",
    );
    let line = "max_cross_node_migration_ratio: 0.6000 > 0.5000 in cgroup a";
    fails(checks(1.0, Some(0.5)), &run, line);
    let still = WorkerReport {
        migrations: 0,
        iterations: 0,
        ..report()
    };
    let still = [cgroup("a", [still])];
    inconclusive(checks(1.0, None), &still, "0 iterations");
    inconclusive(checks(1.0, Some(1.0)), &still, "0 ");
}

#[test]
fn latencies_may_vary_so_much() {
    let checks = Checks {
        max_wake_latency_cv: Some(0.4),
        ..Checks::NONE
    };
    let woken = |samples: &[u64]| WorkerReport {
        wake: WakeLatency {
            count: samples.len() as u64,
            max_ns: 0,
            samples_ns: samples.to_vec(),
        },
        ..report()
    };
    assert!(passes(
        checks,
        &[cgroup("a", [woken(&[5, 5]), woken(&[5])])]
    ));
    let line = "max_wake_latency_cv: 0.5000 > 0.4000 in cgroup a";
    fails(checks, &[cgroup("a", [woken(&[10]), woken(&[30])])], line);
    inconclusive(
        checks,
        &[cgroup("a", [report()])],
        "use a work type that sleeps",
    );
}

#[test]
fn memory_is_local_or_not_or_nobody_knows() {
    let checks = Checks {
        min_page_locality: Some(0.5),
        ..Checks::NONE
    };
    let with_pages = |pages: Option<BTreeMap<u32, u64>>| {
        let report = WorkerReport { pages, ..report() };
        [cgroup("a", [report])]
    };
    assert!(passes(
        checks,
        &with_pages(Some(BTreeMap::from([(0, 9), (1, 7)])))
    ));
    let line = "min_page_locality: 0.2500 < 0.5000 in cgroup a, worker 0 (pid 40)";
    fails(
        checks,
        &with_pages(Some(BTreeMap::from([(0, 4), (1, 12)]))),
        line,
    );
    inconclusive(checks, &with_pages(None), "CONFIG_NUMA");
}
