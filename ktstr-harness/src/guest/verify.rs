//! A cell of the verifier sweep: loads a scheduler, waits until it is enabled, runs tasks under it, and checks that it
//! is still enabled at the end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::Topology;
use ktstr_core::record::{Stage, VerifiedProgram, VerifierStats};

use super::around::Around;
use super::scheduler::Loaded;
use super::watch::Watch;
use super::{body, bpf, klog, sys};
use crate::protocol::{
    GuestMessage, KERNEL_LOG_LIMIT, LOG_PART, SchedulerProblem, SchedulerReport,
    VERIFIER_LOG_LIMITS, VerifyReport, VerifySpec,
};
use crate::workload::{WorkType, WorkerGroup, WorkerId, WorkerPool};

/// How long it may take until every spinning task has run: 192 emulated CPUs take seconds.
const DISPATCH_LIMIT: Duration = Duration::from_secs(30);

/// How often they are polled.
const POLL: Duration = Duration::from_millis(1);

/// `BPF_PROG_TYPE_STRUCT_OPS`; libbpf loads programs of other types to probe the kernel's features.
const STRUCT_OPS: u32 = 27;

/// What libbpf says where the kernel rejects a program.
const REJECTED: &[&str] = &[
    "-- BEGIN PROG LOAD LOG --",
    "BPF program load failed",
    "failed to load object",
];

/// Tries the scheduler; sends its log to the host, where something went wrong, and returns the report.
pub(super) fn serve<E>(
    spec: &VerifySpec,
    send: &mut dyn FnMut(GuestMessage) -> Result<(), E>,
) -> Result<VerifyReport, E> {
    let mut report = run(spec);
    let log = std::mem::take(&mut report.scheduler.log);
    // The log of a scheduler without problems is not needed.
    if report.problem.is_some() {
        for part in parts(&log) {
            send(GuestMessage::SchedulerLog(part.to_owned()))?;
        }
    }
    Ok(report)
}

/// `text` in pieces of at most [`LOG_PART`] bytes.
fn parts(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut end = text.len().min(LOG_PART);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (part, rest) = text.split_at(end);
        text = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// Tries the scheduler stage by stage and reports how far it came.
fn run(spec: &VerifySpec) -> VerifyReport {
    sys::set_env(&spec.env);
    let mut watch = Watch::start(&spec.allow_kernel_warnings);
    super::run::rise_above_schedulers();
    let before = bpf::program_ids();
    let mut programs = BTreeMap::new();
    let begin = Instant::now();
    let around = Around::guest(spec.topology.cpus());
    let started = Loaded::start_watched(&spec.scheduler, &around, VERIFIER_LOG_LIMITS, &mut || {
        // The programs of a scheduler that fails to load disappear with it, so each is read as soon as it exists.
        for id in ids_beside(&before) {
            if let Entry::Vacant(new) = programs.entry(id)
                && let Ok(program) = bpf::program(id)
            {
                new.insert(program);
            }
        }
    });
    let mut stats = VerifierStats {
        stage: Stage::Load,
        load_s: None,
        programs: Vec::new(),
    };
    let (problem, scheduler) = match started {
        Err(report) => {
            let is_rejected = REJECTED.iter().any(|words| report.log.contains(words));
            let is_part = |program: &VerifiedProgram| program.prog_type == STRUCT_OPS;
            if programs.values().any(is_part) && !is_rejected {
                stats.stage = Stage::Attach;
            }
            stats.programs = programs.into_values().collect();
            (report.problem.as_ref().map(told), *report)
        }
        Ok(loaded) => {
            stats.load_s = Some(begin.elapsed().as_secs_f64());
            stats.programs = read(&ids_beside(&before));
            under(loaded, spec.topology, &mut stats.stage)
        }
    };
    watch.settle();
    let kernel_log = if problem.is_some() || watch.has_found() {
        klog::tail(KERNEL_LOG_LIMIT)
    } else {
        String::new()
    };
    VerifyReport {
        stats,
        problem,
        kernel_log,
        scheduler,
        kernel: watch.finish(),
    }
}

/// Runs tasks under the enabled scheduler: the problem, if any, and how the scheduler ended.
fn under(
    mut loaded: Loaded,
    topology: Topology,
    stage: &mut Stage,
) -> (Option<String>, SchedulerReport) {
    *stage = Stage::Dispatch;
    let dispatched = dispatch(&mut loaded, topology);
    // The spinning tasks have ended by now, which the scheduler handles as well.
    let was_gone = loaded.is_gone();
    if dispatched.is_ok() {
        *stage = Stage::Liveness;
    }
    let report = loaded.stop(was_gone);
    // That the scheduler is gone explains why a task did not run.
    let problem = match dispatched {
        Err(why) if !was_gone => Some(why),
        Err(_) | Ok(()) => report.problem.as_ref().map(told),
    };
    (problem, report)
}

/// One spinner more than CPUs, so that one of them has to wait for its turn; each must be seen to run.
fn dispatch(loaded: &mut Loaded, topology: Topology) -> Result<(), String> {
    let group = WorkerGroup::of(WorkType::Spin, topology.cpus() as usize + 1);
    // Workers inherit the name of init's thread.
    body::name_thread("spinner");
    // A dump shows waiting tasks only while they wait.
    let pool = WorkerPool::fork_watched(&[group], topology.into(), &mut Loaded::request_dump);
    let pool = pool.map_err(|error| error.to_string());
    body::name_thread("init");
    let mut pool = pool?;
    if loaded.is_partial() {
        let mut refusal = None;
        let refuses = |worker: WorkerId| {
            let put = sys::run_under_sched_ext(worker.pid);
            put.map_err(|error| refusal = Some(error)).is_err()
        };
        let refused = pool
            .workers()
            .map(refuses)
            .filter(|refused| *refused)
            .count();
        if let Some(error) = refusal
            && refused == group.workers
        {
            return Err(format!("it takes none of the spinning tasks: {error}"));
        }
    }
    pool.release(2 * DISPATCH_LIMIT);
    let begin = Instant::now();
    loop {
        let waiting = pool
            .progress()
            .filter(|iterations| *iterations == 0)
            .count();
        if loaded.is_gone() {
            return Err("it was gone before every task had run".to_owned());
        }
        if waiting == 0 {
            return Ok(());
        }
        if begin.elapsed() >= DISPATCH_LIMIT {
            Loaded::request_dump();
            let (spinners, limit) = (group.workers, DISPATCH_LIMIT.as_secs());
            return Err(format!(
                "{waiting} of {spinners} spinning tasks did not run within {limit} s"
            ));
        }
        sleep(POLL);
    }
}

fn ids_beside(before: &[u32]) -> Vec<u32> {
    let mut ids = bpf::program_ids();
    ids.retain(|id| !before.contains(id));
    ids
}

fn read(ids: &[u32]) -> Vec<VerifiedProgram> {
    // A program that has disappeared was a feature probe of libbpf.
    ids.iter().filter_map(|id| bpf::program(*id).ok()).collect()
}

fn told(problem: &SchedulerProblem) -> String {
    match problem {
        SchedulerProblem::NotStarted(why) => format!("it could not be started: {why}"),
        SchedulerProblem::NotEnabled(why) => why.clone(),
        SchedulerProblem::Gone(how) => format!("it was gone: {how}"),
        SchedulerProblem::Restarted(_) => {
            "the kernel ended it, and its program started it again".to_owned()
        }
        SchedulerProblem::NotDisabled(why) => {
            format!("it was still attached after being stopped: {why}")
        }
    }
}
