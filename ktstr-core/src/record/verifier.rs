//! The results of a cell of the verifier sweep.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The stages of a verifier cell, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The kernel verifies the programs.
    Load,
    /// The scheduler is enabled.
    Attach,
    /// It runs tasks.
    Dispatch,
    /// It is still enabled when those tasks have ended, and exits when it is told to.
    Liveness,
}

impl Stage {
    /// The name of the check that reports a failure in this stage.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Attach => "attach",
            Self::Dispatch => "dispatch",
            Self::Liveness => "liveness",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Measurements of a cell of the verifier sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifierStats {
    /// The last stage that began; the verdict says whether it passed.
    pub stage: Stage,
    /// Time from the start of the scheduler until it was enabled, in seconds of the guest.
    pub load_s: Option<f64>,
    /// Programs that the kernel had accepted by then.
    pub programs: Vec<VerifiedProgram>,
}

/// A BPF program that the kernel has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedProgram {
    /// Its name; the kernel keeps 15 bytes of it.
    pub name: String,
    /// `BPF_PROG_TYPE_…` of the kernel's `include/uapi/linux/bpf.h`; 27 is `struct_ops`, the type of a scheduler's
    /// callbacks.
    pub prog_type: u32,
    /// Number of verified instructions; absent if the kernel does not report it (before 5.16).
    pub verified_insns: Option<u64>,
}
