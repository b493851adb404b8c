//! The programs of a scenario: started, waited for and ended by its steps.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ktstr_core::Verdict;
use ktstr_core::record::ProgramRun;

use super::super::home::Home;
use super::error::{OpError, StepProblem};
use super::state::{LiveCgroup, State};
use crate::payload::{Finished, Payload, Running, wait_for};
use crate::workload::{TaskSettings, WorkerGroup};

/// The longest wait for programs without a look at the time.
const GLANCE: Duration = Duration::from_secs(1);

/// What the programs that ended came to.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) verdict: Verdict,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) runs: Vec<ProgramRun>,
}

impl Programs {
    fn add(&mut self, finished: Finished) {
        self.verdict.merge(finished.verdict);
        self.metrics.extend(finished.metrics);
        self.runs.push(finished.run);
    }
}

impl State<'_> {
    /// Starts a program in a cgroup of its own.
    pub(super) fn start(&mut self, program: &Payload) -> Result<(), StepProblem> {
        let cgroup = self.tree.create(program.name)?;
        let cpus = self.cpus.topology().cpus();
        let running = Running::start(program, &cgroup, cpus, self.duration)?;
        let live = LiveCgroup {
            home: Home::new(cgroup),
            cpus: None,
            group: WorkerGroup::default(),
            tasks: TaskSettings::default(),
        };
        self.cgroups.insert(program.name.to_owned(), live);
        self.programs.push(running);
        Ok(())
    }

    /// Waits for the end of a program, and takes what it measured.
    pub(super) fn await_program(&mut self, name: &str) -> Result<(), StepProblem> {
        let at = self.position(name)?;
        let deadline = self.programs[at].deadline().min(self.deadline);
        while !self.programs[at].has_ended() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.programs[at].give_up().into());
            }
            let signals = self.programs.iter().flat_map(Running::signals);
            wait_for(signals, left.min(GLANCE));
            self.look()?;
        }
        let finished = self.programs.remove(at).finish(&self.place)?;
        self.take(name, finished)
    }

    /// Ends a program, and takes what it measured.
    pub(super) fn kill_program(&mut self, name: &str) -> Result<(), StepProblem> {
        let at = self.position(name)?;
        let finished = self.programs.remove(at).finish(&self.place)?;
        self.take(name, finished)
    }

    /// Waits until then, and reads meanwhile what programs write: none has to wait for it.
    pub(super) fn idle_until(&mut self, until: Instant) -> Result<(), StepProblem> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.programs.iter().all(Running::is_silent) {
                sleep(left);
                return Ok(());
            }
            if left.is_zero() {
                return Ok(());
            }
            let signals = self.programs.iter().flat_map(Running::signals);
            wait_for(signals, left.min(GLANCE));
            self.look()?;
        }
    }

    /// Ends all programs in the order in which they were started.
    pub(super) fn stop_programs(&mut self) -> Result<(), StepProblem> {
        for program in std::mem::take(&mut self.programs) {
            let finished = program.finish(&self.place)?;
            self.ended_programs.add(finished);
        }
        Ok(())
    }

    /// Looks at all programs: whichever has ended as it should not is an error.
    fn look(&mut self) -> Result<(), StepProblem> {
        for program in &mut self.programs {
            program.look().map_err(|source| OpError::Program {
                program: program.name(),
                source,
            })?;
            program.check()?;
        }
        Ok(())
    }

    /// The plan says that it runs; an operation that failed may have ended it.
    fn position(&self, name: &str) -> Result<usize, StepProblem> {
        let mut programs = self.programs.iter();
        let found = programs.position(|program| program.name() == name);
        Ok(found.ok_or_else(|| OpError::Gone(name.to_owned()))?)
    }

    fn take(&mut self, name: &str, finished: Finished) -> Result<(), StepProblem> {
        self.ended_programs.add(finished);
        if let Some(live) = self.cgroups.remove(name) {
            live.home.remove()?;
        }
        Ok(())
    }
}
