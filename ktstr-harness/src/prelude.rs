//! What a test file needs: `use ktstr_harness::prelude::*;`.

pub use ktstr_core::{
    Better, Constraints, CpuSet, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, Outcome, Topology,
    Verdict,
};

pub use crate::cgroup::{CgroupDef, CpusetSpec};
pub use crate::payload::{MetricCheck, Payload, PayloadMetric, execute_payload};
pub use crate::runner::FinishedRun;
pub use crate::scenario::{
    Hold, Op, Step, execute_defs, execute_steps, execute_steps_beside, scenarios,
};
pub use crate::workload::{Affinity, CustomWorker, MemoryPolicy, Policy, WorkType};
pub use crate::{
    AssertResult, Checks, Ctx, MapWrite, Result, Scheduler, declare_payload, declare_scheduler,
    ktstr_test,
};
