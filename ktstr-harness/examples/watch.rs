//! Tests that watch the scheduler; `tests/watch.rs` runs them one by one and says what must come of each.

use std::fs;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use ktstr_harness::prelude::*;
use ktstr_harness::trace::{Event, Report, Rule, Watch, What};

ktstr_harness::main!();

const TRACING: &str = "/sys/kernel/tracing";

/// Emulated machines stand still for tenths of a second.
const SOON: Duration = Duration::from_secs(5);

fn woken(event: &Event) -> Option<i64> {
    match event.what {
        What::Wakeup { task, .. } => Some(task.pid.into()),
        _ => None,
    }
}

fn runs(event: &Event) -> Option<i64> {
    match event.what {
        What::Switch { next, .. } => Some(next.pid.into()),
        _ => None,
    }
}

/// An error where something of a watch is left in the kernel.
fn nothing_is_left() -> Result<()> {
    let instances: Vec<_> = fs::read_dir(format!("{TRACING}/instances"))?.collect();
    let events = fs::read_to_string(format!("{TRACING}/dynamic_events"))?;
    if !instances.is_empty() || events.contains("ktstr_watch") {
        return Err(format!("left: {instances:?}, {events}").into());
    }
    Ok(())
}

/// Switches, wake-ups and calls of a function with fields, judged by all kinds of rules.
#[ktstr_test(cores = 2, duration_s = 2)]
fn all_kinds_of_rules(ctx: &Ctx) -> Result<AssertResult> {
    let enqueue = Watch::function("enqueue_task_fair")
        .field("p->pid")
        .field("p->se.vruntime");
    let watching = Watch::scheduler()
        .with_migrations()
        .with_function(enqueue)
        .with_function(
            Watch::function("dequeue_task_fair")
                .field("$retval")
                .at_return(),
        )
        .rule(Rule::never("negative_pid", |event| {
            woken(event) < Some(0) && woken(event).is_some()
        }))
        .rule(Rule::always(
            "a_real_task_is_enqueued",
            |event| matches!(event.what, What::Call(call) if call.function == 0),
            |event| matches!(event.what, What::Call(call) if call.values()[0] > 0),
        ))
        .rule(Rule::within("runs_soon", SOON, woken, runs))
        .rule(Rule::count("enqueued", |event| matches!(event.what, What::Call(_))).at_least(10))
        .rule(Rule::max("largest_pid", runs).at_most(1 << 22))
        .max_wasted(SOON)
        .max_wake_to_run(SOON)
        .start(ctx)?;
    let work = [
        ctx.cgroup_def("sleepers")
            .workers(4)
            .work(WorkType::mixed()),
        ctx.cgroup_def("spinners").workers(2),
    ];
    let mut result = execute_defs(ctx, &work)?;
    let report = watching.finish()?;
    nothing_is_left()?;
    println!("{}", figures(&report));
    let counts = report.counts();
    assert!(
        counts.switches > 0 && counts.wakeups > 0 && counts.calls > 0 && counts.lost == 0,
        "{counts:?}"
    );
    assert!(!report.wake_to_run_by_task().is_empty() && !report.wake_to_run_by_cpu().is_empty());
    result.merge(report.into_result());
    Ok(result)
}

/// A rule that cannot hold fails and shows what happened.
#[ktstr_test(cores = 2, duration_s = 1)]
fn a_broken_rule(ctx: &Ctx) -> Result<AssertResult> {
    let is_ours = |event: &Event| matches!(event.what, What::Switch { next, .. } if next.name().starts_with("a_broken_rule"));
    let watching = Watch::scheduler()
        .rule(Rule::never("no_worker_runs", is_ours))
        .start(ctx)?;
    let mut result = execute_defs(ctx, &[ctx.cgroup_def("a").workers(2)])?;
    result.merge(watching.finish()?.into_result());
    Ok(result)
}

/// What the kernel does not have is an error with the kernel's word.
#[ktstr_test(cores = 2, duration_s = 1)]
fn a_function_that_is_not_there(ctx: &Ctx) -> Result<AssertResult> {
    let no_field = Watch::function("enqueue_task_fair").field("p->no_such_field");
    let error = Watch::scheduler()
        .with_function(no_field)
        .start(ctx)
        .unwrap_err();
    println!("{error}");
    nothing_is_left()?;
    Watch::scheduler()
        .with_function(Watch::function("no_such_function"))
        .start(ctx)?;
    Ok(AssertResult::pass())
}

