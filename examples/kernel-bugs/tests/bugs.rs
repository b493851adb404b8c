//! Bugs that Linux's schedulers had. Each test passes on a kernel without its bug; `patches/` puts the bugs back.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use kernel_bugs::{cgroup_line, effective_clamps, processes, runqueue};
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
        for pid in processes("capped")? {
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
/// The sleeper has had more than its share whenever it goes to sleep beside such a neighbour. Its cgroup then stays
/// queued, without a task, until it is owed nothing.
#[ktstr_test(cores = 2, duration_s = 3)]
fn a_sleeping_cgroup_is_counted_once(ctx: &Ctx) -> Result<AssertResult> {
    /// How often the sleeper's cgroup was queued without a task.
    static DELAYED: AtomicUsize = AtomicUsize::new(0);
    let runqueue_adds_up = || {
        let (Some(hog), Some(cpu)) = (runqueue(1, "/hog")?, runqueue(1, "/")?) else {
            return Ok(());
        };
        if cpu.entities == 2 && cpu.queued == 1 {
            DELAYED.fetch_add(1, Relaxed);
        }
        if hog.runnable == 1 && cpu.runnable < 1 {
            return Err(format!(
                "CPU 1 runs the worker of cgroup hog and counts {} runnable and {} delayed of {} queued tasks, expected \
                 1 and 0 of 1",
                cpu.runnable, cpu.delayed, cpu.queued
            ));
        }
        Ok(())
    };
    let on_cpu_1 = |name| {
        ctx.cgroup_def(name)
            .workers(1)
            .cpuset(CpusetSpec::Range(1..=1))
    };
    let mut result = execute_steps(
        ctx,
        &[Step::new("beside a heavy neighbour")
            .setup(on_cpu_1("hog").weight(10_000))
            .setup(on_cpu_1("sleeper").work(WorkType::Bursty {
                busy: ms(1),
                sleep: ms(100),
            }))
            .op(Op::call("the runqueue adds up", runqueue_adds_up))
            .hold(Hold::Repeat {
                every: ms(20),
                share: 1.0,
            })],
    )?;
    let seen = DELAYED.load(Relaxed);
    result
        .metrics
        .insert("delayed_seen".to_owned(), seen as f64);
    if seen == 0 {
        let message =
            "no cgroup was seen that is queued without a task: the scenario did not get there";
        result
            .verdict
            .record(Outcome::Inconclusive, "delayed_seen", message);
    }
    Ok(result)
}
