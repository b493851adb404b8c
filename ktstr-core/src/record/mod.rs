//! The results that a run leaves: a record for each case ([`Sidecar`]) in the directory of the run ([`RunDir`]).

mod cgroup_stats;
mod measured;
mod program;
mod run_dir;
mod sampled;
mod setup;
mod sidecar;
mod store;
mod traced;
mod verifier;

pub use cgroup_stats::CgroupStats;
pub use measured::MeasuredTimes;
pub use program::{MetricDefinition, ProgramEnd, ProgramRun};
pub use run_dir::{
    Begun, INTERRUPTED, Record, RecordFile, RecordKind, RunDir, RunDirError, Standing, check,
    new_epoch, run_name, standing, standing_by,
};
pub use sampled::{LocalDsq, Moment, Reading, RunQueues, Sampled};
pub use setup::{KernelBuild, Limit, MachineSetup, SchedulerBuild, program_hash};
pub use sidecar::{RunSource, SchedulerExit, Sidecar, SidecarError, Timings};
pub use store::{RunStore, StoredRun, StoredSession};
pub use traced::{CpuWakes, TaskWakes, Traced, WakeToRun, Wasted};
pub use verifier::{Stage, VerifiedProgram, VerifierStats};
