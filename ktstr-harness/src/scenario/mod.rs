//! Scenarios: cgroups with workers, run for the test's duration and judged by its checks.

mod home;
pub mod scenarios;
mod steps;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use ktstr_core::Topology;
use rustix::process::Pid;

use crate::cgroup::{Cgroup, CgroupDef, CgroupError, CgroupTree, DefError, ResolvedDef, resolve};
use crate::check::{CgroupRun, judge, metrics};
use crate::cpu_map::CpuMap;
use crate::workload::{Launch, Storm, WorkerGroup, WorkerId, WorkerPool, WorkloadError};
use crate::{AssertResult, Ctx, Result};
use home::Home;

pub use steps::{
    Hold, Op, OpError, PlanError, PlanFault, Step, StepError, StepProblem, execute_steps,
    execute_steps_beside,
};

/// A scenario that could not be run. Workers that fail are part of the verdict instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A definition is invalid.
    #[error(transparent)]
    Def(#[from] DefError),
    /// The kernel refused an operation on a cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The workers could not be started.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A worker could not be moved into its cgroup.
    #[error(
        "cgroup {cgroup}, worker {worker} (pid {pid}): could not be moved into its cgroup: {source}"
    )]
    Attach {
        /// The cgroup.
        cgroup: String,
        /// Number of the worker within it.
        worker: usize,
        /// Process id.
        pid: u32,
        /// What the kernel said.
        source: CgroupError,
    },
    /// A worker could not be given its nice value, policy or CPUs.
    #[error("cgroup {cgroup}, worker {worker} (pid {pid}): {source}{hint}")]
    Task {
        /// The cgroup.
        cgroup: String,
        /// Number of the worker within it.
        worker: usize,
        /// Process id.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
        /// What to do, after a semicolon.
        hint: &'static str,
    },
}

/// Runs the cgroups side by side for [`Ctx::duration`] and judges the run by [`Ctx::checks`].
///
/// Creates the cgroups below [`Ctx::cgroup_root`], forks all workers, moves each into its cgroup, starts them all at
/// once, waits for the end and removes the cgroups. It leaves no worker and no cgroup behind, also on an error. The
/// error is a [`ScenarioError`].
///
/// ```no_run
/// use ktstr_harness::prelude::*;
///
/// fn noisy_neighbour(ctx: &Ctx) -> Result<AssertResult> {
///     execute_defs(ctx, &[
///         ctx.cgroup_def("service").work(WorkType::mixed()),
///         ctx.cgroup_def("batch").workers(8).weight(10),
///     ])
/// }
/// ```
pub fn execute_defs(ctx: &Ctx, defs: &[CgroupDef]) -> Result<AssertResult> {
    let tree = CgroupTree::new(ctx.cgroup_root());
    let runs = run_on(&tree, ctx.cpus, ctx.duration(), defs)?;
    Ok(AssertResult {
        verdict: judge(&ctx.checks(), &runs),
        cgroups: runs.iter().map(CgroupRun::stats).collect(),
        metrics: metrics(&runs),
        ..AssertResult::default()
    })
}

/// Runs the cgroups side by side for `duration`, without judging.
pub fn run_defs(
    tree: &CgroupTree,
    topology: Topology,
    duration: Duration,
    defs: &[CgroupDef],
) -> Result<Vec<CgroupRun>, ScenarioError> {
    run_on(tree, topology.into(), duration, defs)
}

fn run_on(
    tree: &CgroupTree,
    cpus: CpuMap,
    duration: Duration,
    defs: &[CgroupDef],
) -> Result<Vec<CgroupRun>, ScenarioError> {
    let mut defs = resolve(defs, cpus.topology())?;
    for def in &mut defs {
        def.map_cpus(cpus);
    }
    tree.enable_controllers(&needed_controllers(&defs))?;
    // Declared before the pool: workers are gone before their cgroups are removed.
    let mut homes = Vec::with_capacity(defs.len());
    let mut storms: Vec<Option<Storm>> = Vec::with_capacity(defs.len());
    for def in &defs {
        let cgroup = tree.create(&def.name)?;
        configure(&cgroup, def)?;
        let mut home = Home::new(cgroup);
        storms.push(home.prepare(def.group.work)?);
        homes.push(home);
    }
    let groups: Vec<WorkerGroup> = defs.iter().map(|def| def.group).collect();
    let mut pool = WorkerPool::fork_all(&Launch {
        groups: &groups,
        storms: &storms,
        cpus,
        steps: 0,
    })?;
    for id in pool.workers() {
        settle(&homes[id.group], &defs[id.group], id, cpus)?;
    }
    pool.release(duration);
    let workers = pool.collect(WorkerPool::GRACE);

    let mut runs = Vec::with_capacity(defs.len());
    for ((def, home), workers) in defs.into_iter().zip(homes).zip(workers) {
        let oom_kills = home.cgroup.oom_kills();
        home.remove()?;
        runs.push(CgroupRun {
            name: def.name,
            work_type: def.group.work.name().to_owned(),
            cpus: def.cpus,
            workers,
            oom_kills,
        });
    }
    Ok(runs)
}

