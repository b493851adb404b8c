//! Checks against what a run came to: a pure function.

use ktstr_core::{Outcome, Verdict};

use super::{CgroupRun, Checks};
use crate::workload::{WorkerReport, WorkerRun};

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

    let not_stuck = checks.not_stuck == Some(true);
    if not_stuck {
        progress(&mut verdict, runs);
    }
    let default_gap = not_stuck.then_some(Checks::NOT_STUCK_GAP_MS);
    if let Some(limit) = checks.max_gap_ms.or(default_gap) {
        gap(&mut verdict, runs, limit);
    }
    let default_spread = not_stuck.then_some(Checks::NOT_STUCK_SPREAD_PCT);
    if let Some(limit) = checks.max_spread_pct.or(default_spread) {
        spread(&mut verdict, runs, limit);
    }
    if checks.isolation == Some(true) {
        isolation(&mut verdict, runs);
    }
    if let Some(limit) = checks.min_iteration_rate {
        iteration_rate(&mut verdict, runs, limit);
    }
    if let Some(limit) = checks.max_p99_wake_latency_ns {
        wake_latency(&mut verdict, runs, limit);
    }
    ratios::judge(&mut verdict, checks, runs);
    verdict
}

/// A value and where it was found.
struct Measured {
    value: f64,
    place: String,
}

/// Whether larger or smaller values are worse.
#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// Holds the worst of `found` against the limit and counts the others that violate it too.
fn hold(verdict: &mut Verdict, check: &str, limit: Limit, found: Vec<Measured>) {
    let violates = |value: f64| match limit {
        Limit::AtMost(limit) => value > limit,
        Limit::AtLeast(limit) => value < limit,
    };
    let others = found.iter().filter(|f| violates(f.value)).count();
    let worst = found.into_iter().reduce(|worst, next| {
        let worse = match limit {
            Limit::AtMost(_) => next.value > worst.value,
            Limit::AtLeast(_) => next.value < worst.value,
        };
        if worse { next } else { worst }
    });
    let Some(Measured { value, mut place }) = worst else {
        return;
    };
    if others > 1 {
        place = format!("{place}, and in {} more", others - 1);
    }
    match limit {
        Limit::AtMost(limit) => verdict.at_most(check, value, limit, &place),
        Limit::AtLeast(limit) => verdict.at_least(check, value, limit, &place),
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

fn nobody_reported(verdict: &mut Verdict, check: &str) {
    verdict.record(Outcome::Inconclusive, check, "no worker reported");
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

fn progress(verdict: &mut Verdict, runs: &[CgroupRun]) {
    const CHECK: &str = "not_stuck";
    if reports(runs).next().is_none() {
        return nobody_reported(verdict, CHECK);
    }
    let mut stuck = reports(runs).filter(|(_, _, report)| report.iterations == 0);
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
        verdict.record(Outcome::Fail, CHECK, message);
    }
}

fn gap(verdict: &mut Verdict, runs: &[CgroupRun], limit_ms: u64) {
    const CHECK: &str = "max_gap_ms";
    let found: Vec<Measured> = reports(runs)
        .map(|(run, worker, report)| Measured {
            value: report.max_gap_ns as f64 / 1e6,
            place: format!("{}, on CPU {}", place(run, worker), report.max_gap_cpu),
        })
        .collect();
    if found.is_empty() {
        return nobody_reported(verdict, CHECK);
    }
    hold(verdict, CHECK, Limit::AtMost(limit_ms as f64), found);
}

fn spread(verdict: &mut Verdict, runs: &[CgroupRun], limit_pct: f64) {
    const CHECK: &str = "max_spread_pct";
    let mut found = Vec::new();
    for run in runs.iter().filter(|run| run.reports().count() >= 2) {
        match run.spread_pct() {
            Some(value) => found.push(Measured {
                value,
                place: format!(
                    "cgroup {} (off-CPU share of its {} workers)",
                    run.name,
                    run.reports().count()
                ),
            }),
            None => no_time(verdict, CHECK, &format!("cgroup {}", run.name)),
        }
    }
    hold(verdict, CHECK, Limit::AtMost(limit_pct), found);
}

fn isolation(verdict: &mut Verdict, runs: &[CgroupRun]) {
    const CHECK: &str = "isolation";
    if reports(runs).next().is_none() {
        return nobody_reported(verdict, CHECK);
    }
    let mut violations = reports(runs).filter_map(|(run, worker, report)| {
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
        verdict.record(Outcome::Fail, CHECK, message);
    }
}

fn iteration_rate(verdict: &mut Verdict, runs: &[CgroupRun], limit: f64) {
    const CHECK: &str = "min_iteration_rate";
    if reports(runs).next().is_none() {
        return nobody_reported(verdict, CHECK);
    }
    let mut found = Vec::new();
    for (run, worker, report) in reports(runs) {
        let place = place(run, worker);
        match report.iteration_rate() {
            Some(value) => found.push(Measured { value, place }),
            None => no_time(verdict, CHECK, &place),
        }
    }
    hold(verdict, CHECK, Limit::AtLeast(limit), found);
}

fn wake_latency(verdict: &mut Verdict, runs: &[CgroupRun], limit_ns: u64) {
    const CHECK: &str = "max_p99_wake_latency_ns";
    if reports(runs).next().is_none() {
        return nobody_reported(verdict, CHECK);
    }
    let found: Vec<Measured> = runs
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
        let message = format!(
            "the workload produced no wake-ups to measure (limit {limit_ns}); use a work type that sleeps, such as \
             FutexPingPong or Mixed"
        );
        return verdict.record(Outcome::Inconclusive, CHECK, message);
    }
    hold(verdict, CHECK, Limit::AtMost(limit_ns as f64), found);
}

fn no_time(verdict: &mut Verdict, check: &str, place: &str) {
    verdict.record(Outcome::Inconclusive, check, no_time_at(place));
}

fn no_time_at(place: &str) -> String {
    format!("no time passed, so there is nothing to relate to in {place}")
}

mod ratios;

#[cfg(test)]
mod tests;
