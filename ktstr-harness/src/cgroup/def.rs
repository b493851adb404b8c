//! A cgroup with its workers, as a test declares it.

mod error;

use std::collections::BTreeSet;

use ktstr_core::{CpuSet, Topology};

use super::CpusetSpec;
use crate::Ctx;
use crate::cpu_map::CpuMap;
use crate::workload::{Affinity, MemoryPolicy, Policy, TaskSettings, WorkType, WorkerGroup};

pub use error::DefError;

/// A cgroup and what runs in it.
///
/// By default, two workers spin on all CPUs, at nice 0, with the kernel's default weight and without
/// a memory limit.
///
/// ```
/// use ktstr_harness::cgroup::{CgroupDef, CpusetSpec};
/// use ktstr_harness::workload::WorkType;
///
/// let batch = CgroupDef::named("batch")
///     .workers(4)
///     .work(WorkType::Spin)
///     .cpuset(CpusetSpec::Llc(0))
///     .weight(50);
/// assert_eq!(batch.name(), "batch");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct CgroupDef {
    name: String,
    group: WorkerGroup,
    tasks: TaskSettings,
    cpuset: Option<CpusetSpec>,
    weight: Option<u32>,
    memory_max: Option<u64>,
}

impl CgroupDef {
    /// Number of workers where [`CgroupDef::workers`] sets none.
    pub const DEFAULT_WORKERS: usize = 2;

    /// Creates a definition with the defaults. A directory of this name is created below the scenario's root cgroup.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            group: WorkerGroup::of(WorkType::Spin, Self::DEFAULT_WORKERS),
            tasks: TaskSettings::default(),
            cpuset: None,
            weight: None,
            memory_max: None,
        }
    }

    /// Sets the number of worker processes, 1 to 4096. In a scenario of steps, 0 declares a cgroup that only contains
    /// other cgroups.
    pub fn workers(mut self, workers: usize) -> Self {
        self.group.workers = workers;
        self
    }

    /// Sets what the workers do.
    pub fn work(mut self, work: WorkType) -> Self {
        self.group.work = work;
        self
    }

    /// Makes the workers threads of one process, instead of a process each. They can be in one cgroup only, all together.
    pub fn threads(mut self) -> Self {
        self.group.threads = true;
        self
    }

    /// Scheduling policy of the workers. [`Policy::Ext`] puts them under a scheduler that takes only tasks that ask for it,
    /// and [`Policy::Other`] keeps them out of such a one; real-time policies keep them out of any.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.tasks.policy = Some(policy);
        self
    }

    /// CPUs that the workers ask for (`sched_setaffinity`); the cpuset limits them further.
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.tasks.affinity = Some(affinity);
        self
    }

    /// NUMA nodes that the workers' memory comes from (`set_mempolicy`).
    pub fn memory_policy(mut self, policy: MemoryPolicy) -> Self {
        self.group.memory = Some(policy);
        self
    }

    /// Restricts the cgroup to these CPUs (`cpuset.cpus`; with [`CpusetSpec::Numa`] also `cpuset.mems`).
    pub fn cpuset(mut self, cpus: CpusetSpec) -> Self {
        self.cpuset = Some(cpus);
        self
    }

    /// Sets the nice value of the workers, -20 (most CPU time) to 19.
    pub fn nice(mut self, nice: i32) -> Self {
        self.tasks.nice = Some(nice);
        self
    }

    /// Sets the share of CPU time relative to sibling cgroups (`cpu.weight`), 1 to 10000; the kernel's
    /// default is 100.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Limits the memory, in bytes (`memory.max`): above the limit, the kernel's OOM killer kills workers.
    pub fn memory_max(mut self, bytes: u64) -> Self {
        self.memory_max = Some(bytes);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Ctx {
    /// The default cgroup of this name: two workers that spin, on all CPUs.
    pub fn cgroup_def(&self, name: &str) -> CgroupDef {
        CgroupDef::named(name)
    }
}

/// A definition that was checked against a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDef {
    /// The name.
    pub name: String,
    /// Workers and what they do.
    pub group: WorkerGroup,
    /// CPUs the cgroup may use.
    pub cpus: CpuSet,
    /// Whether `cpuset.cpus` is written; false where the definition restricts no CPUs.
    pub confined: bool,
    /// NUMA node that memory is allocated from; `None` for any node.
    pub memory_node: Option<u32>,
    /// How the workers are scheduled.
    pub tasks: TaskSettings,
    /// `cpu.weight`, where one is set.
    pub weight: Option<u32>,
    /// `memory.max` in bytes, where one is set.
    pub memory_max: Option<u64>,
}

