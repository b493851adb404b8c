//! Checks against what a run came to: a pure function.

use ktstr_core::{Outcome, Verdict};

use super::{CgroupRun, Check, CheckValue, Checks};
use crate::workload::{WorkerReport, WorkerRun};

/// Records what a check finds.
type Judge = fn(&mut Judged<'_>);

/// Each check of what workers report, and what judges it, in the order of a verdict's details.
const JUDGED: [(Check, Judge); 12] = [
    (Check::named("not_stuck"), progress),
    (Check::named("max_gap_ms"), gap),
    (Check::named("max_spread_pct"), spread),
    (Check::named("isolation"), isolation),
    (Check::named("min_iteration_rate"), iteration_rate),
    (Check::named("max_p99_wake_latency_ns"), wake_latency),
    (Check::named("max_wake_latency_cv"), ratios::wake_latency_cv),
    (Check::named("max_throughput_cv"), ratios::throughput_cv),
    (Check::named("max_migration_ratio"), ratios::migrations),
    (
        Check::named("max_cross_node_migration_ratio"),
        ratios::cross_node_migrations,
    ),
    (Check::named("min_work_rate"), ratios::work_rate),
    (Check::named("min_page_locality"), ratios::page_locality),
];

/// Judges a run: one detail for each check that does not hold, with value, threshold and place.
///
/// A worker that left no report fails the run whatever was asked for. Of several violations of one
/// check the worst is named, and how many more there are. A check that found nothing to measure is
/// [`Outcome::Inconclusive`]; the spread of cgroups with fewer than two workers is not checked.
///
/// ```
/// use ktstr_core::Outcome;
/// use ktstr_harness::check::{CgroupRun, Checks, judge};
///
/// let checks = Checks { max_gap_ms: Some(100), ..Checks::NONE };
/// let nobody_reported = [CgroupRun::default()];
/// assert_eq!(judge(&checks, &nobody_reported).outcome(), Outcome::Inconclusive);
/// assert_eq!(judge(&Checks::NONE, &nobody_reported).outcome(), Outcome::Pass);
/// ```
#[must_use]
pub fn judge(checks: &Checks, runs: &[CgroupRun]) -> Verdict {
    let mut verdict = Verdict::pass();
    workers(&mut verdict, runs);
    let checks = checks.with_implied();
    for (check, judge) in JUDGED {
        let Some(asked) = check.asked_by(&checks) else {
            continue;
        };
        if asked != CheckValue::Switch(false) {
            judge(&mut Judged {
                check: check.name,
                asked,
                runs,
                verdict: &mut verdict,
            });
        }
    }
    verdict
}

/// A check that is asked for, what it is held against, and the verdict that says what came of it.
struct Judged<'a> {
    check: &'static str,
    asked: CheckValue,
    runs: &'a [CgroupRun],
    verdict: &'a mut Verdict,
}

/// A value and where it was found.
struct Measured {
    value: f64,
    place: String,
}

/// Whether larger or smaller values are worse.
#[derive(Clone, Copy)]
enum Worse {
    Larger,
    Smaller,
}

impl Judged<'_> {
    /// Records that the check has nothing to judge.
    fn inconclusive(&mut self, why: impl Into<String>) {
        self.verdict.record(Outcome::Inconclusive, self.check, why);
    }

    /// Records that the check does not hold.
    fn fail(&mut self, message: impl Into<String>) {
        self.verdict.record(Outcome::Fail, self.check, message);
    }

    /// Whether any worker reported; that none did is recorded.
    fn has_reports(&mut self) -> bool {
        let has_reports = reports(self.runs).next().is_some();
        if !has_reports {
            self.inconclusive("no worker reported");
        }
        has_reports
    }

    fn no_time(&mut self, place: &str) {
        self.inconclusive(no_time_at(place));
    }

    /// Holds the worst of `found` against the limit and counts the others that violate it too.
    fn hold(&mut self, worse: Worse, found: Vec<Measured>) {
        let limit = self.asked.limit();
        let exceeds = |value: f64, other: f64| match worse {
            Worse::Larger => value > other,
            Worse::Smaller => value < other,
        };
        let violations = found.iter().filter(|f| exceeds(f.value, limit)).count();
        let worst = found.into_iter().reduce(|worst, next| {
            if exceeds(next.value, worst.value) {
                next
            } else {
                worst
            }
        });
        let Some(Measured { value, mut place }) = worst else {
            return;
        };
        if violations > 1 {
            place = format!("{place}, and in {} more", violations - 1);
        }
        match worse {
            Worse::Larger => self.verdict.at_most(self.check, value, limit, &place),
            Worse::Smaller => self.verdict.at_least(self.check, value, limit, &place),
        }
    }
}

fn reports(runs: &[CgroupRun]) -> impl Iterator<Item = (&CgroupRun, &WorkerRun, &WorkerReport)> {
    runs.iter().flat_map(|run| {
        run.reports()
            .map(move |(worker, report)| (run, worker, report))
    })
}

