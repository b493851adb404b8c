//! How the kernel is to schedule the workers of a group.

use std::io;

use rustix::process::Pid;

use super::{Affinity, Policy, set_affinity, set_nice};
use crate::cpu_map::CpuMap;

/// How the kernel is to schedule workers, beside what their cgroup says; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskSettings {
    /// Nice value, -20 (most CPU time) to 19.
    pub nice: Option<i32>,
    /// Scheduling policy.
    pub policy: Option<Policy>,
    /// CPUs that each worker asks for.
    pub affinity: Option<Affinity>,
}

/// A setting that the kernel refused.
#[derive(Debug)]
pub(crate) struct RefusedSetting {
    pub(crate) source: io::Error,
    /// What to do, after a semicolon.
    pub(crate) hint: &'static str,
}

pub(crate) const CPUS_HINT: &str =
    "; its cgroup's cpuset must have some of these CPUs, and they must be online";
pub(crate) const NICE_HINT: &str = "; below 0 it needs root";
pub(crate) const POLICY_HINT: &str =
    "; real-time policies need root, and with CONFIG_RT_GROUP_SCHED a share of real time";

impl TaskSettings {
    /// Gives them to worker `number` of a group.
    pub(crate) fn apply(
        &self,
        pid: Pid,
        number: usize,
        cpus: CpuMap,
    ) -> Result<(), RefusedSetting> {
        let refused = |hint| move |source| RefusedSetting { source, hint };
        if let Some(affinity) = &self.affinity {
            affine(affinity, pid, number, cpus).map_err(refused(CPUS_HINT))?;
        }
        if let Some(nice) = self.nice {
            set_nice(pid, nice).map_err(refused(NICE_HINT))?;
        }
        // Last: a worker with a deadline may no longer be given other CPUs.
        if let Some(policy) = self.policy {
            policy.set(pid).map_err(refused(POLICY_HINT))?;
        }
        Ok(())
    }
}

/// Lets worker `number` of a group run where `affinity` says.
pub(crate) fn affine(affinity: &Affinity, pid: Pid, number: usize, cpus: CpuMap) -> io::Result<()> {
    let asked = affinity.cpus(cpus.topology(), number as u64);
    set_affinity(pid, &cpus.cpus(&asked.map_err(io::Error::other)?))
}
