//! The messages between host and guest.
//!
//! Each message is one JSON value in one frame of the result channel; the bytes of a shell's streams go in frames of
//! their own kind (`protocol/flow.rs`). Both ends are the same binary, so the protocol
//! needs no versions. The host does not trust the guest nevertheless.

pub(crate) mod flow;
mod shell;

use std::fmt;
use std::time::Duration;

use ktstr_core::record::{Reading, Sampled, Traced, VerifierStats};
use ktstr_core::{KernelWarning, Topology};
use ktstr_vmm::Frame;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::shell::{HOST_ROOT_TAG, SchedulerEnd, ShellExit, ShellSpec, TerminalSize};
pub use crate::probe::{ProbePlan, ProbeReport, ProbedFunction};
use crate::scx_exit::ScxExitKind;
use crate::workload::signal_in_words;
use crate::{AssertResult, Checks};

/// Tag of frames that hold a message.
const TAG_MESSAGE: u8 = 1;

/// Tag of frames that hold a part of a profile, see [`GuestMessage::Profile`].
pub(crate) const TAG_PROFILE: u8 = 3;

/// LLVM's variable for the file that a measured program leaves its profile in. The kernel passes it on to init.
pub(crate) const PROFILE_VARIABLE: &str = "LLVM_PROFILE_FILE";

/// Where a guest's programs leave theirs. The directory is in the initramfs: no test mounts over it.
pub(crate) const PROFILE_DIR: &str = "/.ktstr-profiles";

/// One file for all processes of a program (`%m`), which its counters are mapped from (`%c`).
pub(crate) const PROFILE_FILE: &str = "/.ktstr-profiles/%m%c.profraw";

/// Limit of a profile that is sent to the host, in bytes: one of ten thousand functions has a few MiB.
pub(crate) const PROFILE_LIMIT: u64 = 64 << 20;

/// Limit of the part of a profile in one frame, in bytes.
pub(crate) const PROFILE_PART: usize = 1 << 20;

/// How many profiles a guest sends: of its init, and of the programs that its test starts.
pub(crate) const MAX_PROFILES: usize = 32;

/// Limit of a body's output that is sent to the host, in bytes.
pub(crate) const OUTPUT_LIMIT: usize = 1 << 20;

/// Limits of what a cell of the verifier sweep sends of the output of a scheduler's program, in bytes of its beginning
/// and of its end: libbpf allows a verifier log up to 16 MiB.
pub(crate) const VERIFIER_LOG_LIMITS: (usize, usize) = (1 << 20, 16 << 20);

/// Limit of the part in one message, in bytes.
pub(crate) const LOG_PART: usize = 1 << 20;

/// Limit of the kernel log in a report, in bytes: its end is kept.
pub(crate) const KERNEL_LOG_LIMIT: usize = 256 << 10;

/// Line that the guest writes into its kernel log before scheduler and body start; what follows belongs to the test.
pub(crate) const BODY_MARK: &str = "ktstr: the test starts";

/// The part of a kernel log from the start of the body on; all of it when the body never started.
pub(crate) fn since_body_start(log: &str) -> &str {
    match log.find(BODY_MARK) {
        Some(at) => &log[log[..at].rfind('\n').map_or(0, |end| end + 1)..],
        None => log,
    }
}

/// What the host asks a guest to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum GuestRequest {
    /// Run this, once.
    Run(Box<RunSpec>),
    /// Try this scheduler, once.
    Verify(VerifySpec),
    /// Run this shell: [`Runner::run_shell`](crate::runner::Runner::run_shell) asks for it.
    Shell(Box<ShellSpec>),
}

/// A cell of the verifier sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifySpec {
    /// Shape of the machine.
    pub topology: Topology,
    /// What to try.
    pub scheduler: SchedulerSpec,
    /// Environment variables of its program.
    pub env: Vec<(String, String)>,
    /// Texts of kernel warnings that are expected.
    pub allow_kernel_warnings: Vec<String>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Name of the test function.
    pub test: String,
    /// Shape of the machine.
    pub topology: Topology,
    /// How long scenarios run.
    pub duration: Duration,
    /// How long the body may take in all before it is ended.
    pub limit: Duration,
    /// What scenarios are judged by.
    pub checks: Checks,
    /// Environment variables of the body.
    pub env: Vec<(String, String)>,
    /// The scheduler to run it under, where that is not the kernel's own.
    pub scheduler: Option<SchedulerSpec>,
    /// What to record of the scheduler with probes.
    pub probes: Option<ProbePlan>,
    /// Texts of kernel warnings that are expected.
    pub allow_kernel_warnings: Vec<String>,
}

