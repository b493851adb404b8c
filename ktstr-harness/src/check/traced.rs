//! Checks of what a trace of the scheduler showed: work conservation and wake-to-run time.

use std::collections::BTreeMap;

use ktstr_core::record::{Reading, Traced};
use ktstr_core::{Metric, Outcome, Verdict};

use super::{Check, CheckValue, Checks};
use crate::trace::lost_words;

/// Finds what a check judges, and where it was found.
type Find = fn(&Traced) -> (f64, String);

/// Each check of a trace, and what finds the value that may be at most its limit.
const JUDGED: [(Check, Find); 2] = [
    (Check::named("max_wasted_ms"), wasted),
    (Check::named("max_wake_to_run_ms"), wake_to_run),
];

/// Whether any of `checks` takes a trace.
pub(crate) fn asks_for_trace(checks: &Checks) -> bool {
    asked(checks).is_some()
}

/// The first of these checks that `checks` ask for.
pub(super) fn asked(checks: &Checks) -> Option<&'static str> {
    let mut all = JUDGED.iter().map(|(check, _)| check);
    all.find(|check| check.asked_by(checks).is_some())
        .map(|check| check.name)
}

/// Judges what a trace showed; `traced` is `None` where there was none.
///
/// A limit that is exceeded fails also where events were lost: what was seen was so. One that is not is
/// [`Outcome::Inconclusive`] then, as it is where there was no trace.
///
/// ```
/// use ktstr_core::Outcome;
/// use ktstr_harness::check::{Checks, judge_traced};
///
/// let checks = Checks { max_wasted_ms: Some(50.0), ..Checks::NONE };
/// assert_eq!(judge_traced(&checks, None).outcome(), Outcome::Inconclusive);
/// assert_eq!(judge_traced(&Checks::NONE, None).outcome(), Outcome::Pass);
/// ```
#[must_use]
pub fn judge_traced(checks: &Checks, traced: Option<&Reading<Traced>>) -> Verdict {
    let mut verdict = Verdict::pass();
    for (check, find) in JUDGED {
        let Some(limit) = check.asked_by(checks).map(CheckValue::limit) else {
            continue;
        };
        let traced = match traced.map(Reading::get) {
            Some(Ok(traced)) => traced,
            Some(Err(why)) => {
                verdict.record(Outcome::Inconclusive, check.name, why);
                continue;
            }
            None => {
                let why = "nothing was traced: that takes a machine whose test body ran";
                verdict.record(Outcome::Inconclusive, check.name, why);
                continue;
            }
        };
        let (value, place) = find(traced);
        if value <= limit && traced.lost > 0 {
            verdict.record(Outcome::Inconclusive, check.name, lost_words(traced.lost));
        } else if value <= limit && traced.switches == 0 {
            verdict.record(Outcome::Inconclusive, check.name, "no switch was seen");
        } else {
            verdict.at_most(check.name, value, limit, &place);
        }
    }
    verdict
}

/// The figures that come from a trace, by the names of their metrics; those of one with losses are left out.
pub fn traced_metrics(traced: &Traced) -> BTreeMap<String, f64> {
    let figures = JUDGED.into_iter().filter_map(|(check, find)| {
        let (value, _) = find(traced);
        Some((check.metric?.name.to_owned(), value))
    });
    figures.filter(|_| traced.lost == 0).collect()
}

/// The metrics of [`traced_metrics`].
pub(super) fn recorded() -> impl Iterator<Item = Metric<'static>> {
    JUDGED.into_iter().filter_map(|(check, _)| check.metric)
}

fn wasted(traced: &Traced) -> (f64, String) {
    let Some(wasted) = &traced.wasted else {
        return (0.0, "all CPUs".to_owned());
    };
    let place = format!(
        "CPU {}, idle from {:.3} s on while tasks waited that may use it, longest {} (pid {}, {:.1} ms){}",
        wasted.cpu,
        wasted.at_s,
        wasted.task,
        wasted.pid,
        wasted.waited_ms,
        lines_below(&wasted.moments)
    );
    (wasted.ms, place)
}