impl ResolvedDef {
    /// The controllers that its settings need.
    pub(crate) fn controllers(&self) -> impl Iterator<Item = &'static str> + use<> {
        let needs = [
            ("cpuset", self.confined || self.memory_node.is_some()),
            (
                "cpu",
                self.weight.is_some() || self.group.work.moves_cgroups(),
            ),
            ("memory", self.memory_max.is_some()),
        ];
        let needs = needs.into_iter().filter(|(_, needed)| *needed);
        needs.map(|(name, _)| name)
    }

    /// Replaces the CPUs and the memory node of the declared topology by those of the running machine.
    pub(crate) fn map_cpus(&mut self, cpus: CpuMap) {
        self.cpus = cpus.cpus(&self.cpus);
        self.memory_node = self.memory_node.map(|node| cpus.memory_node(node));
    }
}

/// Checks definitions of cgroups that run together on a machine of this topology.
pub fn resolve(defs: &[CgroupDef], topology: Topology) -> Result<Vec<ResolvedDef>, DefError> {
    if defs.is_empty() {
        return Err(DefError::None);
    }
    let mut names = BTreeSet::new();
    for def in defs {
        if !names.insert(&def.name) {
            return Err(DefError::Twice(def.name.clone()));
        }
    }
    let resolve = |def: &CgroupDef| match name_fault(&def.name) {
        Some(why) => Err(DefError::Name {
            name: def.name.clone(),
            why,
        }),
        None => def.resolve(topology),
    };
    defs.iter().map(resolve).collect()
}

impl CgroupDef {
    /// Checks the definition of a cgroup that may be within another one: `outer/inner`.
    pub(crate) fn resolve_nested(&self, topology: Topology) -> Result<ResolvedDef, DefError> {
        if let Some(why) = self.name.split('/').find_map(name_fault) {
            let name = self.name.clone();
            return Err(DefError::Name { name, why });
        }
        if self.group.workers > 0 {
            return self.resolve(topology);
        }
        // The kernel allows no processes in a cgroup that enables controllers for its children.
        let enough = self.group.work.team(2);
        let mut resolved = self.clone().workers(enough).resolve(topology)?;
        resolved.group.workers = 0;
        Ok(resolved)
    }

    /// Checks everything but the name.
    fn resolve(&self, topology: Topology) -> Result<ResolvedDef, DefError> {
        let cgroup = || self.name.clone();
        self.check_tasks(topology)?;
        if let Some(weight) = self.weight.filter(|weight| !(1..=10_000).contains(weight)) {
            return Err(DefError::Weight {
                cgroup: cgroup(),
                weight,
            });
        }
        self.group
            .work
            .validate_workers(self.group.workers)
            .map_err(|source| DefError::Work {
                cgroup: cgroup(),
                source,
            })?;
        let cpus = match &self.cpuset {
            Some(spec) => spec.resolve(topology).map_err(|source| DefError::Cpuset {
                cgroup: cgroup(),
                source,
            })?,
            None => topology.all_cpus(),
        };
        Ok(ResolvedDef {
            name: cgroup(),
            group: self.group,
            tasks: self.tasks.clone(),
            cpus,
            confined: self.cpuset.is_some(),
            memory_node: self.cpuset.as_ref().and_then(CpusetSpec::memory_node),
            weight: self.weight,
            memory_max: self.memory_max,
        })
    }
}

