//! What a test file needs: `use ktstr_harness::prelude::*;`.

pub use ktstr_core::{
    Constraints, CpuSet, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, Outcome, Topology, Verdict,
};

pub use crate::cgroup::{CgroupDef, CpusetSpec};
pub use crate::scenario::{
    Hold, Op, Step, execute_defs, execute_steps, execute_steps_beside, scenarios,
};
pub use crate::workload::{Affinity, CustomWorker, MemoryPolicy, Policy, WorkType};
pub use crate::{AssertResult, Checks, Ctx, Result, Scheduler, declare_scheduler, ktstr_test};
