//! What each work type measures. No cgroups: these run on any Linux, some of them as root alone.

use std::collections::BTreeSet;
use std::time::Duration;

use ktstr_harness::workload::{
    CustomWorker, MemoryPolicy, WorkType, WorkerEnd, WorkerGroup, WorkerPool, WorkerReport,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

#[path = "support/pool.rs"]
mod pool;
use pool::{PATIENCE, alone, machine, run, run_group, run_privileged};

fn all(is: impl Fn(&WorkerReport) -> bool) -> impl Fn(&[WorkerReport]) -> bool {
    move |reports| reports.iter().all(&is)
}

/// How often something was counted that is said to be.
fn count(report: &WorkerReport, name: &str) -> u64 {
    *report
        .counts
        .get(name)
        .unwrap_or_else(|| panic!("no {name} in {report:?}"))
}

/// Workers of a team that take turns are at most one turn apart.
fn in_step(reports: &[WorkerReport]) {
    let turns = reports.iter().map(|report| report.iterations);
    let (least, most) = (turns.clone().min().unwrap(), turns.max().unwrap());
    assert!(most - least <= 1, "{reports:?}");
}

#[test]
fn alu_hot_counts_its_units_and_never_sleeps() {
    let reports = run(
        WorkType::AluHot { work_units: 7 },
        2,
        all(|it| it.iterations > 3),
    );
    for report in reports {
        assert_eq!(
            (report.work_units, report.wake.count),
            (7 * report.iterations, 0)
        );
    }
}

#[test]
fn rings_of_a_wake_chain_go_round_each_for_itself() {
    let reports = run(WorkType::wake_chain(), 8, |reports| {
        let has_woken = |ring: &[WorkerReport]| ring.iter().any(|it| it.wake.count > 0);
        reports.chunks(4).all(has_woken)
    });
    reports.chunks(4).for_each(in_step);
    for report in reports {
        assert_eq!(report.work_units, 4 * report.iterations);
        assert!(report.wake.count <= report.iterations);
    }
}

#[test]
fn every_receiver_of_a_fan_out_does_every_round() {
    let reports = run(WorkType::fan_out(), 8, |reports| {
        let has_woken = |team: &[WorkerReport]| team.iter().all(|it| it.wake.count > 0);
        reports.chunks(4).all(has_woken)
    });
    for team in reports.chunks(4) {
        in_step(team);
        assert_eq!(team[1].work_units, 4 * team[1].iterations);
    }
}

#[test]
fn messages_arrive_whole_by_pipe_and_by_socket() {
    for work in [
        WorkType::PipeIo { bytes: 16_384 },
        WorkType::pipe_io(),
        WorkType::socket_traffic(),
        WorkType::SocketTraffic { bytes: 16_384 },
    ] {
        let (WorkType::PipeIo { bytes } | WorkType::SocketTraffic { bytes }) = work else {
            unreachable!()
        };
        let reports = run(work, 4, all(|it| it.wake.count > 0));
        reports.chunks(2).for_each(in_step);
        for report in reports {
            assert_eq!(
                count(&report, "bytes"),
                report.iterations * u64::from(bytes)
            );
        }
    }
}

#[test]
fn each_iteration_of_fork_exit_is_a_child_that_ran() {
    for report in run(WorkType::fork_exit(), 2, all(|it| it.iterations > 2)) {
        assert_eq!(count(&report, "children"), report.iterations);
        assert_eq!(report.wake.count, report.iterations);
    }
}

#[test]
fn affinity_churn_is_seen_on_every_cpu() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cpus = allowed.count() as usize;
    let reports = run(
        WorkType::affinity_churn(),
        2,
        all(|it| it.cpus().len() == cpus),
    );
    for report in reports {
        assert_eq!(count(&report, "affinity_changes"), report.iterations);
        assert_eq!(report.wake.count, report.iterations);
        // Each iteration ends where the worker was pinned to.
        if cpus > 1 {
            assert_eq!(report.migrations + 1, report.iterations);
        }
    }
}

#[test]
fn nice_and_policy_churn_change_with_every_iteration() {
    for (work, what) in [
        (WorkType::nice_churn(), "nice_changes"),
        (WorkType::policy_churn(), "policy_changes"),
    ] {
        // Once round and further.
        let reports = run_privileged(work, 2, all(|it| it.iterations > 7));
        for report in reports.into_iter().flatten() {
            assert_eq!(count(&report, what), report.iterations);
        }
    }
}

