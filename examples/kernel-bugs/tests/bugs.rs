//! Bugs that Linux's schedulers had. Each test passes on a kernel without its bug; `patches/` puts the bugs back.
//!
//! The last one is still in 6.12.117, and its patch mends it: the test runs only when asked for, `--run-ignored all`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kernel_bugs::{cgroup_line, cgroup_value, effective_clamps, processes, runqueue};
use ktstr_harness::prelude::*;

ktstr_harness::main!();

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const SHORT: Hold = Hold::For(ms(200));

/// A cgroup that may save up quota still may when it gets more of it: `49217ea147df`.
#[ktstr_test(cores = 2, duration_s = 2)]
fn burst_outlives_a_new_quota(ctx: &Ctx) -> Result<AssertResult> {
    let burst_is_20_ms = || match cgroup_line("web", "cpu.max.burst")?.as_str() {
        "20000" => Ok(()),
        us => Err(format!(
            "cpu.max.burst of cgroup web is {us} us, expected 20000 us"
        )),
    };
    execute_steps(
        ctx,
        &[
            Step::new("limited")
                .setup(ctx.cgroup_def("web").work(WorkType::bursty()))
                .op(Op::set_quota("web", ms(40), ms(100)))
                .op(Op::set_burst("web", ms(20)))
                .op(Op::call("burst as set", burst_is_20_ms))
                .hold(SHORT),
            Step::new("more quota")
                .op(Op::set_quota("web", ms(60), ms(100)))
                .op(Op::call("burst as before", burst_is_20_ms))
                .hold(SHORT),
            Step::new("no quota")
                .op(Op::clear_quota("web"))
                .op(Op::call("burst as before", burst_is_20_ms))
                .hold(SHORT),
        ],
    )
}

/// Workers that ask for more utilization than their cgroup may have get what it may have: `0213b7083e81`.
///
/// Real-time tasks ask for all of a CPU by themselves (`sched_util_clamp_min_rt_default`).
#[ktstr_test(cores = 2, duration_s = 2)]
fn clamps_of_a_cgroup_bound_those_of_its_workers(ctx: &Ctx) -> Result<AssertResult> {
    let clamps_are_a_range = || {
        let workers = processes("capped")?;
        if workers.is_empty() {
            return Err("cgroup capped has no workers".to_owned());
        }
        for pid in workers {
            let clamps = effective_clamps(pid)?;
            if clamps.min > clamps.max {
                return Err(format!(
                    "worker {pid} of cgroup capped is clamped to at least {} and at most {} of 1024, expected a range",
                    clamps.min, clamps.max
                ));
            }
        }
        Ok(())
    };
    let check = || Op::call("clamps are a range", clamps_are_a_range);
    execute_steps(
        ctx,
        &[
            Step::new("fair")
                .setup(ctx.cgroup_def("capped").work(WorkType::mixed()))
                .op(Op::set_uclamp("capped", 0, 30))
                .op(check())
                .hold(SHORT),
            Step::new("real time")
                .op(Op::set_policy("capped", Policy::Fifo(1)))
                .op(check())
                .hold(SHORT),
            Step::new("more for the cgroup")
                .op(Op::set_uclamp("capped", 10, 60))
                .op(check())
                .hold(SHORT),
            Step::new("fair again")
                .op(Op::set_policy("capped", Policy::Other))
                .op(check())
                .hold(SHORT),
        ],
    )
}

/// A CPU counts the task that runs on it, also while a cgroup that went to sleep is still queued: `3429dd57f0de`.
///
/// Beside such a neighbour the sleeper has had more than its share whenever it goes to sleep. Its cgroup then stays
/// queued, without a task, until it is owed nothing.
#[ktstr_test(cores = 2, duration_s = 6)]
fn a_sleeping_cgroup_is_counted_once(ctx: &Ctx) -> Result<AssertResult> {
    let on_cpu_1 = |name| {
        let cpu = CpusetSpec::Range(1..=1);
        ctx.cgroup_def(name).workers(1).cpuset(cpu)
    };
    let request = WorkType::Mixed {
        work_units: 1,
        sleep: ms(100),
    };
    execute_steps(
        ctx,
        &[
            Step::new("sleeper alone")
                .setup(on_cpu_1("sleeper").work(request))
                .hold(SHORT),
            Step::new("heavy neighbour")
                .setup(on_cpu_1("hog").weight(10_000))
                .op(Op::call("watch the runqueue", the_runqueue_adds_up))
                .hold(SHORT),
        ],
    )
}

