//! What a run leaves behind: a record of each case ([`Sidecar`]) in a directory of the run ([`RunDir`]).

mod run_dir;
mod sampled;
mod sidecar;
mod verifier;

pub use run_dir::{
    Begun, INTERRUPTED, Record, RecordKind, RunDir, RunDirError, check, new_epoch, run_name,
    standing,
};
pub use sampled::{LocalDsq, Moment, Reading, RunQueues, Sampled};
pub use sidecar::{CgroupStats, RunSource, Sidecar, SidecarError, Timings};
pub use verifier::{Stage, VerifiedProgram, VerifierStats};
