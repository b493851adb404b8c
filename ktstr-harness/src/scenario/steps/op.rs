//! The operations of a step, as data.

use std::fmt;
use std::time::Duration;

use crate::cgroup::{CgroupDef, CpusetSpec};
use crate::payload::Payload;
use crate::workload::{Affinity, Policy, WorkType};

/// One change of a scenario, such as a cpuset that shrinks.
///
/// Cgroups go by the names of their definitions; one within another is `outer/inner`. The workers of a cgroup are those
/// that are in it at the moment. An operation that the kernel refuses is an error of the test, unless
/// [`Op::refused_with`] says that it has to be.
#[derive(Debug, Clone)]
#[must_use]
pub struct Op {
    pub(super) kind: OpKind,
    pub(super) refused_with: Option<i32>,
}

#[derive(Debug, Clone)]
pub(super) enum OpKind {
    AddCgroup(CgroupDef),
    RemoveCgroup(String),
    SetCpuset(String, CpusetSpec),
    ClearCpuset(String),
    SwapCpusets(String, String),
    Spawn(String, usize, WorkType),
    SpawnInRoot(usize, WorkType),
    Stop(String, Option<usize>),
    SetWorkers(String, usize),
    Move {
        from: String,
        to: String,
        workers: Option<usize>,
    },
    SetAffinity(String, Affinity),
    SetNice(String, i32),
    SetPolicy(String, Policy),
    Set(String, Setting),
    Offline(u32),
    Online(u32),
    Call(&'static str, Call),
    Start(Payload),
    WaitFor(&'static str),
    Kill(&'static str),
}

/// A setting of a cgroup.
#[derive(Debug, Clone)]
pub(super) enum Setting {
    /// Of utilization, in percent.
    Clamp {
        min: u32,
        max: u32,
    },
    Weight(u32),
    /// CPU time, and the period; `None` for as much as there is.
    Quota(Option<(Duration, Duration)>),
    Burst(Duration),
    /// `None` for all nodes.
    MemoryNode(Option<u32>),
    Frozen(bool),
}

/// A function of the test's own; it says what is wrong.
pub(super) type Call = fn() -> Result<(), String>;

impl Op {
    fn new(kind: OpKind) -> Self {
        Self {
            kind,
            refused_with: None,
        }
    }

    fn set(cgroup: impl Into<String>, setting: Setting) -> Self {
        Self::new(OpKind::Set(cgroup.into(), setting))
    }

    /// Makes a cgroup with its workers, as the setup of a step does.
    pub fn add_cgroup(def: CgroupDef) -> Self {
        Self::new(OpKind::AddCgroup(def))
    }

    /// Ends the workers of a cgroup and removes it. It must have no cgroup within.
    pub fn remove_cgroup(cgroup: impl Into<String>) -> Self {
        Self::new(OpKind::RemoveCgroup(cgroup.into()))
    }

    /// Sets which CPUs a cgroup may use (`cpuset.cpus`; with [`CpusetSpec::Numa`] also `cpuset.mems`).
    pub fn set_cpuset(cgroup: impl Into<String>, cpus: CpusetSpec) -> Self {
        Self::new(OpKind::SetCpuset(cgroup.into(), cpus))
    }

    /// Lets a cgroup use all CPUs of its parent again.
    pub fn clear_cpuset(cgroup: impl Into<String>) -> Self {
        Self::new(OpKind::ClearCpuset(cgroup.into()))
    }

    /// Exchanges the cpusets of two cgroups.
    pub fn swap_cpusets(one: impl Into<String>, other: impl Into<String>) -> Self {
        Self::new(OpKind::SwapCpusets(one.into(), other.into()))
    }

    /// Starts `workers` more workers in a cgroup, which do `work`.
    pub fn spawn(cgroup: impl Into<String>, workers: usize, work: WorkType) -> Self {
        Self::new(OpKind::Spawn(cgroup.into(), workers, work))
    }

    /// Starts workers in the root cgroup: the load of the machine itself. They are the cgroup `/` in results and in
    /// further operations.
    pub fn spawn_in_root(workers: usize, work: WorkType) -> Self {
        Self::new(OpKind::SpawnInRoot(workers, work))
    }

    /// Ends all workers of a cgroup.
    pub fn stop_all(cgroup: impl Into<String>) -> Self {
        Self::new(OpKind::Stop(cgroup.into(), None))
    }

    /// Ends `workers` workers of a cgroup, the newest first.
    pub fn stop(cgroup: impl Into<String>, workers: usize) -> Self {
        Self::new(OpKind::Stop(cgroup.into(), Some(workers)))
    }

    /// Starts or ends workers of a cgroup until there are so many. New ones do what those of its definition do.
    pub fn set_workers(cgroup: impl Into<String>, workers: usize) -> Self {
        Self::new(OpKind::SetWorkers(cgroup.into(), workers))
    }

    /// Moves all workers of a cgroup into another one.
    pub fn move_all(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self::new(OpKind::Move {
            from: from.into(),
            to: to.into(),
            workers: None,
        })
    }

    /// Moves `workers` workers of a cgroup into another one, the oldest first.
    pub fn move_some(from: impl Into<String>, to: impl Into<String>, workers: usize) -> Self {
        Self::new(OpKind::Move {
            from: from.into(),
            to: to.into(),
            workers: Some(workers),
        })
    }

    /// Sets which CPUs the workers of a cgroup ask for (`sched_setaffinity`).
    pub fn set_affinity(cgroup: impl Into<String>, affinity: Affinity) -> Self {
        Self::new(OpKind::SetAffinity(cgroup.into(), affinity))
    }

    /// Sets the nice value of the workers of a cgroup, -20 (most CPU time) to 19.
    pub fn set_nice(cgroup: impl Into<String>, nice: i32) -> Self {
        Self::new(OpKind::SetNice(cgroup.into(), nice))
    }

    /// Sets the scheduling policy of the workers of a cgroup. [`Policy::Ext`] puts them under a scheduler that takes only
    /// tasks that ask for it, [`Policy::Other`] keeps them out of one.
    pub fn set_policy(cgroup: impl Into<String>, policy: Policy) -> Self {
        Self::new(OpKind::SetPolicy(cgroup.into(), policy))
    }

    /// Clamps the utilization of a cgroup's tasks (`cpu.uclamp.min`, `cpu.uclamp.max`), in percent of a CPU, 0 to 100.
    pub fn set_uclamp(cgroup: impl Into<String>, min_pct: u32, max_pct: u32) -> Self {
        Self::set(
            cgroup,
            Setting::Clamp {
                min: min_pct,
                max: max_pct,
            },
        )
    }

    /// Sets a cgroup's share of CPU time against its siblings (`cpu.weight`), 1 to 10000.
    pub fn set_weight(cgroup: impl Into<String>, weight: u32) -> Self {
        Self::set(cgroup, Setting::Weight(weight))
    }

    /// Lets a cgroup use `quota` of CPU time in every `period` (`cpu.max`): 1 ms at least, and a period of 1 ms to 1 s.
    pub fn set_quota(cgroup: impl Into<String>, quota: Duration, period: Duration) -> Self {
        Self::set(cgroup, Setting::Quota(Some((quota, period))))
    }

    /// Lets a cgroup use as much CPU time as it gets.
    pub fn clear_quota(cgroup: impl Into<String>) -> Self {
        Self::set(cgroup, Setting::Quota(None))
    }

    /// Lets a cgroup save up unused quota (`cpu.max.burst`), at most as much as its quota.
    pub fn set_burst(cgroup: impl Into<String>, burst: Duration) -> Self {
        Self::set(cgroup, Setting::Burst(burst))
    }

    /// Binds the memory of a cgroup to a NUMA node (`cpuset.mems`).
    pub fn set_memory_node(cgroup: impl Into<String>, node: u32) -> Self {
        Self::set(cgroup, Setting::MemoryNode(Some(node)))
    }

    /// Lets a cgroup use the memory of all nodes again.
    pub fn clear_memory_node(cgroup: impl Into<String>) -> Self {
        Self::set(cgroup, Setting::MemoryNode(None))
    }

    /// Freezes a cgroup (`cgroup.freeze`), and waits until all of it is.
    pub fn freeze(cgroup: impl Into<String>) -> Self {
        Self::set(cgroup, Setting::Frozen(true))
    }

    /// Thaws a cgroup.
    pub fn thaw(cgroup: impl Into<String>) -> Self {
        Self::set(cgroup, Setting::Frozen(false))
    }

    /// Takes a CPU offline; it is online again at the end of the scenario at the latest.
    pub fn offline(cpu: u32) -> Self {
        Self::new(OpKind::Offline(cpu))
    }

    /// Takes a CPU online.
    pub fn online(cpu: u32) -> Self {
        Self::new(OpKind::Online(cpu))
    }

    /// Calls a function of the test's own, on the thread of the body while the workers work. `name` is what messages call
    /// it. An error ends the scenario.
    pub fn call(name: &'static str, function: fn() -> Result<(), String>) -> Self {
        Self::new(OpKind::Call(name, function))
    }

    /// Starts a program, one of the test's `payload` and `workloads`, in a cgroup of its own that has its name: further
    /// operations can change that. It runs until it ends, an operation ends it, or the scenario is over. One that ends
    /// meanwhile as it should not is an error at once.
    pub fn start(program: &Payload) -> Self {
        Self::new(OpKind::Start(*program))
    }

    /// Waits until a program has ended, within its time limit, and takes what it measured. The time does not count for the
    /// step, which holds afterwards.
    pub fn wait_for(program: &Payload) -> Self {
        Self::new(OpKind::WaitFor(program.name))
    }

    /// Ends a program with all of its processes; it measures what it has printed until then.
    pub fn kill(program: &Payload) -> Self {
        Self::new(OpKind::Kill(program.name))
    }

    /// The kernel must refuse it with this error number, such as `libc::EINVAL`.
    pub fn refused_with(mut self, errno: i32) -> Self {
        self.refused_with = Some(errno);
        self
    }
}

impl fmt::Display for Op {
    /// The operation as messages name it: `set_cpuset a Llc(0)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |workers: &Option<usize>| match workers {
            Some(workers) => workers.to_string(),
            None => "all".to_owned(),
        };
        match &self.kind {
            OpKind::AddCgroup(def) => write!(f, "add_cgroup {}", def.name()),
            OpKind::RemoveCgroup(cgroup) => write!(f, "remove_cgroup {cgroup}"),
            OpKind::SetCpuset(cgroup, cpus) => write!(f, "set_cpuset {cgroup} {cpus:?}"),
            OpKind::ClearCpuset(cgroup) => write!(f, "clear_cpuset {cgroup}"),
            OpKind::SwapCpusets(one, other) => write!(f, "swap_cpusets {one} {other}"),
            OpKind::Spawn(cgroup, workers, work) => {
                write!(f, "spawn {cgroup} {workers} {}", work.name())
            }
            OpKind::SpawnInRoot(workers, work) => {
                write!(f, "spawn_in_root {workers} {}", work.name())
            }
            OpKind::Stop(cgroup, workers) => write!(f, "stop {cgroup} {}", count(workers)),
            OpKind::SetWorkers(cgroup, workers) => write!(f, "set_workers {cgroup} {workers}"),
            OpKind::Move { from, to, workers } => {
                write!(f, "move {} from {from} to {to}", count(workers))
            }
            OpKind::SetAffinity(cgroup, affinity) => {
                write!(f, "set_affinity {cgroup} {affinity:?}")
            }
            OpKind::SetNice(cgroup, nice) => write!(f, "set_nice {cgroup} {nice}"),
            OpKind::SetPolicy(cgroup, policy) => {
                write!(f, "set_policy {cgroup} {}", policy.name())
            }
            OpKind::Set(cgroup, setting) => match setting {
                Setting::Clamp { min, max } => write!(f, "set_uclamp {cgroup} {min}% {max}%"),
                Setting::Weight(weight) => write!(f, "set_weight {cgroup} {weight}"),
                Setting::Quota(Some((quota, period))) => {
                    write!(f, "set_quota {cgroup} {quota:?} in {period:?}")
                }
                Setting::Quota(None) => write!(f, "clear_quota {cgroup}"),
                Setting::Burst(burst) => write!(f, "set_burst {cgroup} {burst:?}"),
                Setting::MemoryNode(Some(node)) => write!(f, "set_memory_node {cgroup} {node}"),
                Setting::MemoryNode(None) => write!(f, "clear_memory_node {cgroup}"),
                Setting::Frozen(true) => write!(f, "freeze {cgroup}"),
                Setting::Frozen(false) => write!(f, "thaw {cgroup}"),
            },
            OpKind::Offline(cpu) => write!(f, "offline CPU {cpu}"),
            OpKind::Online(cpu) => write!(f, "online CPU {cpu}"),
            OpKind::Call(name, _) => write!(f, "call {name}"),
            OpKind::Start(program) => write!(f, "start {}", program.name),
            OpKind::WaitFor(program) => write!(f, "wait_for {program}"),
            OpKind::Kill(program) => write!(f, "kill {program}"),
        }
    }
}
