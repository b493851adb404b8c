//! Worker processes of every work type, and workers that fail. No cgroups: these run on any Linux.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ktstr_core::Topology;
use ktstr_harness::workload::{
    Crew, Squad, WorkType, WorkerEnd, WorkerReport, WorkerRun, WorkloadError,
};
use rustix::process::{
    Pid, Signal, WaitOptions, getpriority_process, kill_process, test_kill_process, waitpid,
};

/// Where workers are does not matter here.
const MACHINE: Topology = Topology::constant(1, 1, 2, 1);

const RUN: Duration = Duration::from_millis(250);

/// Crews measure time: one after the other, even where tests are threads of one process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(work: WorkType, workers: usize) -> Vec<WorkerReport> {
    let _alone = alone();
    let mut crew = Crew::fork(&[Squad { work, workers }], MACHINE).unwrap();
    crew.release(RUN);
    let runs = crew.collect(Crew::GRACE).remove(0);
    assert_eq!(runs.len(), workers);
    runs.into_iter().map(reported).collect()
}

fn reported(run: WorkerRun) -> WorkerReport {
    let report = match run.end {
        WorkerEnd::Reported(report) => report,
        end => panic!("worker {} {end}", run.worker),
    };
    assert_eq!(run.iterations, report.iterations);
    assert!(report.iterations > 0 && report.work_units >= report.iterations);
    assert!(Duration::from_nanos(report.wall_ns) >= RUN, "{report:?}");
    assert!(report.cpu_ns > 0, "{report:?}");
    // Accounting may be a tick or so ahead of the wall clock.
    assert!(report.cpu_ns < report.wall_ns + 20_000_000, "{report:?}");
    assert!(report.max_gap_ns > 0 && report.max_gap_ns <= report.wall_ns);
    assert_eq!(
        report.residence.values().sum::<u64>(),
        report.iterations,
        "{report:?}"
    );
    assert!(report.migrations < report.iterations);
    assert!(report.residence.contains_key(&report.max_gap_cpu));
    report
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(raw.cast_signed()).unwrap()
}

#[test]
fn spin_uses_its_cpus() {
    let spinning = run(WorkType::Spin, 2);
    let cpu_ns: u64 = spinning.iter().map(|report| report.cpu_ns).sum();
    // Of two workers on a busy machine: at least a quarter of one CPU.
    assert!(u128::from(cpu_ns) > RUN.as_nanos() / 4, "{spinning:?}");
    assert!(spinning.iter().all(|report| report.wake.count == 0));
}

#[test]
fn yield_goes_through_the_scheduler_often() {
    let yielding = run(WorkType::Yield, 2);
    assert!(yielding.iter().all(|r| r.iterations > 100), "{yielding:?}");
}

#[test]
fn ping_pong_takes_turns_and_measures_wake_ups() {
    let playing = run(WorkType::FutexPingPong, 4);
    for pair in playing.chunks(2) {
        assert!(
            pair[0].iterations.abs_diff(pair[1].iterations) <= 1,
            "{pair:?}"
        );
        assert!(pair.iter().any(|report| report.wake.count > 0), "{pair:?}");
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
        for report in run(work, 2) {
            assert!(report.wake.count > 3, "{work:?} {report:?}");
            assert!(
                report.cpu_ns < report.wall_ns * 3 / 4,
                "{work:?} {report:?}"
            );
        }
    }
}

