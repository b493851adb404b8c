//! What the kernel's log and its dump of a scheduler tell about the end of a run.

use std::time::Duration;

use crate::protocol::{BodyReport, SchedulerProblem, SchedulerReport, since_body_start};
use crate::scx_exit::{self, ScxExit};

/// The log of a guest's kernel, read once for everybody who judges the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Diagnosis {
    /// Why the kernel ended the scheduler: the exit that explains best why it is gone, or else an error.
    pub scx_exit: Option<ScxExit>,
    /// Whether that is why the run went wrong: the scheduler was started, and something went wrong with it.
    pub explains_problem: bool,
    /// The task that waited longest for a CPU, and for how long; at least a second.
    pub waiting: Option<(String, Duration)>,
    /// The kernel's line on the process that it killed because memory ran out, the last of several.
    pub oom_victim: Option<String>,
    /// The kernel's line on a program that crashed, the last of several.
    pub fault: Option<String>,
}

impl Diagnosis {
    /// Of a test that `report` tells of.
    pub fn of_body(report: &BodyReport) -> Self {
        Self::of(&report.kernel_log, report.scheduler.as_ref())
    }

    /// Of a run with that log, and of `scheduler`, where one was loaded.
    pub fn of(kernel_log: &str, scheduler: Option<&SchedulerReport>) -> Self {
        let log = since_body_start(kernel_log);
        let problem = scheduler.and_then(|scheduler| scheduler.problem.as_ref());
        let is_error = |exit: &ScxExit| exit.kind.is_error();
        let scx_exit = scheduler.and_then(|_| match problem {
            Some(_) => ScxExit::to_blame(log),
            None => ScxExit::find(log).filter(is_error),
        });
        let waiting = scheduler.and_then(|scheduler| scx_exit::longest_waiting(&scheduler.dump));
        let line = |needles: &[&str]| last_line(log, needles).map(str::to_owned);
        Self {
            scx_exit,
            explains_problem: !matches!(problem, None | Some(SchedulerProblem::NotStarted(_))),
            waiting: waiting.map(|(task, waited)| (task.to_owned(), waited)),
            oom_victim: line(&["Killed process"]),
            fault: line(&["segfault at", "traps:", "general protection"]),
        }
    }

    /// The error that the kernel ejected the scheduler with.
    pub fn ejection(&self) -> Option<&ScxExit> {
        let exit = self.scx_exit.as_ref().filter(|exit| exit.kind.is_error());
        exit.filter(|_| self.explains_problem)
    }
}

/// The last line that holds one of `needles`, without its time stamp.
pub(super) fn last_line<'t>(text: &'t str, needles: &[&str]) -> Option<&'t str> {
    let line = text
        .lines()
        .rev()
        .find(|line| needles.iter().any(|needle| line.contains(needle)))?;
    Some(scx_exit::without_stamp(line).trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Departure;

    const LOG: &str = "\
[1.0] sched_ext: BPF scheduler \"x\" disabled (scx_bpf_error)
[1.0] sched_ext: x: of the boot
[2.0] ktstr: the test starts
[3.0] t[7]: segfault at 8 ip 0
[4.0] Out of memory: Killed process 7 (t)
[5.0] sched_ext: BPF scheduler \"x\" disabled (unregistered from user space)
";

    fn scheduler(problem: Option<SchedulerProblem>) -> SchedulerReport {
        SchedulerReport {
            problem,
            log: String::new(),
            dump: "  R spin[57] -5004ms\n".to_owned(),
            partial: false,
            rejected: 0,
            restarts: 0,
            hotplug: None,
        }
    }

    #[test]
    fn what_came_before_the_test_is_no_matter_of_it() {
        let found = Diagnosis::of(LOG, Some(&scheduler(None)));
        assert_eq!(found.scx_exit, None);
        assert_eq!(found.fault.as_deref(), Some("t[7]: segfault at 8 ip 0"));
        let victim = found.oom_victim.as_deref();
        assert_eq!(victim, Some("Out of memory: Killed process 7 (t)"));
        let expected = ("spin[57]".to_owned(), Duration::from_millis(5004));
        assert_eq!(found.waiting, Some(expected));
        let without = Diagnosis::of(LOG, None);
        assert!(without.scx_exit.is_none() && without.waiting.is_none());
    }

    #[test]
    fn an_ejection_is_of_a_scheduler_that_was_started() {
        let log = "[5.0] sched_ext: BPF scheduler \"x\" disabled (runtime error)\n";
        let found = |problem| Diagnosis::of(log, Some(&scheduler(problem)));
        let gone = found(Some(SchedulerProblem::Gone(Departure::ProgramRuns)));
        assert!(gone.ejection().is_some() && gone.ejection() == gone.scx_exit.as_ref());
        for problem in [None, Some(SchedulerProblem::NotStarted("x".to_owned()))] {
            let found = found(problem);
            assert!(found.scx_exit.is_some() && found.ejection().is_none());
        }
    }
}