/// Lines to be added to a text.
fn lines_below(lines: &[String]) -> String {
    lines
        .iter()
        .fold(String::new(), |text, line| text + "\n" + line)
}

fn wake_to_run(traced: &Traced) -> (f64, String) {
    let worst = traced
        .wake_to_run
        .as_ref()
        .and_then(|all| all.tasks.first());
    let Some(worst) = worst else {
        return (0.0, "all tasks".to_owned());
    };
    let place = format!(
        "{} (pid {}), which ran on CPU {} {:.3} s into the run",
        worst.task, worst.pid, worst.cpu, worst.at_s
    );
    (worst.max_ms, place)
}

#[cfg(test)]
mod tests {
    use ktstr_core::record::{TaskWakes, WakeToRun, Wasted};

    use super::*;

    const CHECKS: Checks = Checks {
        max_wasted_ms: Some(50.0),
        max_wake_to_run_ms: Some(20.0),
        ..Checks::NONE
    };

    fn traced(wasted_ms: f64, wake_ms: f64, lost: u64) -> Traced {
        let worst = TaskWakes {
            pid: 102,
            task: "right".to_owned(),
            count: 5,
            mean_ms: 1.0,
            max_ms: wake_ms,
            at_s: 1.25,
            cpu: 2,
        };
        Traced {
            switches: 10,
            lost,
            wasted: Some(Wasted {
                cpu: 3,
                ms: wasted_ms,
                at_s: 0.5,
                pid: 101,
                task: "left".to_owned(),
                waited_ms: 7.0,
                moments: vec!["-1 ms".to_owned(), "+1 ms".to_owned()],
            }),
            wake_to_run: Some(WakeToRun {
                count: 5,
                p50_ms: 1.0,
                p99_ms: 2.0,
                tasks: vec![worst],
                cpus: Vec::new(),
            }),
            ..Traced::default()
        }
    }

    fn lines(traced: Traced) -> Vec<String> {
        let verdict = judge_traced(&CHECKS, Some(&Reading::Read(traced)));
        verdict.decisive().map(ToString::to_string).collect()
    }

    #[test]
    fn cpu_and_task_are_named() {
        let verdict = judge_traced(&CHECKS, Some(&Reading::Read(traced(50.0, 20.0, 0))));
        assert_eq!(verdict.outcome(), Outcome::Pass);
        assert_eq!(
            lines(traced(80.0, 25.0, 0)),
            [
                "max_wasted_ms: 80 > 50 in CPU 3, idle from 0.500 s on while tasks waited that may use it, longest left \
                 (pid 101, 7.0 ms)\n-1 ms\n+1 ms",
                "max_wake_to_run_ms: 25 > 20 in right (pid 102), which ran on CPU 2 1.250 s into the run",
            ]
        );
    }

    #[test]
    fn losses_excuse_nothing_and_prove_nothing() {
        let all_well = judge_traced(&CHECKS, Some(&Reading::Read(traced(1.0, 1.0, 7))));
        assert_eq!(all_well.outcome(), Outcome::Inconclusive);
        assert!(lines(traced(1.0, 1.0, 7))[0].contains("7 events were lost"));
        assert_eq!(lines(traced(80.0, 1.0, 7)).len(), 1);
        assert!(traced_metrics(&traced(1.0, 1.0, 7)).is_empty());
        let metrics = traced_metrics(&traced(1.0, 2.0, 0));
        assert!(recorded().all(|metric| metrics.contains_key(metric.name)));
        let absent = Reading::Absent("no tracefs".to_owned());
        assert_eq!(
            judge_traced(&CHECKS, Some(&absent)).outcome(),
            Outcome::Inconclusive
        );
        let nothing = Reading::Read(Traced::default());
        assert_eq!(
            judge_traced(&CHECKS, Some(&nothing)).outcome(),
            Outcome::Inconclusive
        );
    }
}
