//! Worker processes of every work type, and workers that fail. No cgroups: these run on any Linux.

use std::time::{Duration, Instant};

use ktstr_core::Topology;
use ktstr_harness::workload::{
    WorkType, WorkerEnd, WorkerGroup, WorkerPool, WorkerReport, WorkerRun, WorkloadError,
};
use rustix::process::{
    Pid, Signal, WaitOptions, getpriority_process, kill_process, test_kill_process, waitpid,
};

#[path = "support/pool.rs"]
mod pool;
use pool::{PATIENCE, RUN, alone, run};

/// The report of a worker that ended by itself after `time`.
fn reported(run: WorkerRun, time: Duration) -> WorkerReport {
    let worker = run.worker;
    pool::reported(run, time).unwrap_or_else(|end| panic!("worker {worker} {end}"))
}

/// Where workers are does not matter here.
const MACHINE: Topology = Topology::constant(1, 1, 2, 1);

/// A run that would last so long if nothing ended it.
const LONG: Duration = Duration::from_secs(600);

/// A pool whose workers all have begun, and which goes on for a second at least; and how long it runs in all.
fn working(groups: &[WorkerGroup]) -> (WorkerPool, Duration) {
    let mut time = Duration::from_secs(2);
    loop {
        let mut pool = WorkerPool::fork(groups, MACHINE).unwrap();
        let start = Instant::now();
        pool.release(time);
        while start.elapsed() < time / 2 {
            if pool.progress().all(|iterations| iterations > 0) {
                return (pool, time);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // A busy host gave some of them nothing yet.
        time *= 2;
        assert!(time < PATIENCE, "they do not get on");
    }
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(raw.cast_signed()).unwrap()
}

#[test]
fn spin_uses_its_cpus() {
    // All of its time but what the kernel gives to others: it never waits of its own accord.
    let spinning = run(WorkType::Spin, 2, |reports| {
        // Where the kernel does not tell how long it waited for a CPU, a longer run will do.
        let runs_or_waits = |report: &WorkerReport| match report.run_delay_ns {
            Some(waited) => report.cpu_ns + waited > report.wall_ns / 2,
            None => u128::from(report.cpu_ns) > RUN.as_nanos() / 2,
        };
        reports.iter().all(runs_or_waits)
    });
    assert!(spinning.iter().all(|report| report.cpu_ns > 0));
    assert!(spinning.iter().all(|report| report.wake.count == 0));
}

#[test]
fn yield_goes_through_the_scheduler_often() {
    run(WorkType::Yield, 2, |reports| {
        reports.iter().all(|report| report.iterations > 100)
    });
}

#[test]
fn ping_pong_takes_turns_and_measures_wake_ups() {
    let playing = run(WorkType::FutexPingPong, 4, |reports| {
        let has_woken = |pair: &[WorkerReport]| pair.iter().any(|report| report.wake.count > 0);
        reports.chunks(2).all(has_woken)
    });
    for pair in playing.chunks(2) {
        assert!(
            pair[0].iterations.abs_diff(pair[1].iterations) <= 1,
            "{pair:?}"
        );
    }
    for wake in playing.iter().map(|report| &report.wake) {
        assert_eq!(wake.samples_ns.len() as u64, wake.count.min(4096));
        assert!(wake.samples_ns.iter().all(|ns| *ns <= wake.max_ns));
    }
}

#[test]
fn bursty_and_mixed_sleep_and_wake() {
    let brief = Duration::from_millis(2);
    let bursty = WorkType::Bursty {
        busy: brief,
        sleep: 4 * brief,
    };
    for work in [bursty, WorkType::mixed()] {
        let reports = run(work, 2, |reports| {
            reports.iter().all(|report| report.wake.count > 3)
        });
        // A busy host takes CPU time away and gives none.
        for report in reports {
            assert!(
                report.cpu_ns < report.wall_ns * 3 / 4,
                "{work:?} {report:?}"
            );
        }
    }
}

#[test]
fn a_sleep_beyond_the_end_is_cut_short() {
    const SLEEP: Duration = Duration::from_secs(60);
    let _alone = alone();
    let work = WorkType::Mixed {
        work_units: 1,
        sleep: SLEEP,
    };
    let mut pool = WorkerPool::fork(&[WorkerGroup::of(work, 1)], MACHINE).unwrap();
    pool.release(RUN);
    let report = reported(pool.collect(PATIENCE).remove(0).remove(0), RUN);
    assert_eq!((report.iterations, report.wake.count), (1, 0));
    assert!(Duration::from_nanos(report.wall_ns) < SLEEP, "{report:?}");
}

#[test]
fn a_killed_worker_is_told_from_the_others_and_holds_nobody_up() {
    let _alone = alone();
    let groups = [
        WorkerGroup::of(WorkType::FutexPingPong, 2),
        WorkerGroup::of(WorkType::Spin, 1),
    ];
    let (pool, time) = working(&groups);
    let victim = pool.workers().nth(1).unwrap();
    assert_eq!((victim.group, victim.worker), (0, 1));
    kill_process(pid(victim.pid), Signal::KILL).unwrap();
    // Its partner waits for a turn that never comes, and ends with the run all the same: nobody is stuck.
    let mut runs = pool.collect(PATIENCE);
    assert_eq!(runs[0][1].end, WorkerEnd::Killed { signal: 9 });
    assert_eq!(runs[0][1].pid, victim.pid);
    reported(runs[0].remove(0), time);
    reported(runs[1].remove(0), time);
}

#[test]
fn a_worker_killed_before_the_release_is_found() {
    let _alone = alone();
    let group = WorkerGroup::of(WorkType::Spin, 2);
    let mut pool = WorkerPool::fork(&[group], MACHINE).unwrap();
    let victim = pool.workers().next().unwrap();
    kill_process(pid(victim.pid), Signal::TERM).unwrap();
    pool.release(RUN);
    let runs = pool.collect(PATIENCE).remove(0);
    assert_eq!(runs[0].end, WorkerEnd::Killed { signal: 15 });
    assert_eq!(runs[0].iterations, 0);
    assert!(runs[1].report().is_some());
}

#[test]
fn a_worker_that_does_not_end_is_killed_after_the_grace() {
    const GRACE: Duration = Duration::from_secs(4);
    let _alone = alone();
    let group = WorkerGroup::of(WorkType::Spin, 2);
    let (pool, _) = working(&[group]);
    let victim = pool.workers().next().unwrap();
    kill_process(pid(victim.pid), Signal::STOP).unwrap();
    // The other one has the grace to be given a CPU.
    let runs = pool.collect(GRACE).remove(0);
    match &runs[0].end {
        WorkerEnd::Stuck {
            silent_ns,
            last_cpu,
            ..
        } => {
            assert!(Duration::from_nanos(*silent_ns) > GRACE, "{silent_ns}");
            assert!(last_cpu.is_some());
        }
        end => panic!("{end}"),
    }
    assert!(runs[1].report().is_some());
    assert!(test_kill_process(pid(victim.pid)).is_err());
}

#[test]
fn a_dropped_pool_leaves_no_process() {
    let _alone = alone();
    let group = WorkerGroup::of(WorkType::Spin, 3);
    for released in [false, true] {
        let mut pool = WorkerPool::fork(&[group], MACHINE).unwrap();
        if released {
            pool.release(LONG);
        }
        let pids: Vec<_> = pool.workers().map(|id| pid(id.pid)).collect();
        drop(pool);
        assert!(pids.iter().all(|pid| test_kill_process(*pid).is_err()));
    }
}

#[test]
fn workers_do_not_outlive_who_made_them() {
    let _alone = alone();
    // The kernel sends the signal when the thread that forked ends.
    let pids: Vec<Pid> = std::thread::spawn(|| {
        let group = WorkerGroup::of(WorkType::Spin, 2);
        let mut pool = WorkerPool::fork(&[group], MACHINE).unwrap();
        pool.release(LONG);
        let pids = pool.workers().map(|id| pid(id.pid)).collect();
        std::mem::forget(pool);
        pids
    })
    .join()
    .unwrap();
    for pid in pids {
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.terminating_signal(), Some(9));
    }
}

#[test]
fn nice_reaches_the_group_only() {
    let _alone = alone();
    let group = WorkerGroup::of(WorkType::Spin, 1);
    let pool = WorkerPool::fork(&[group, group], MACHINE).unwrap();
    pool.set_nice(1, 7).unwrap();
    let nice: Vec<i32> = pool
        .workers()
        .map(|id| getpriority_process(Some(pid(id.pid))).unwrap())
        .collect();
    assert_eq!(nice[1], 7);
    assert_ne!(nice[0], 7);
}

#[test]
fn a_pool_that_is_never_released_ends_at_once() {
    let _alone = alone();
    let group = WorkerGroup::of(WorkType::bursty(), 2);
    // Their time is over as it begins: one look at the clock each.
    let runs = WorkerPool::fork(&[group], MACHINE)
        .unwrap()
        .collect(PATIENCE)
        .remove(0);
    assert!(runs.iter().all(|run| run.report().is_some()));
    let ran = |run: &WorkerRun| run.report().is_some_and(|report| report.iterations > 1);
    assert!(!runs.iter().any(ran), "{runs:?}");
}

#[test]
fn too_many_are_refused() {
    let group = WorkerGroup::of(WorkType::Spin, WorkerPool::MAX_WORKERS);
    let error = WorkerPool::fork(&[group, group], MACHINE).unwrap_err();
    assert!(matches!(error, WorkloadError::TooMany(8192)), "{error}");
}
