//! What happens before, beside and after a shell, on standard error.

use std::io::{stderr, stdin};

use ktstr_core::Topology;
use ktstr_driver::shell::{Shell, ShellEnd, ShellOutcome};
use ktstr_harness::runner::{RunEvent, RunObserver};
use ktstr_render::shell as text;
use rustix::termios::isatty;

use super::raw::RawTerminal;
use super::signals::Signals;
use crate::tell;

/// Says what a run of a shell does, and puts the terminal into raw mode when the shell starts.
pub(super) struct Watcher<'a> {
    program: &'a str,
    signals: &'a Signals,
    topology: Topology,
    at_terminal: bool,
    /// A command in a script has standard error to itself, unless something goes wrong.
    is_quiet: bool,
    /// The line to type for a debugger.
    debugger: Option<String>,
    release: String,
    raw: Option<RawTerminal>,
    /// What was not said in time.
    notes: Vec<String>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        shell: &Shell,
        debugger: Option<String>,
        signals: &'a Signals,
        program: &'a str,
    ) -> Self {
        Self {
            program,
            signals,
            topology: shell.topology,
            at_terminal: shell.terminal.is_some(),
            is_quiet: shell.command.is_some(),
            debugger,
            release: String::new(),
            raw: None,
            notes: Vec::new(),
        }
    }

    /// Puts the terminal back, and tells the notes if the machine ended before the shell did; without an outcome the shell
    /// did not run.
    pub(super) fn leave(self, outcome: Option<&ShellOutcome>) {
        let end = outcome.map(|outcome| &outcome.end);
        if let Some(raw) = self.raw {
            raw.leave(!matches!(end, Some(ShellEnd::Exited(_))));
        }
        if matches!(end, Some(ShellEnd::Machine(_))) {
            for note in self.notes {
                tell(format_args!("{}: {note}\n", self.program));
            }
        }
    }

    fn started(&mut self) {
        if self.at_terminal {
            tell(text::greeting(&self.release, self.topology, self.program));
            self.raw = RawTerminal::enter(stdin());
        }
        let modes = self.raw.as_ref().and_then(RawTerminal::modes);
        self.signals.started(modes);
    }
}

impl RunObserver for Watcher<'_> {
    fn event(&mut self, event: RunEvent<'_>) {
        let (program, end) = (self.program, if self.at_terminal { "\r\n" } else { "\n" });
        match event {
            RunEvent::Note(note) if self.is_quiet || self.raw.is_some() => {
                self.notes.push(note.to_owned());
            }
            RunEvent::Note(note) => tell(format_args!("{program}: {note}\n")),
            RunEvent::WaitingForHostCpus if !self.is_quiet || isatty(stderr()) => {
                tell(format_args!(
                    "{program}: other machines have the host CPUs; waiting\n"
                ));
            }
            RunEvent::MachineStarting { .. } => {
                if let Some(command) = &self.debugger {
                    tell(text::debugger(command, program));
                }
            }
            RunEvent::SchedulerBuildFailed(log) => tell(log),
            RunEvent::SchedulerGone(note) => tell(format_args!("{program}: {note}{end}")),
            RunEvent::SchedulerLog(log) => tell(text::scheduler_log(log, end)),
            RunEvent::GuestReady { kernel_release } => {
                kernel_release.clone_into(&mut self.release);
            }
            RunEvent::BodyStarted => self.started(),
            _ => {}
        }
    }
}
