//! Definitions of cgroups that make no sense.

use crate::cgroup::CpusetError;
use crate::workload::{Policy, WorkTypeError};

/// A definition that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefError {
    /// No cgroup at all.
    #[error("the scenario has no cgroups; give at least one CgroupDef")]
    None,
    /// The name cannot be a directory.
    #[error("cgroup name {name:?}: {why}; use letters, digits, `_` and `-`")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two of one name.
    #[error("two cgroups are called `{0}`; rename one of them")]
    Twice(String),
    /// The nice value is out of bounds.
    #[error("cgroup {cgroup}: nice {nice}; use -20 to 19")]
    Nice {
        /// The cgroup.
        cgroup: String,
        /// What was asked for.
        nice: i32,
    },
    /// The policy's parameters make no sense.
    #[error("cgroup {cgroup}: {}: {why}", .policy.name())]
    Policy {
        /// The cgroup.
        cgroup: String,
        /// What was asked for.
        policy: Policy,
        /// What is wrong with it.
        why: &'static str,
    },
    /// CPUs or NUMA nodes that the machine does not have.
    #[error("cgroup {cgroup}: {why}")]
    Machine {
        /// The cgroup.
        cgroup: String,
        /// What is wrong.
        why: String,
    },
    /// The weight is out of bounds.
    #[error("cgroup {cgroup}: weight {weight}; use 1 to 10000")]
    Weight {
        /// The cgroup.
        cgroup: String,
        /// What was asked for.
        weight: u32,
    },
    /// The work cannot be carried out.
    #[error("cgroup {cgroup}: {source}")]
    Work {
        /// The cgroup.
        cgroup: String,
        /// Why not.
        source: WorkTypeError,
    },
    /// The CPUs are not there.
    #[error("cgroup {cgroup}: {source}")]
    Cpuset {
        /// The cgroup.
        cgroup: String,
        /// Why not.
        source: CpusetError,
    },
}