/// The CPU that all of these ran on.
fn one_cpu(reports: &[WorkerReport]) -> u32 {
    let cpus: BTreeSet<u32> = reports
        .iter()
        .flat_map(|it| it.cpus().iter().collect::<Vec<_>>())
        .collect();
    assert_eq!(cpus.len(), 1, "{reports:?}");
    *cpus.first().unwrap()
}

#[test]
fn a_preempt_storm_is_on_one_cpu() {
    let reports = run_privileged(WorkType::preempt_storm(), 2, all(|it| it.iterations > 3));
    let Some([spinner, storm]) = reports.as_deref() else {
        return;
    };
    one_cpu(&[spinner.clone(), storm.clone()]);
    assert_eq!((spinner.wake.count, count(spinner, "preemptions")), (0, 0));
    assert_eq!(count(storm, "preemptions"), storm.iterations);
    assert!(storm.wake.count >= storm.iterations);
}

#[test]
fn the_starved_one_has_gaps_as_long_as_the_bursts() {
    let busy = Duration::from_millis(40);
    let work = WorkType::RtStarvation {
        busy,
        sleep: Duration::from_millis(10),
    };
    // The kernel may give ordinary tasks some of a burst.
    let is_starved = |reports: &[WorkerReport]| {
        Duration::from_nanos(reports[0].max_gap_ns) >= busy / 2 && count(&reports[1], "bursts") > 1
    };
    let Some(reports) = run_privileged(work, 2, is_starved) else {
        return;
    };
    one_cpu(&reports);
    assert!(reports[1].wake.count >= count(&reports[1], "bursts"));
}

#[test]
fn only_a_lock_that_inherits_boosts_its_holder() {
    for inherit in [false, true] {
        let work = WorkType::priority_inversion(inherit);
        let is_enough = |reports: &[WorkerReport]| {
            let waited = count(&reports[2], "contended") > 1 && reports[2].wake.count > 1;
            waited && (!inherit || count(&reports[0], "boosted") > 0)
        };
        let Some(reports) = run_privileged(work, 3, is_enough) else {
            return;
        };
        one_cpu(&reports);
        let boosted = count(&reports[0], "boosted");
        assert_eq!(boosted > 0, inherit, "{reports:?}");
        assert!(boosted <= count(&reports[0], "contended"));
        assert_eq!(reports[2].wake.count, count(&reports[2], "contended"));
    }
}

#[test]
fn a_contended_mutex_lets_all_have_turns() {
    let reports = run(WorkType::mutex_contention(), 3, |reports| {
        let contended = |it: &WorkerReport| count(it, "contended");
        reports.iter().map(contended).sum::<u64>() > 0 && reports.iter().all(|it| it.iterations > 0)
    });
    for report in reports {
        assert_eq!(report.work_units, 32 * report.iterations);
        assert_eq!(report.wake.count, count(&report, "contended"));
    }
}

#[test]
fn memory_is_touched_as_often_as_is_said() {
    for report in run(WorkType::cache_pressure(), 1, all(|it| it.iterations > 3)) {
        assert_eq!(count(&report, "cache_lines"), 1024 * report.iterations);
        assert_eq!(report.work_units, report.iterations);
    }
    for report in run(WorkType::page_faults(), 1, all(|it| it.iterations > 3)) {
        assert!(
            count(&report, "page_faults") >= 64 * report.iterations,
            "{report:?}"
        );
    }
}

#[test]
fn a_numa_sweep_on_one_node_stays_there() {
    let work = WorkType::NumaSweep {
        dwell: Duration::from_millis(1),
    };
    for report in run(work, 2, all(|it| count(it, "node_changes") > 2)) {
        assert_eq!(
            (report.node_residence.len(), report.node_migrations),
            (1, 0)
        );
        assert_eq!(report.wake.count, count(&report, "node_changes"));
    }
}

#[test]
fn every_period_of_a_timer_is_a_wake_up_or_missed() {
    for report in run(WorkType::timer_wake(), 2, all(|it| it.iterations > 20)) {
        assert!(report.wake.count >= report.iterations);
        let periods = report.iterations + count(&report, "missed_periods");
        let elapsed = Duration::from_nanos(report.wall_ns).as_millis() as u64;
        assert!(periods <= elapsed + 1, "{report:?}");
    }
}

/// The first worker wakes the others, in turn.
fn round_robin(worker: &mut CustomWorker<'_, '_>) {
    let mut turn = 0;
    loop {
        if worker.number() > 0 {
            if !worker.wait() {
                return;
            }
        } else if worker.sleep(Duration::from_millis(1)) {
            turn = turn % (worker.workers() - 1) + 1;
            worker.wake(turn);
        } else {
            return;
        }
        worker.work(2);
        if !worker.iteration(2) {
            return;
        }
    }
}