/// The keys: init watches the whole test.
#[ktstr_test(
    cores = 2,
    duration_s = 2,
    max_wasted_ms = 5000.0,
    max_wake_to_run_ms = 0.0
)]
fn a_limit_that_none_keeps(ctx: &Ctx) -> Result<AssertResult> {
    execute_defs(
        ctx,
        &[ctx.cgroup_def("a").workers(2).work(WorkType::mixed())],
    )
}

fn figures(report: &Report) -> String {
    let (counts, wall) = (report.counts(), report.wall().as_secs_f64());
    let (kib, fullest) = report.buffers();
    let (looks, tasks) = report.reads();
    format!(
        "{} events, {:.0}/s; {} switches, {:.0}/s; {} lost; reading took {:.2} % of all CPUs; buffers of {kib} KiB, at \
         most {fullest} % full; {looks} looks, {tasks} tasks read; set-up {:.0} ms",
        counts.events,
        counts.events as f64 / wall,
        counts.switches,
        counts.switches as f64 / wall,
        counts.lost,
        report.cost_pct(),
        report.setup_cpu_time().as_secs_f64() * 1e3,
    )
}

/// Pairs of threads that wake each other up through pipes, as fast as they can, on all CPUs for some time; returns
/// round trips per second.
fn ping_pong(pairs: usize, time: Duration) -> io::Result<f64> {
    let mut threads = Vec::new();
    for _ in 0..pairs {
        let (mut to_read, mut to_write) = io::pipe()?;
        let (mut back_read, mut back_write) = io::pipe()?;
        threads.push(thread::spawn(move || -> io::Result<u64> {
            let mut rounds = 0;
            let begin = Instant::now();
            while begin.elapsed() < time {
                to_write.write_all(b"x")?;
                back_read.read_exact(&mut [0])?;
                rounds += 1;
            }
            Ok(rounds)
        }));
        threads.push(thread::spawn(move || -> io::Result<u64> {
            while to_read.read_exact(&mut [0]).is_ok() && back_write.write_all(b"x").is_ok() {}
            Ok(0)
        }));
    }
    let mut rounds = 0;
    for thread in threads {
        rounds += thread.join().expect("no panic")?;
    }
    Ok(rounds as f64 / time.as_secs_f64())
}

/// Figures for the README: what watching costs with 8 spinning and 8 sleeping workers on 8 CPUs, and how many switches
/// it bears. Not part of a run: it judges nothing that depends on the host's speed. What the host takes away counts as
/// CPU time in an emulated machine, so each figure is the least of several.
#[ktstr_test(llcs = 1, cores = 8, duration_s = 24, ignore)]
fn measures_its_cost(ctx: &Ctx) -> Result<AssertResult> {
    let time = Duration::from_millis(700);
    let (mut without, mut with, mut per_round) = (0.0_f64, 0.0_f64, 0.0);
    for _ in 0..3 {
        without = without.max(ping_pong(1, time)?);
        let (rate, report) = watched(ctx, || ping_pong(1, time))?;
        if rate > with {
            with = rate;
            per_round = report.counts().events as f64 / (rate * time.as_secs_f64());
        }
    }
    let event_us = (1e6 / with - 1e6 / without) / per_round;
    println!(
        "one pair: {without:.0} rounds/s without, {with:.0} with a watch; {event_us:.2} us an event, all told"
    );
    for pairs in [1, 4, 16] {
        let (_, report) = watched(ctx, || ping_pong(pairs, time))?;
        println!("{pairs} pairs: {}", figures(&report));
    }
    let work = [
        ctx.cgroup_def("spinners").workers(8),
        ctx.cgroup_def("sleepers")
            .workers(8)
            .work(WorkType::mixed()),
    ];
    thread::scope(|scope| {
        let watches = scope.spawn(|| -> Result<f64> {
            thread::sleep(Duration::from_secs(1));
            let mut least = f64::INFINITY;
            for _ in 0..6 {
                let ((), report) = watched(ctx, || {
                    thread::sleep(Duration::from_secs(2));
                    Ok(())
                })?;
                println!("8 + 8 workers: {}", figures(&report));
                least = least.min(report.cost_pct());
            }
            Ok(least)
        });
        let result = execute_defs(ctx, &work)?;
        let least = watches.join().expect("no panic")?;
        println!("8 + 8 workers: reading took {least:.2} % of all CPUs");
        Ok(result)
    })
}

/// What `act` gives, and what a watch sees meanwhile.
fn watched<T>(ctx: &Ctx, act: impl FnOnce() -> io::Result<T>) -> Result<(T, Report)> {
    let watching = Watch::scheduler().start(ctx)?;
    let value = act()?;
    Ok((value, watching.finish()?))
}