impl CgroupDef {
    /// Checks how the workers are to be scheduled.
    fn check_tasks(&self, topology: Topology) -> Result<(), DefError> {
        let cgroup = || self.name.clone();
        let tasks = &self.tasks;
        if let Some(nice) = tasks.nice.filter(|nice| !(-20..=19).contains(nice)) {
            return Err(DefError::Nice {
                cgroup: cgroup(),
                nice,
            });
        }
        if let Some((policy, why)) = tasks.policy.and_then(|it| Some((it, it.fault()?))) {
            return Err(DefError::Policy {
                cgroup: cgroup(),
                policy,
                why,
            });
        }
        let affinity = tasks.affinity.as_ref();
        let cpus = affinity.and_then(|affinity| affinity.cpus(topology, 0).err());
        let memory = self.group.memory.and_then(|policy| policy.fault(topology));
        match cpus.or(memory) {
            Some(why) => Err(DefError::Machine {
                cgroup: cgroup(),
                why,
            }),
            None => Ok(()),
        }
    }
}

/// Dots are reserved: the kernel's files in the same directory are called `cpu.max`, `cgroup.procs` and so on.
fn name_fault(name: &str) -> Option<&'static str> {
    // NAME_MAX of the kernel's include/uapi/linux/limits.h.
    const LONGEST: usize = 255;
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > LONGEST {
        Some("is longer than 255 bytes")
    } else if name.contains('/') {
        Some("contains a `/`, and only steps create nested cgroups")
    } else if name
        .chars()
        .any(|c| !c.is_alphanumeric() && c != '_' && c != '-')
    {
        Some("contains a character that is not allowed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Topology = Topology::constant(1, 2, 2, 1);

    fn error(def: CgroupDef) -> String {
        resolve(&[def], MACHINE).unwrap_err().to_string()
    }

    #[test]
    fn defaults() {
        let resolved = resolve(&[CgroupDef::named("a")], MACHINE).unwrap();
        assert_eq!(
            resolved,
            [ResolvedDef {
                name: "a".to_owned(),
                group: WorkerGroup::of(WorkType::Spin, 2),
                tasks: TaskSettings::default(),
                cpus: MACHINE.all_cpus(),
                confined: false,
                memory_node: None,
                weight: None,
                memory_max: None,
            }]
        );
    }

    #[test]
    fn names() {
        for bad in ["", "a/b", "..", "cpu.max", "a\n", "a b", &"x".repeat(256)] {
            assert!(
                error(CgroupDef::named(bad)).starts_with("cgroup name"),
                "{bad}"
            );
        }
        let twins = [CgroupDef::named("a"), CgroupDef::named("a")];
        assert_eq!(
            resolve(&twins, MACHINE).unwrap_err().to_string(),
            "two cgroups are called `a`; rename one of them"
        );
        assert_eq!(resolve(&[], MACHINE), Err(DefError::None));
    }

    #[test]
    fn bounds_name_the_cgroup() {
        let def = || CgroupDef::named("a");
        assert_eq!(error(def().nice(20)), "cgroup a: nice 20; use -20 to 19");
        assert_eq!(error(def().weight(0)), "cgroup a: weight 0; use 1 to 10000");
        assert_eq!(
            error(def().cpuset(CpusetSpec::Llc(2))),
            "cgroup a: cpuset: no LLC 2 on 1n2l2c1t; use 0 to 1"
        );
        assert!(error(def().workers(0)).starts_with("cgroup a: 0 workers"));
        assert!(
            error(def().workers(3).work(WorkType::FutexPingPong)).contains("use an even number")
        );
        assert_eq!(
            error(def().policy(Policy::Fifo(100))),
            "cgroup a: SCHED_FIFO: its priority is not from 1 to 99"
        );
        assert_eq!(
            error(def().affinity(Affinity::Cpu(4))),
            "cgroup a: CPUs 4 are not all on 1n2l2c1t"
        );
        assert_eq!(
            error(def().memory_policy(MemoryPolicy::Bind(1))),
            "cgroup a: no NUMA node 1 on 1n2l2c1t; use 0 to 0"
        );
        let edges = [
            def().nice(-20).weight(10_000),
            CgroupDef::named("b").nice(19).weight(1),
        ];
        assert!(resolve(&edges, MACHINE).is_ok());
    }
}