/// A scheduler to load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerSpec {
    /// How it is started and stopped.
    pub start: SchedulerStart,
    /// Files to write first: path, content.
    pub files: Vec<(String, String)>,
    /// Kernel settings to make first: path below `/proc/sys`, value.
    pub sysctls: Vec<(String, String)>,
    /// Cgroup for its program, from the root.
    pub cgroup: Option<String>,
    /// Whether its program may start it again after the kernel ended it.
    pub allow_restarts: bool,
}

/// How a scheduler is started and stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SchedulerStart {
    /// By its program, with these arguments.
    Program(Vec<String>),
    /// By shell commands: it is built into the kernel.
    Builtin {
        /// They enable it.
        enable: Vec<String>,
        /// They disable it.
        disable: Vec<String>,
    },
}

/// What a guest tells the host, in this order; output may come anywhere after `Started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum GuestMessage {
    /// Init is up and waits for a [`GuestRequest`].
    Ready {
        /// Release of the running kernel.
        kernel_release: String,
    },
    /// The body, or a shell, is about to run.
    Started,
    /// What the body and its children wrote to standard output and error.
    Output(String),
    /// The body ended; nothing follows.
    Report(BodyReport),
    /// A part of the output of a scheduler's program, which is too large for one message.
    SchedulerLog(String),
    /// The profile of a measured program follows, in frames of its own, before the report.
    Profile {
        /// Name of its file.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The profile of a measured program cannot be sent.
    NoProfile {
        /// Name of its file.
        name: String,
        /// Why.
        why: String,
    },
    /// The scheduler was tried; nothing follows.
    Verified(VerifyReport),
    /// The scheduler beside a shell could not be started, or is gone.
    SchedulerEnded(Box<SchedulerEnd>),
    /// The shell ended; nothing follows.
    ShellEnded(ShellExit),
}

/// Result of a cell of the verifier sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The last stage and the verifier's figures.
    pub stats: VerifierStats,
    /// What went wrong in the last stage.
    pub problem: Option<String>,
    /// The end of the kernel log, where something went wrong.
    pub kernel_log: String,
    /// How the scheduler ended; its log was sent before.
    pub scheduler: SchedulerReport,
    /// The kernel's reports of its own faults.
    pub kernel: KernelSeen,
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BodyReport {
    /// The ending.
    pub ending: Ending,
    /// The end of the kernel log, unless the body passed.
    pub kernel_log: String,
    /// How the scheduler ended, where one was loaded.
    pub scheduler: Option<SchedulerReport>,
    /// What was seen of the kernel's scheduling, where the body ran.
    pub sampled: Option<Box<Sampled>>,
    /// What a trace of the scheduler showed, where a check asked for one and the body ran.
    pub traced: Option<Box<Reading<Traced>>>,
    /// What was recorded, where that was asked for.
    pub probes: Option<Box<ProbeReport>>,
    /// The kernel's reports of its own faults.
    pub kernel: KernelSeen,
    /// Whether the body's own thread was under a sched_ext scheduler when it returned, where the kernel tells.
    pub body_under_sched_ext: Option<bool>,
}

/// The kernel's reports of its own faults, from the boot to the end of the scheduler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSeen {
    /// Its reports, the first of them.
    pub warnings: Vec<KernelWarning>,
    /// Further ones, which are not allowed.
    pub more: u64,
    /// Bits of taint that come with reports that are allowed, and with those that are not.
    pub taint_allowed: u64,
    /// Likewise.
    pub taint_reported: u64,
    /// `/proc/sys/kernel/tainted` before scheduler and body, where it could be read.
    pub taint_before: Option<u64>,
    /// Likewise, at the end.
    pub taint_after: Option<u64>,
    /// Messages that were overwritten before they could be read.
    pub lost: u64,
    /// Why the log could not be read.
    pub unread: Option<String>,
    /// Why sched_ext let schedulers go, in order.
    pub scx_exits: Vec<ScxExitKind>,
}

