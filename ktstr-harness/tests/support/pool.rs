//! Runs of worker pools without cgroups, as long as they have to be.
#![allow(
    dead_code,
    reason = "several targets include this, and none uses all of it"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ktstr_core::Topology;
use ktstr_harness::workload::{
    WorkType, WorkerEnd, WorkerGroup, WorkerPool, WorkerReport, WorkerRun,
};

pub(crate) const RUN: Duration = Duration::from_millis(250);

/// Against hanging: what a busy host makes of a run of [`RUN`].
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Worker pools measure time: one after the other, even where tests are threads of one process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This machine, as far as workers have to know it: as many CPUs as it numbers.
pub(crate) fn machine() -> Topology {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let last = (0..512).rev().find(|cpu| allowed.is_set(*cpu)).unwrap();
    Topology::new(1, 1, last as u32 + 1, 1).unwrap()
}

/// What a run comes to that is long enough for that: a busy host gives workers little of a short one.
pub(crate) fn run(
    work: WorkType,
    workers: usize,
    is_enough: impl Fn(&[WorkerReport]) -> bool,
) -> Vec<WorkerReport> {
    run_group(WorkerGroup::of(work, workers), is_enough)
        .unwrap_or_else(|end| panic!("a worker {end}"))
}

/// The same where root is needed; `None` where this is not root.
pub(crate) fn run_privileged(
    work: WorkType,
    workers: usize,
    is_enough: impl Fn(&[WorkerReport]) -> bool,
) -> Option<Vec<WorkerReport>> {
    let end = match run_group(WorkerGroup::of(work, workers), is_enough) {
        Ok(reports) => return Some(reports),
        Err(end) => end,
    };
    match *end {
        WorkerEnd::Refused { call, errno }
            if [libc::EPERM, libc::EACCES].contains(&errno)
                && !rustix::process::geteuid().is_root() =>
        {
            eprintln!("SKIP: {call} needs root");
            None
        }
        end => panic!("a worker {end}"),
    }
}

/// The same for any group; an error is how a worker ended that left no report.
pub(crate) fn run_group(
    group: WorkerGroup,
    is_enough: impl Fn(&[WorkerReport]) -> bool,
) -> Result<Vec<WorkerReport>, Box<WorkerEnd>> {
    let _alone = alone();
    let mut time = RUN;
    loop {
        let mut pool = WorkerPool::fork(&[group], machine()).unwrap();
        pool.release(time);
        let runs = pool.collect(PATIENCE).remove(0);
        assert_eq!(runs.len(), group.workers);
        let reports = runs.into_iter().map(|run| reported(run, time));
        let reports: Vec<_> = reports.collect::<Result<_, _>>()?;
        if is_enough(&reports) {
            return Ok(reports);
        }
        time *= 2;
        assert!(time < PATIENCE, "not even in {time:?}: {reports:?}");
    }
}

/// The report of a worker that ended by itself after `time`.
pub(crate) fn reported(run: WorkerRun, time: Duration) -> Result<WorkerReport, Box<WorkerEnd>> {
    let report = match run.end {
        WorkerEnd::Reported(report) => report,
        end => return Err(Box::new(end)),
    };
    assert_eq!(run.iterations, report.iterations);
    assert!(Duration::from_nanos(report.wall_ns) >= time, "{report:?}");
    // Accounting may be a tick or so ahead of the wall clock.
    assert!(report.cpu_ns < report.wall_ns + 20_000_000, "{report:?}");
    if report.iterations == 0 {
        return Ok(report);
    }
    assert!(report.work_units >= report.iterations);
    assert!(report.cpu_ns > 0, "{report:?}");
    assert!(report.max_gap_ns > 0 && report.max_gap_ns <= report.wall_ns);
    assert_eq!(
        report.residence.values().sum::<u64>(),
        report.iterations,
        "{report:?}"
    );
    assert!(report.migrations < report.iterations);
    assert!(report.residence.contains_key(&report.max_gap_cpu));
    Ok(report)
}