#[test]
fn a_sleep_beyond_the_end_is_cut_short() {
    let _alone = alone();
    let work = WorkType::Mixed {
        work_units: 1,
        sleep: Duration::from_secs(60),
    };
    let mut crew = Crew::fork(&[Squad { work, workers: 1 }], MACHINE).unwrap();
    let start = Instant::now();
    crew.release(RUN);
    let report = reported(crew.collect(Crew::GRACE).remove(0).remove(0));
    assert_eq!((report.iterations, report.wake.count), (1, 0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_killed_worker_is_told_from_the_others_and_holds_nobody_up() {
    let _alone = alone();
    let squads = [
        Squad {
            work: WorkType::FutexPingPong,
            workers: 2,
        },
        Squad {
            work: WorkType::Spin,
            workers: 1,
        },
    ];
    let mut crew = Crew::fork(&squads, MACHINE).unwrap();
    crew.release(RUN);
    std::thread::sleep(RUN / 4);
    let victim = crew.workers().nth(1).unwrap();
    assert_eq!((victim.squad, victim.worker), (0, 1));
    kill_process(pid(victim.pid), Signal::KILL).unwrap();
    let start = Instant::now();
    let mut runs = crew.collect(Crew::GRACE);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(runs[0][1].end, WorkerEnd::Killed { signal: 9 });
    assert_eq!(runs[0][1].pid, victim.pid);
    reported(runs[0].remove(0));
    reported(runs[1].remove(0));
}

#[test]
fn a_worker_killed_before_the_release_is_found() {
    let _alone = alone();
    let squad = Squad {
        work: WorkType::Spin,
        workers: 2,
    };
    let mut crew = Crew::fork(&[squad], MACHINE).unwrap();
    let victim = crew.workers().next().unwrap();
    kill_process(pid(victim.pid), Signal::TERM).unwrap();
    crew.release(RUN);
    let runs = crew.collect(Crew::GRACE).remove(0);
    assert_eq!(runs[0].end, WorkerEnd::Killed { signal: 15 });
    assert_eq!(runs[0].iterations, 0);
    assert!(runs[1].report().is_some());
}

#[test]
fn a_worker_that_does_not_end_is_killed_after_the_grace() {
    let _alone = alone();
    let squad = Squad {
        work: WorkType::Spin,
        workers: 2,
    };
    let mut crew = Crew::fork(&[squad], MACHINE).unwrap();
    crew.release(RUN);
    std::thread::sleep(RUN / 4);
    let victim = crew.workers().next().unwrap();
    kill_process(pid(victim.pid), Signal::STOP).unwrap();
    let runs = crew.collect(Duration::from_millis(200)).remove(0);
    match &runs[0].end {
        WorkerEnd::Stuck {
            silent_ns,
            last_cpu,
            ..
        } => {
            assert!(*silent_ns > 200_000_000, "{silent_ns}");
            assert!(last_cpu.is_some());
        }
        end => panic!("{end}"),
    }
    assert!(runs[1].report().is_some());
    assert!(test_kill_process(pid(victim.pid)).is_err());
}

#[test]
fn a_dropped_crew_leaves_no_process() {
    let _alone = alone();
    let squad = Squad {
        work: WorkType::Spin,
        workers: 3,
    };
    for released in [false, true] {
        let mut crew = Crew::fork(&[squad], MACHINE).unwrap();
        if released {
            crew.release(Duration::from_secs(60));
        }
        let pids: Vec<_> = crew.workers().map(|id| pid(id.pid)).collect();
        drop(crew);
        assert!(pids.iter().all(|pid| test_kill_process(*pid).is_err()));
    }
}

#[test]
fn workers_do_not_outlive_who_made_them() {
    let _alone = alone();
    // The kernel sends the signal when the thread that forked ends.
    let pids: Vec<Pid> = std::thread::spawn(|| {
        let squad = Squad {
            work: WorkType::Spin,
            workers: 2,
        };
        let mut crew = Crew::fork(&[squad], MACHINE).unwrap();
        crew.release(Duration::from_secs(60));
        let pids = crew.workers().map(|id| pid(id.pid)).collect();
        std::mem::forget(crew);
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
fn nice_reaches_the_squad_only() {
    let _alone = alone();
    let squad = Squad {
        work: WorkType::Spin,
        workers: 1,
    };
    let crew = Crew::fork(&[squad, squad], MACHINE).unwrap();
    crew.set_nice(1, 7).unwrap();
    let nice: Vec<i32> = crew
        .workers()
        .map(|id| getpriority_process(Some(pid(id.pid))).unwrap())
        .collect();
    assert_eq!(nice[1], 7);
    assert_ne!(nice[0], 7);
}

#[test]
fn a_crew_that_is_never_released_ends_at_once() {
    let _alone = alone();
    let squad = Squad {
        work: WorkType::bursty(),
        workers: 2,
    };
    let start = Instant::now();
    let runs = Crew::fork(&[squad], MACHINE)
        .unwrap()
        .collect(Crew::GRACE)
        .remove(0);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(runs.iter().all(|run| run.report().is_some()));
}

#[test]
fn too_many_are_refused() {
    let squad = Squad {
        work: WorkType::Spin,
        workers: Crew::MAX_WORKERS,
    };
    let error = Crew::fork(&[squad, squad], MACHINE).unwrap_err();
    assert!(matches!(error, WorkloadError::TooMany(8192)), "{error}");
}