/// How a scheduler ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerReport {
    /// What went wrong.
    pub problem: Option<SchedulerProblem>,
    /// Output of its program, bounded.
    pub log: String,
    /// The kernel's dump of its state, where it was ejected and the kernel makes one.
    pub dump: String,
    /// Whether it takes only tasks that ask for it.
    pub partial: bool,
    /// Tasks that it refused to take.
    pub rejected: u64,
    /// How often its program started it again after the kernel ended it.
    pub restarts: u64,
    /// Which CPUs went online or offline while it was enabled, in words.
    pub hotplug: Option<String>,
}

/// What went wrong with a scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SchedulerProblem {
    /// It could not be started; why.
    NotStarted(String),
    /// It was started and was not enabled; why.
    NotEnabled(String),
    /// It was enabled, and ended before it was stopped.
    Gone(Departure),
    /// The kernel ended it, and its program started it again; how often.
    Restarted(u64),
    /// It was still attached after it was stopped; what is left.
    NotDisabled(String),
}

/// State of the program of a scheduler that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Departure {
    /// Its program still runs.
    ProgramRuns,
    /// Its program ended, with this status.
    Exited(i32),
    /// A signal ended its program.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// The kernel ended it while it was being stopped.
    AsItWasStopped(ScxExitKind),
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProgramRuns => f.write_str("its program is still there"),
            Self::Exited(status) => write!(f, "its program exited with status {status}"),
            Self::Killed { signal } => {
                write!(f, "its program was killed by {}", signal_in_words(*signal))
            }
            Self::AsItWasStopped(kind) => write!(
                f,
                "the kernel ended it as it was being stopped ({})",
                kind.reason()
            ),
        }
    }
}

/// The ways a body ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ending {
    /// It returned a result.
    Returned(AssertResult),
    /// It returned an error.
    Error(String),
    /// It panicked.
    Panicked(String),
    /// A signal ended it.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// It exited without a result; the exit code.
    Exited(i32),
    /// It was still running at its limit.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
    /// It was killed or not started, because a value could not be written into one of the scheduler's maps; why.
    MapWrite(String),
    /// It was killed or not started, because the scheduler was gone.
    SchedulerGone,
}

/// A frame that is not a message of this protocol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// A frame of another kind.
    #[error("result channel: unknown frame tag {0}")]
    Tag(u8),
    /// A part of a shell's streams that is none.
    #[error("result channel: not a part of a stream")]
    Stream,
    /// The content does not parse.
    #[error("result channel: not a message: {0}")]
    Content(#[from] serde_json::Error),
}

/// Packs a message into a frame.
pub(crate) fn to_frame(message: &impl Serialize) -> Frame {
    // The message types hold no map with keys that are not strings, the one thing JSON refuses.
    let payload = serde_json::to_vec(message).expect("messages are plain data");
    Frame {
        tag: TAG_MESSAGE,
        payload,
    }
}

/// Unpacks a message from a frame.
pub(crate) fn from_frame<M: DeserializeOwned>(frame: &Frame) -> Result<M, ProtocolError> {
    if frame.tag != TAG_MESSAGE {
        return Err(ProtocolError::Tag(frame.tag));
    }
    Ok(serde_json::from_slice(&frame.payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_others_are_refused() {
        let message = GuestMessage::Report(BodyReport {
            ending: Ending::Killed { signal: 9 },
            kernel_log: "log".to_owned(),
            scheduler: None,
            sampled: None,
            traced: None,
            probes: None,
            kernel: KernelSeen::default(),
            body_under_sched_ext: None,
        });
        let frame = to_frame(&message);
        assert_eq!(from_frame::<GuestMessage>(&frame).unwrap(), message);
        let other = Frame {
            tag: 9,
            ..frame.clone()
        };
        assert!(matches!(
            from_frame::<GuestMessage>(&other),
            Err(ProtocolError::Tag(9))
        ));
        let garbage = Frame {
            payload: b"{".to_vec(),
            ..frame
        };
        assert!(matches!(
            from_frame::<GuestMessage>(&garbage),
            Err(ProtocolError::Content(_))
        ));
    }
}
