//! How a machine ended, and what was heard of its guest.

use std::time::Duration;

use ktstr_core::record::Timings;
use ktstr_vmm::{GuestActivity, InitExit};

use crate::protocol::{BodyReport, VerifyReport};

/// How a machine's life ended, as far as the verdict depends on it.
#[derive(Debug, Clone, PartialEq)]
pub enum MachineEnd {
    /// The guest reported of a test.
    Reported(Box<BodyReport>),
    /// The guest reported of a cell of the verifier sweep.
    Verified(Box<VerifyReport>),
    /// The guest went away without a report: powered off or reset.
    Gone,
    /// The guest stopped all of its CPUs.
    Halted,
    /// The kernel panicked.
    KernelPanic {
        /// Its own words.
        message: String,
        /// How init ended, where that is why.
        init: Option<InitExit>,
    },
    /// The guest was not ready within that time.
    BootDeadline(Duration, GuestActivity),
    /// The guest was ready and did not report within that time.
    Deadline(Duration, GuestActivity),
    /// The guest broke the protocol.
    Garbled(String),
    /// The program that carried the machine died.
    Crashed(String),
}

/// When the steps of a run happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTimes {
    /// How long the run waited for host CPUs.
    pub waited: Duration,
    /// When the guest was ready, from the start of the machine; `None` where it never was.
    pub ready: Option<Duration>,
    /// When the guest reported, from the start of the machine; `None` where it did not.
    pub reported: Option<Duration>,
    /// When the machine was gone, from its start.
    pub whole: Duration,
}

impl From<RunTimes> for Timings {
    fn from(times: RunTimes) -> Self {
        let seconds = |from: Option<Duration>, to: Option<Duration>| {
            Some(to?.saturating_sub(from?).as_secs_f64())
        };
        Self {
            wait_s: Some(times.waited.as_secs_f64()),
            boot_s: times.ready.map(|ready| ready.as_secs_f64()),
            scenario_s: seconds(times.ready, times.reported),
            teardown_s: seconds(times.reported, Some(times.whole)),
        }
    }
}

/// A machine that ran to an end of its own or of its guest, and what was heard of the guest.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestOutcome {
    /// How it ended.
    pub end: MachineEnd,
    /// What its console showed, without carriage returns.
    pub console: String,
    /// Release of the guest's kernel, in its own words.
    pub kernel_release: Option<String>,
    /// When the steps of the run happened.
    pub times: RunTimes,
    /// Whether it was in performance mode.
    pub performance_mode: bool,
}

impl GuestOutcome {
    /// What the guest reported of a test, where it did.
    pub fn body_report(&self) -> Option<&BodyReport> {
        match &self.end {
            MachineEnd::Reported(report) => Some(report),
            _ => None,
        }
    }
}