/// Moves a worker into its cgroup, and sets how it is scheduled.
fn settle(home: &Home, def: &ResolvedDef, id: WorkerId, cpus: CpuMap) -> Result<(), ScenarioError> {
    let Some(pid) = Pid::from_raw(id.pid.cast_signed()) else {
        return Ok(());
    };
    home.attach(pid).map_err(|source| ScenarioError::Attach {
        cgroup: def.name.clone(),
        worker: id.worker,
        pid: id.pid,
        source,
    })?;
    let set = def.tasks.apply(pid, id.worker, cpus);
    set.map_err(|refused| ScenarioError::Task {
        cgroup: def.name.clone(),
        worker: id.worker,
        pid: id.pid,
        source: refused.source,
        hint: refused.hint,
    })
}

fn needed_controllers(defs: &[ResolvedDef]) -> Vec<&'static str> {
    let needed: BTreeSet<&str> = defs.iter().flat_map(ResolvedDef::controllers).collect();
    needed.into_iter().collect()
}

fn configure(cgroup: &Cgroup, def: &ResolvedDef) -> Result<(), CgroupError> {
    if def.confined {
        cgroup.set_cpus(&def.cpus)?;
    }
    if let Some(node) = def.memory_node {
        cgroup.set_memory_node(node)?;
    }
    if let Some(weight) = def.weight {
        cgroup.set_weight(weight)?;
    }
    if let Some(bytes) = def.memory_max {
        cgroup.set_memory_max(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cgroup::CpusetSpec;
    use crate::workload::WorkType;

    const MACHINE: Topology = Topology::constant(1, 1, 2, 1);
    const BLINK: Duration = Duration::from_millis(1);

    fn run(root: &Path, defs: &[CgroupDef]) -> String {
        run_defs(&CgroupTree::new(root), MACHINE, BLINK, defs)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn asks_for_the_controllers_it_uses() {
        let needed = |def| needed_controllers(&resolve(&[def], MACHINE).unwrap());
        let def = || CgroupDef::named("a");
        assert!(needed(def()).is_empty());
        assert_eq!(needed(def().cpuset(CpusetSpec::Llc(0))), ["cpuset"]);
        assert_eq!(needed(def().weight(5).memory_max(1)), ["cpu", "memory"]);
    }

    #[test]
    fn an_error_in_the_middle_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let error = run(root, &[CgroupDef::named("a")]);
        assert!(error.contains("cgroup.controllers"), "{error}");

        fs::write(root.join("cgroup.controllers"), "cpu").unwrap();
        fs::write(root.join("cgroup.subtree_control"), "cpu").unwrap();
        // A plain directory has no cgroup.procs: the first worker cannot be moved.
        let error = run(root, &[CgroupDef::named("a"), CgroupDef::named("b")]);
        assert!(error.starts_with("cgroup a, worker 0 (pid "), "{error}");
        assert!(error.contains("/a/cgroup.procs"), "{error}");
        let error = run(root, &[CgroupDef::named("a").weight(3)]);
        assert!(error.contains("/a/cpu.weight"), "{error}");
        assert!(!root.join("a").exists() && !root.join("b").exists());
    }

    #[test]
    fn bad_definitions_touch_nothing() {
        let none = Path::new("/nonexistent");
        let odd = CgroupDef::named("a")
            .workers(1)
            .work(WorkType::FutexPingPong);
        assert!(run(none, &[odd]).contains("use an even number"));
    }
}