#[test]
fn a_custom_function_is_measured_as_any_other() {
    let reports = run(
        WorkType::Custom(round_robin),
        3,
        all(|it| it.wake.count > 1),
    );
    assert!(reports.iter().all(|it| it.work_units == 2 * it.iterations));
    let others = reports[1].iterations + reports[2].iterations;
    assert!(others <= reports[0].iterations, "{reports:?}");
}

#[test]
fn a_custom_function_that_panics_is_told_from_the_others() {
    fn panics(worker: &mut CustomWorker<'_, '_>) {
        assert!(worker.number() > 0, "on purpose");
        while worker.iteration(1) {}
    }
    let _alone = alone();
    let group = WorkerGroup::of(WorkType::Custom(panics), 2);
    let mut pool = WorkerPool::fork(&[group], machine()).unwrap();
    pool.release(Duration::from_millis(50));
    let runs = pool.collect(PATIENCE).remove(0);
    assert_eq!(runs[0].end, WorkerEnd::Exited { status: 101 });
    assert!(runs[1].report().is_some());
}

#[test]
fn threads_do_what_processes_do_in_one_process() {
    for (work, workers) in [
        (WorkType::Spin, 3),
        (WorkType::FutexPingPong, 4),
        (WorkType::pipe_io(), 4),
        (WorkType::mutex_contention(), 3),
        (WorkType::fork_exit(), 2),
    ] {
        let group = WorkerGroup {
            threads: true,
            ..WorkerGroup::of(work, workers)
        };
        let reports = run_group(group, all(|it| it.iterations > 3));
        let reports = reports.unwrap_or_else(|end| panic!("{work:?}: a worker {end}"));
        assert_eq!(reports.len(), workers);
    }
    let _alone = alone();
    let group = WorkerGroup {
        threads: true,
        ..WorkerGroup::of(WorkType::Spin, 3)
    };
    let pool = WorkerPool::fork(&[group], machine()).unwrap();
    let ids: BTreeSet<u32> = pool.workers().map(|id| id.pid).collect();
    let process = pool.workers().next().unwrap().pid;
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let tasks: BTreeSet<u32> = tasks
        .map(|task| {
            task.unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert_eq!((ids.len(), &ids), (3, &tasks));
    drop(pool);
    let process = Pid::from_raw(process.cast_signed()).unwrap();
    assert!(test_kill_process(process).is_err());
}

#[test]
fn threads_die_together_and_are_all_told() {
    let _alone = alone();
    let group = WorkerGroup {
        threads: true,
        ..WorkerGroup::of(WorkType::Spin, 2)
    };
    let mut pool =
        WorkerPool::fork(&[group, WorkerGroup::of(WorkType::Spin, 1)], machine()).unwrap();
    pool.release(Duration::from_secs(1));
    let victim = pool.workers().nth(1).unwrap().pid;
    kill_process(Pid::from_raw(victim.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let runs = pool.collect(PATIENCE);
    let killed = runs[0]
        .iter()
        .all(|run| run.end == WorkerEnd::Killed { signal: 9 });
    assert!(killed && runs[1][0].report().is_some(), "{runs:?}");
}

#[test]
fn what_the_kernel_refuses_a_worker_is_how_it_ended() {
    let group = WorkerGroup {
        // The last node that a machine may have.
        memory: Some(MemoryPolicy::Bind(63)),
        ..WorkerGroup::of(WorkType::Spin, 2)
    };
    let end = run_group(group, |_| true).unwrap_err();
    let WorkerEnd::Refused { call, .. } = *end else {
        panic!("{end}")
    };
    assert_eq!(call, "set_mempolicy");
    let near = WorkerGroup {
        memory: Some(MemoryPolicy::Bind(0)),
        ..group
    };
    match run_group(near, all(|it| it.iterations > 0)) {
        Ok(reports) => {
            let nodes =
                |it: &WorkerReport| it.pages.as_ref().is_none_or(|pages| pages.keys().eq([&0]));
            assert!(reports.iter().all(nodes), "{reports:?}");
        }
        // A kernel without CONFIG_NUMA.
        Err(end) => assert!(
            matches!(
                *end,
                WorkerEnd::Refused {
                    errno: libc::ENOSYS,
                    ..
                }
            ),
            "{end}"
        ),
    }
}

#[test]
fn a_storm_between_cgroups_needs_some() {
    let group = WorkerGroup::of(WorkType::cgroup_attach_storm(), 1);
    let error = WorkerPool::fork(&[group], machine())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("work type cgroup_attach_storm: it needs a cgroup"),
        "{error}"
    );
}
