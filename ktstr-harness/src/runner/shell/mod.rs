//! Runs a shell, or one command, in a machine, with the streams of whoever asks for it.

mod control;
mod escape;
mod outlet;
mod session;
mod sink;

use std::os::fd::BorrowedFd;

use ktstr_vmm::CancelToken;
use rustix::io::Errno;

use super::diagnosis::Diagnosis;
use super::facts::RunFacts;
use super::observer::RunObserver;
use super::outcome::{MachineEnd, RunTimes};
use super::plan::MachinePlan;
use super::prepared_run::PreparedRun;
use super::result::RunError;
use super::settings::Settings;
use crate::protocol::{GuestRequest, SchedulerProblem, SchedulerReport, ShellExit, ShellSpec};
use session::ShellSession;

pub use control::ShellControl;

/// The host's side of a shell's streams. The descriptors stay as they are: none is closed, and none stops waiting for
/// others.
#[derive(Debug, Clone, Copy)]
pub struct ShellStreams<'s> {
    /// What the shell reads. Nothing is read from it before the shell has started.
    pub input: BorrowedFd<'s>,
    /// What it writes to standard output, or to its terminal.
    pub output: BorrowedFd<'s>,
    /// What it writes to standard error, where it has no terminal.
    pub error: BorrowedFd<'s>,
    /// What the kernel writes to the console, if anybody wants it; what does not fit in time is left out.
    pub console: Option<BorrowedFd<'s>>,
    /// Where signals and sizes come from.
    pub control: &'s ShellControl,
}

/// How a shell's life ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ShellEnd {
    /// It ended by itself.
    Exited(ShellExit),
    /// The escape was typed: `Ctrl-]` three times within a second.
    Escaped,
    /// The terminal that it was typed at is gone.
    HungUp,
    /// One of the caller's descriptors failed.
    StreamFailed {
        /// What it is.
        stream: &'static str,
        /// What the system said.
        source: Errno,
    },
    /// The machine ended before it did.
    Machine(MachineEnd),
}

/// A shell that ended. Nothing of its machine is left.
#[derive(Debug, Clone, PartialEq)]
pub struct ShellOutcome {
    /// How it ended.
    pub end: ShellEnd,
    /// What the console showed, without carriage returns.
    pub console: String,
    /// Release of the guest's kernel, in its own words.
    pub kernel_release: Option<String>,
    /// When the steps of the run happened; `reported` is the end of the shell.
    pub times: RunTimes,
}

impl ShellOutcome {
    /// How the machine ended, in a line, where the shell did not end by itself.
    pub fn machine_end(&self) -> Option<String> {
        let ShellEnd::Machine(end) = &self.end else {
            return None;
        };
        let was_ready = self.times.ready.is_some();
        Some(match end {
            MachineEnd::KernelPanic {
                message,
                init: None,
            } => format!("the guest's kernel panicked: {message}"),
            MachineEnd::Gone if was_ready => {
                "the guest powered off or reset before the shell had ended".to_owned()
            }
            end => {
                let verdict = super::judge::of_machine(end, &self.console, was_ready);
                let details = verdict.details().first();
                details.map_or_else(String::new, ToString::to_string)
            }
        })
    }
}

/// Boots the machine of `plan` and runs the shell in it.
pub(super) fn run(
    plan: &MachinePlan,
    spec: ShellSpec,
    streams: ShellStreams<'_>,
    settings: &Settings,
    observer: &mut dyn RunObserver,
    cancel: &CancelToken,
) -> Result<ShellOutcome, RunError> {
    let mut facts = RunFacts::default();
    let request = GuestRequest::Shell(Box::new(spec));
    let prepared = PreparedRun::new(plan, settings, &mut facts, observer, cancel)?;
    let reserved = prepared.reserve(&request, observer, cancel)?;
    let mut session = ShellSession::new(&request, streams, observer);
    let machine = reserved.run(&mut session)?;
    let (ready, reported) = (session.ready, session.ended);
    machine.tell_notes(session.observer);
    let end = match (session.end.take(), session.garbled.take()) {
        (Some(end), _) => end,
        (None, garbled) => ShellEnd::Machine(machine.end(None, garbled)?),
    };
    session.end = Some(end);
    session.finish(cancel)?;
    Ok(ShellOutcome {
        end: session.end.unwrap_or(ShellEnd::HungUp),
        console: machine.console(),
        kernel_release: session.kernel_release,
        times: machine.times(ready, reported),
    })
}

/// The end of a scheduler, in a line.
fn scheduler_note(report: &SchedulerReport, diagnosis: &Diagnosis) -> String {
    let what = match &report.problem {
        Some(SchedulerProblem::NotStarted(why) | SchedulerProblem::NotEnabled(why)) => {
            return format!("the scheduler is not running: {why}");
        }
        Some(SchedulerProblem::Gone(how)) => how.to_string(),
        Some(SchedulerProblem::Restarted(_)) => {
            "the kernel ended it, and its program started it again".to_owned()
        }
        Some(SchedulerProblem::NotDisabled(why)) => why.clone(),
        None => "it was stopped".to_owned(),
    };
    match &diagnosis.scx_exit {
        Some(exit) => format!("the scheduler is gone: {exit}; {what}"),
        None => format!("the scheduler is gone: {what}"),
    }
}
