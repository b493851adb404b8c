//! Every work type in a machine; `tests/work.rs` runs them and says what must come of each.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use ktstr_harness::cgroup::CgroupTree;
use ktstr_harness::check::{CgroupRun, judge};
use ktstr_harness::prelude::*;
use ktstr_harness::scenario::run_defs;

ktstr_harness::main!();

/// What need not happen in a run, however long it is.
const MAY_BE_NONE: [&str; 2] = ["missed_periods", "boosted"];

fn def(name: &str, work: WorkType, workers: usize) -> CgroupDef {
    CgroupDef::named(name).work(work).workers(workers)
}

/// Runs groups side by side. Every worker has to end iterations, and every group to count what its work type counts.
fn all_work(ctx: &Ctx, defs: &[CgroupDef]) -> Result<AssertResult> {
    let tree = CgroupTree::new(ctx.cgroup_root());
    let runs = run_defs(&tree, ctx.topology(), ctx.duration(), defs)?;
    let mut result = AssertResult::from(judge(&ctx.checks(), &runs));
    for run in &runs {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (worker, report) in run.reports() {
            if report.iterations == 0 {
                let what = format!("worker {} of {} did nothing", worker.worker, run.name);
                result.merge(AssertResult::fail("iterations", what));
            }
            for (name, count) in &report.counts {
                *counts.entry(*name).or_default() += count;
            }
        }
        println!("{}: {counts:?}", run.name);
        for (name, count) in counts {
            if count == 0 && !MAY_BE_NONE.contains(&name) {
                let what = format!("{} counted no {name}", run.name);
                result.merge(AssertResult::fail("counts", what));
            }
        }
        if fs::exists(ctx.cgroup_root().join(&run.name))? {
            result.merge(AssertResult::fail("left", format!("{} is left", run.name)));
        }
    }
    result.cgroups = runs.iter().map(CgroupRun::stats).collect();
    Ok(result)
}

#[ktstr_test(llcs = 2, cores = 2, duration_s = 3)]
fn wake_ups(ctx: &Ctx) -> Result<AssertResult> {
    all_work(
        ctx,
        &[
            def("chain", WorkType::wake_chain(), 4),
            def("fan", WorkType::fan_out(), 4),
            def("pipes", WorkType::pipe_io(), 2),
            def("sockets", WorkType::socket_traffic(), 2),
            def("timers", WorkType::timer_wake(), 2),
            def("threads", WorkType::FutexPingPong, 4).threads(),
        ],
    )
}

#[ktstr_test(llcs = 2, cores = 2, duration_s = 3)]
fn changes(ctx: &Ctx) -> Result<AssertResult> {
    all_work(
        ctx,
        &[
            def("forks", WorkType::fork_exit(), 2),
            def("storm", WorkType::cgroup_attach_storm(), 2),
            def("threads", WorkType::cgroup_attach_storm(), 2).threads(),
            def("affinity", WorkType::affinity_churn(), 2),
            def("confined", WorkType::affinity_churn(), 1).cpuset(CpusetSpec::Llc(1)),
            def("nice", WorkType::nice_churn(), 1),
            def("policy", WorkType::policy_churn(), 1),
        ],
    )
}

/// Those that share a CPU have one each: real-time workers of one group would starve the others.
#[ktstr_test(cores = 4, duration_s = 6)]
fn locks_and_priorities(ctx: &Ctx) -> Result<AssertResult> {
    all_work(
        ctx,
        &[
            def("preempt", WorkType::preempt_storm(), 2).cpuset(CpusetSpec::Range(0..=0)),
            def("starvation", WorkType::rt_starvation(), 2).cpuset(CpusetSpec::Range(1..=1)),
            def("inversion", WorkType::priority_inversion(false), 3)
                .cpuset(CpusetSpec::Range(2..=2)),
            def("inheritance", WorkType::priority_inversion(true), 3)
                .cpuset(CpusetSpec::Range(3..=3)),
            def("mutex", WorkType::mutex_contention(), 4)
                .threads()
                .cpuset(CpusetSpec::Range(0..=1)),
        ],
    )
}

#[ktstr_test(numa_nodes = 2, llcs = 2, cores = 2, duration_s = 3)]
fn memory(ctx: &Ctx) -> Result<AssertResult> {
    let sweep = WorkType::NumaSweep {
        dwell: Duration::from_millis(5),
    };
    all_work(
        ctx,
        &[
            def("alu", WorkType::alu_hot(), 2),
            def("cache", WorkType::cache_pressure(), 1),
            def("faults", WorkType::page_faults(), 2).threads(),
            def("sweep", sweep, 2),
            def("bound", WorkType::Custom(knows_its_node), 2)
                .memory_policy(MemoryPolicy::Bind(1))
                .affinity(Affinity::Cpu(0)),
        ],
    )
}

/// What the definition says holds while its workers work.
fn knows_its_node(worker: &mut CustomWorker<'_, '_>) {
    let status = fs::read_to_string("/proc/thread-self/status").expect("the guest has /proc");
    let cpus = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    assert_eq!(cpus.map(str::trim), Some("0"));
    let maps =
        fs::read_to_string("/proc/thread-self/numa_maps").expect("the kernel has CONFIG_NUMA");
    assert!(maps.contains("bind:1"), "{maps}");
    while worker.sleep(Duration::from_millis(1)) {
        worker.work(4);
        if !worker.iteration(4) {
            return;
        }
    }
}

/// Policy and threads of a definition are the kernel's.
#[ktstr_test(cores = 2, duration_s = 1)]
fn definitions_reach_the_kernel(ctx: &Ctx) -> Result<AssertResult> {
    let batch = def("a", WorkType::Custom(is_batch), 3).threads();
    execute_steps(
        ctx,
        &[Step::new("batch").setup(batch.policy(Policy::Batch))],
    )
}

fn is_batch(worker: &mut CustomWorker<'_, '_>) {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("the guest has /proc");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    // Field 41 is the policy, and 20 the number of threads; the state, the third, is the first here.
    assert_eq!((fields[41 - 3], fields[20 - 3]), ("3", "3"));
    while worker.iteration(1) {}
}

/// Threads of one process are in one cgroup.
#[ktstr_test(cores = 2, duration_s = 1)]
fn threads_move_together(ctx: &Ctx) -> Result<AssertResult> {
    let threads = CgroupDef::named("a").workers(3).threads();
    execute_steps(
        ctx,
        &[Step::new("move")
            .setup(threads)
            .setup(CgroupDef::named("b").workers(0))
            .op(Op::move_all("a", "b"))
            .op(Op::stop("b", 1))
            .op(Op::move_some("b", "a", 1))],
    )
}

/// A policy that the kernel refuses is the test's error, with the worker and what to do.
#[ktstr_test(cores = 2, duration_s = 1)]
fn a_refused_policy(ctx: &Ctx) -> Result<AssertResult> {
    let ms = Duration::from_millis;
    // A deadline takes all CPUs: the kernel refuses it to workers that are pinned.
    let policy = Policy::Deadline {
        runtime: ms(1),
        deadline: ms(10),
        period: ms(10),
    };
    let pinned = CgroupDef::named("a")
        .affinity(Affinity::Cpu(1))
        .policy(policy);
    execute_defs(ctx, &[pinned])
}