fn place(run: &CgroupRun, worker: &WorkerRun) -> String {
    format!(
        "cgroup {}, worker {} (pid {})",
        run.name, worker.worker, worker.pid
    )
}

/// Every worker must end in time and report. One detail for each that did not, up to a number that
/// can be read.
fn workers(verdict: &mut Verdict, runs: &[CgroupRun]) {
    const CHECK: &str = "worker";
    const NAMED: usize = 8;
    let mut failed = 0;
    for run in runs {
        for worker in run.workers.iter().filter(|w| w.report().is_none()) {
            failed += 1;
            if failed > NAMED {
                continue;
            }
            let oom = match run.oom_kills {
                0 => String::new(),
                kills => format!(": out of memory kill (oom_kill {kills} in its memory.events)"),
            };
            let message = format!("{} {}{oom}", place(run, worker), worker.end);
            verdict.record(Outcome::Fail, CHECK, message);
        }
    }
    if failed > NAMED {
        let message = format!("and {} more workers left no report", failed - NAMED);
        verdict.record(Outcome::Fail, CHECK, message);
    }
}

fn progress(judged: &mut Judged<'_>) {
    if !judged.has_reports() {
        return;
    }
    let mut stuck = reports(judged.runs).filter(|(_, _, report)| report.iterations == 0);
    if let Some((run, worker, report)) = stuck.next() {
        let seconds = report.wall_ns as f64 / 1e9;
        let mut message = format!(
            "0 iterations < 1 within {seconds:.1} s in {}",
            place(run, worker)
        );
        let more = stuck.count();
        if more > 0 {
            message = format!("{message}, and in {more} more");
        }
        judged.fail(message);
    }
}

fn gap(judged: &mut Judged<'_>) {
    if !judged.has_reports() {
        return;
    }
    let found = reports(judged.runs)
        .map(|(run, worker, report)| Measured {
            value: report.max_gap_ns as f64 / 1e6,
            place: format!("{}, on CPU {}", place(run, worker), report.max_gap_cpu),
        })
        .collect();
    judged.hold(Worse::Larger, found);
}

fn spread(judged: &mut Judged<'_>) {
    let mut found = Vec::new();
    for run in judged.runs.iter().filter(|run| run.reports().count() >= 2) {
        match run.spread_pct() {
            Some(value) => found.push(Measured {
                value,
                place: format!(
                    "cgroup {} (off-CPU share of its {} workers)",
                    run.name,
                    run.reports().count()
                ),
            }),
            None => judged.no_time(&format!("cgroup {}", run.name)),
        }
    }
    judged.hold(Worse::Larger, found);
}

fn isolation(judged: &mut Judged<'_>) {
    if !judged.has_reports() {
        return;
    }
    let mut violations = reports(judged.runs).filter_map(|(run, worker, report)| {
        let outside = report.cpus().difference(&run.cpus);
        let cpu = outside.first()?;
        let iterations: u64 = outside
            .iter()
            .filter_map(|c| report.residence.get(&c))
            .sum();
        let (list, all, allowed) = (&outside, report.iterations, &run.cpus);
        let what = if outside.len() == 1 {
            format!("CPU {cpu}")
        } else {
            format!("CPUs {list}")
        };
        let place = place(run, worker);
        Some(format!(
            "{iterations} of {all} iterations ran on {what}, outside cpuset {allowed}, in {place}"
        ))
    });
    if let Some(mut message) = violations.next() {
        let more = violations.count();
        if more > 0 {
            message = format!("{message}, and in {more} more");
        }
        judged.fail(message);
    }
}

fn iteration_rate(judged: &mut Judged<'_>) {
    if !judged.has_reports() {
        return;
    }
    let mut found = Vec::new();
    for (run, worker, report) in reports(judged.runs) {
        let place = place(run, worker);
        match report.iteration_rate() {
            Some(value) => found.push(Measured { value, place }),
            None => judged.no_time(&place),
        }
    }
    judged.hold(Worse::Smaller, found);
}

fn wake_latency(judged: &mut Judged<'_>) {
    if !judged.has_reports() {
        return;
    }
    let found: Vec<Measured> = judged
        .runs
        .iter()
        .filter_map(|run| {
            let wake_ups: u64 = run.reports().map(|(_, report)| report.wake.count).sum();
            Some(Measured {
                value: run.wake_latency_ns(99.0)? as f64,
                place: format!("cgroup {} ({wake_ups} wake-ups)", run.name),
            })
        })
        .collect();
    if found.is_empty() {
        let limit = judged.asked;
        return judged.inconclusive(format!(
            "the workload produced no wake-ups to measure (limit {limit}); use a work type that sleeps, such as \
             FutexPingPong or Mixed"
        ));
    }
    judged.hold(Worse::Larger, found);
}

fn no_time_at(place: &str) -> String {
    format!("no time passed, so there is nothing to relate to in {place}")
}

mod ratios;

#[cfg(test)]
mod tests;
