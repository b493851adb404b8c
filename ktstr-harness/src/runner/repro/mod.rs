//! A second, watched run of a test whose scheduler was given up: does it happen again, and what led there?

mod calls;
mod plan;
mod render;
mod trace;

use ktstr_core::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

use super::diagnosis::Diagnosis;
use crate::TestCase;
use crate::probe::{ProbePlan, ProbeReport};
use crate::protocol::{BodyReport, Departure, SchedulerProblem};
use crate::scx_exit::ScxExit;

/// How a second run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoRepro {
    /// `reproduced`, `not reproduced: …` or `could not run: …`.
    pub outcome: String,
    /// What a person reads.
    pub text: String,
    /// The same with all calls about the task.
    pub whole: String,
    /// What the console of a second run without a report showed.
    pub console: String,
}

/// How a scheduler ended that should not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SchedulerExit {
    exit: Option<ScxExit>,
    /// The signal that ended its program, where one did.
    killed: Option<i32>,
}

impl SchedulerExit {
    /// The one that `report` tells of. A scheduler that was never enabled and that the kernel did not eject has none.
    pub(super) fn of(report: &BodyReport, diagnosis: &Diagnosis) -> Option<Self> {
        let problem = report.scheduler.as_ref()?.problem.as_ref()?;
        let exit = diagnosis.ejection().cloned();
        let killed = match problem {
            SchedulerProblem::Gone(Departure::Killed { signal }) => Some(*signal),
            _ => None,
        };
        let started = !matches!(problem, SchedulerProblem::NotStarted(_));
        (started && (exit.is_some() || killed.is_some())).then_some(Self { exit, killed })
    }

    /// What the next run of `test` is watched by.
    pub(super) fn plan(&self, test: &str) -> ProbePlan {
        plan::plan(self.exit.as_ref(), test)
    }

    /// Whether it is what happened the first time.
    fn is_like(&self, first: &Self) -> bool {
        match (&first.exit, &self.exit) {
            (Some(first), Some(again)) => first.kind == again.kind,
            (None, None) => first.killed == self.killed,
            _ => false,
        }
    }

    fn in_words(&self) -> String {
        match (&self.exit, &self.killed) {
            (Some(exit), _) => exit.to_string(),
            (None, Some(signal)) => Departure::Killed { signal: *signal }.to_string(),
            (None, None) => "it was gone".to_owned(),
        }
    }
}

/// Whether a test that came to `verdict` is run again when its scheduler died.
pub(super) fn is_wanted(test: &TestCase, verdict: &Verdict) -> bool {
    test.auto_repro && !test.expect_err && verdict.outcome() == Outcome::Fail
}

/// A second run that did not come to a report, where there was one.
pub(super) fn could_not_run(verdict: &Verdict, console: &str) -> AutoRepro {
    let why = cause(verdict);
    AutoRepro {
        console: console.to_owned(),
        ..AutoRepro::plain(format!("could not run: {why}"))
    }
}

/// What the second run, with `plan`, made of the `first` end.
pub(super) fn compare(
    first: &SchedulerExit,
    plan: &ProbePlan,
    again: &BodyReport,
    diagnosis: &Diagnosis,
    verdict: &Verdict,
) -> AutoRepro {
    let Some(exit) = SchedulerExit::of(again, diagnosis) else {
        let instead = match verdict.outcome() {
            Outcome::Pass => "the second run passed".to_owned(),
            outcome => format!(
                "the second run ended otherwise ({outcome}): {}",
                cause(verdict)
            ),
        };
        return AutoRepro::plain(format!("not reproduced: {instead}"));
    };
    let words = exit.in_words();
    let (outcome, heading) = if exit.is_like(first) {
        ("reproduced".to_owned(), format!("reproduced: {words}"))
    } else {
        let outcome = format!("not reproduced: the second run ended by {words}");
        (outcome.clone(), outcome)
    };
    let mute = ProbeReport {
        problem: Some("the guest knows nothing of probes".to_owned()),
        ..ProbeReport::default()
    };
    let probes = again.probes.as_deref().unwrap_or(&mute);
    if let Some(problem) = &probes.problem {
        return AutoRepro {
            outcome,
            ..AutoRepro::plain(format!("{heading}\nnothing was recorded: {problem}"))
        };
    }
    let trail = calls::Trail::of(trace::parse(&probes.trace, plan.functions.len()));
    let rendered = render::render(
        &trail,
        &render::End {
            plan,
            probes,
            backtrace: plan::Backtrace::of(exit.exit.as_ref()),
            message: exit.exit.as_ref().map_or("", |exit| &exit.message),
            of_program: exit.exit.is_none(),
        },
    );
    AutoRepro {
        outcome,
        text: format!("{heading}\n{}", rendered.shown),
        whole: format!("{heading}\n{}", rendered.whole),
        console: String::new(),
    }
}

impl AutoRepro {
    /// One with nothing but its outcome.
    fn plain(outcome: String) -> Self {
        Self {
            text: outcome.clone(),
            whole: outcome.clone(),
            console: String::new(),
            outcome,
        }
    }
}

/// The first cause of a verdict.
fn cause(verdict: &Verdict) -> String {
    let first = verdict.decisive().next();
    first.map_or_else(|| "nothing is known".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
