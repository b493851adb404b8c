//! Prints what runs report, for people.

use std::io::Write;

use ktstr_core::record::Sidecar;
use ktstr_core::{Outcome, text};

use super::settings::Process;
use crate::runner::{CaseResult, RunEvent, RunObserver, render};

/// Prints a run while it runs: its output, and the guest's console if the settings say so.
pub(super) struct Terminal {
    show_console: bool,
    raw_verifier_log: bool,
    /// Lines that are to be printed when the run is over.
    pub(super) notes: Vec<String>,
}

impl Terminal {
    pub(super) fn new(process: &Process) -> Self {
        Self {
            show_console: process.show_console,
            raw_verifier_log: process.raw_verifier_log,
            notes: Vec::new(),
        }
    }

    /// Prints how a case ended, and why.
    pub(super) fn tell(&self, ended: &CaseResult) {
        let CaseResult {
            sidecar, artifacts, ..
        } = ended;
        match sidecar.verdict.outcome() {
            Outcome::Pass => {}
            Outcome::Skip => eprintln!("ktstr: SKIP: {}", reason(sidecar)),
            Outcome::Inconclusive | Outcome::Fail => {
                let failure = render::failure(sidecar, artifacts, self.raw_verifier_log);
                eprint!("{failure}");
            }
        }
    }
}

impl RunObserver for Terminal {
    fn event(&mut self, event: RunEvent<'_>) {
        // A reader that has gone does not affect the run.
        match event {
            RunEvent::Note(note) => self.notes.push(note.to_owned()),
            RunEvent::SchedulerBuildFailed(log) => {
                let _ = std::io::stderr().write_all(log.as_bytes());
            }
            RunEvent::Console(bytes) if self.show_console => {
                let _ = std::io::stderr().write_all(bytes);
            }
            RunEvent::BodyOutput(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
            }
            _ => {}
        }
    }
}

/// What decided how a case ended.
pub(super) fn reason(sidecar: &Sidecar) -> String {
    let details = sidecar.verdict.decisive();
    let messages: Vec<_> = details.map(|detail| text::line(&detail.message)).collect();
    messages.join("; ")
}