/// Looks at the runqueue of CPU 1 until a cgroup without a task is queued there, and some more times.
fn the_runqueue_adds_up() -> Result<(), String> {
    const LIMIT: Duration = Duration::from_secs(20);
    let begin = Instant::now();
    let mut seen = 0;
    while seen < 3 {
        if let (Some(hog), Some(cpu)) = (runqueue(1, "/hog")?, runqueue(1, "/")?) {
            if cpu.runnable < hog.runnable {
                return Err(format!(
                    "CPU 1 counts {} runnable and {} delayed of {} queued tasks, expected {} runnable at least: cgroup \
                     hog runs",
                    cpu.runnable, cpu.delayed, cpu.queued, hog.runnable
                ));
            }
            seen += usize::from(cpu.entities > cpu.queued);
        }
        if begin.elapsed() > LIMIT {
            return Err(format!(
                "no cgroup was queued without a task on CPU 1 within {LIMIT:?}"
            ));
        }
    }
    Ok(())
}

/// A quota holds while CPUs come and go: `af98d8a36a96`.
///
/// The cgroup has 10 ms of CPU time in a second, and uses it up at once. What it runs beyond that, on a machine of any
/// speed, it owes: until the next period at least it must not run again.
#[ktstr_test(cores = 3, duration_s = 4, ignore)]
fn a_quota_holds_while_cpus_come_and_go(ctx: &Ctx) -> Result<AssertResult> {
    execute_steps(
        ctx,
        &[
            Step::new("throttled")
                .setup(
                    ctx.cgroup_def("limited")
                        .workers(1)
                        .cpuset(CpusetSpec::Range(1..=1)),
                )
                .op(Op::set_quota("limited", ms(10), ms(1000)))
                .hold(SHORT),
            Step::new("hotplug")
                .op(Op::offline(2))
                .op(Op::online(2))
                .op(Op::call("watch the quota", the_quota_holds))
                .hold(Hold::Repeat {
                    every: ms(20),
                    share: 0.9,
                }),
            // Its worker ends at once, and not when it has paid what it owes.
            Step::new("free").op(Op::clear_quota("limited")).hold(SHORT),
        ],
    )
}

/// Counts how often the cgroup ran since the call before, against the periods that went by since the first call.
fn the_quota_holds() -> Result<(), String> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    static RAN: AtomicU64 = AtomicU64::new(0);
    static USAGE_US: AtomicU64 = AtomicU64::new(0);
    static FIRST_PERIOD: AtomicU64 = AtomicU64::new(0);
    let usage_us = cgroup_value("limited", "cpu.stat", "usage_usec")?;
    let period = cgroup_value("limited", "cpu.stat", "nr_periods")?;
    let ran_now = u64::from(usage_us > USAGE_US.swap(usage_us, Relaxed));
    let calls = CALLS.fetch_add(1, Relaxed);
    if calls == 0 {
        FIRST_PERIOD.store(period, Relaxed);
        return Ok(());
    }
    let ran = RAN.fetch_add(ran_now, Relaxed) + ran_now;
    let periods = period - FIRST_PERIOD.load(Relaxed);
    // 10 ms may go on from one call to the next.
    let most = 2 * (periods + 1);
    if ran > most {
        return Err(format!(
            "cgroup limited ran between {ran} of {calls} pairs of calls while {periods} periods of its quota began, \
             expected {most} at most"
        ));
    }
    Ok(())
}
