//! What a cell of the verifier sweep came to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The steps of a verifier cell, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The kernel verifies the programs.
    Load,
    /// The scheduler comes into force.
    Attach,
    /// It runs tasks.
    Dispatch,
    /// It is still in force when those tasks have ended, and goes when it is told to.
    Liveness,
}

impl Stage {
    /// What a failure in it is told as: the name of a check.
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

/// What a cell of the verifier sweep saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifierStats {
    /// The last step that was begun; the verdict tells whether it was passed.
    pub stage: Stage,
    /// From the start of the scheduler until it was in force, in seconds of the guest.
    pub load_s: Option<f64>,
    /// Programs that the kernel had accepted by then.
    pub programs: Vec<VerifiedProgram>,
}

/// A BPF program that the kernel has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedProgram {
    /// Its name, as far as the kernel keeps it: 15 bytes.
    pub name: String,
    /// `BPF_PROG_TYPE_…` of the kernel's `include/uapi/linux/bpf.h`; 27 is a part of a scheduler (`struct_ops`).
    pub prog_type: u32,
    /// Verified instructions; absent where the kernel does not tell (before 5.16).
    pub verified_insns: Option<u64>,
}
