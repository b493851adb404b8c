//! Checks of rates, shares and variation.

use ktstr_core::{Outcome, Verdict};

use super::{Limit, Measured, hold, no_time_at, nobody_reported, place, reports};
use crate::check::{CgroupRun, Checks};
use crate::workload::WorkerReport;

pub(super) fn judge(verdict: &mut Verdict, checks: &Checks, runs: &[CgroupRun]) {
    let mut of_cgroups = |check: &str, limit: Option<f64>, value: Value<'_>| {
        if let Some(limit) = limit {
            cgroups(verdict, check, Limit::AtMost(limit), runs, value);
        }
    };
    of_cgroups("max_wake_latency_cv", checks.max_wake_latency_cv, &|run| {
        const NO_WAKES: &str = "no wake-up latency to measure; use a work type that sleeps";
        run.wake_latency_cv().map(Some).ok_or(NO_WAKES)
    });
    of_cgroups("max_throughput_cv", checks.max_throughput_cv, &|run| {
        // One worker has nobody to differ from.
        if run.reports().count() < 2 {
            return Ok(None);
        }
        let cv = run.throughput_cv();
        cv.map(Some).ok_or("no work was done, or no time passed")
    });
    of_cgroups("max_migration_ratio", checks.max_migration_ratio, &|run| {
        let iterations = run.sum(|report| report.iterations);
        let ratio = share(run.sum(|report| report.migrations), iterations);
        ratio
            .map(Some)
            .ok_or("0 iterations to relate migrations to")
    });
    of_cgroups(
        "max_cross_node_migration_ratio",
        checks.max_cross_node_migration_ratio,
        &|run| {
            let migrations = run.sum(|report| report.migrations);
            let ratio = share(run.sum(|report| report.node_migrations), migrations);
            ratio
                .map(Some)
                .ok_or("0 migrations, of which none can cross nodes")
        },
    );
    if let Some(limit) = checks.min_work_rate {
        workers(verdict, "min_work_rate", limit, runs, |report, place| {
            report.work_rate().ok_or_else(|| no_time_at(place))
        });
    }
    if let Some(limit) = checks.min_page_locality {
        workers(
            verdict,
            "min_page_locality",
            limit,
            runs,
            |report, place| {
                report.page_locality().ok_or_else(|| match report.pages {
                None => "this kernel does not tell where pages are (move_pages: CONFIG_NUMA, CONFIG_MIGRATION)"
                    .to_owned(),
                Some(_) => format!("0 iterations in {place}"),
            })
            },
        );
    }
}

/// A cgroup's value, nothing where the check does not apply to it, or why there is none.
type Value<'a> = &'a dyn Fn(&CgroupRun) -> Result<Option<f64>, &'static str>;

fn cgroups(verdict: &mut Verdict, check: &str, limit: Limit, runs: &[CgroupRun], value: Value<'_>) {
    if reports(runs).next().is_none() {
        return nobody_reported(verdict, check);
    }
    let mut found = Vec::new();
    for run in runs.iter().filter(|run| run.reports().count() > 0) {
        let place = format!("cgroup {}", run.name);
        match value(run) {
            Ok(Some(value)) => found.push(Measured { value, place }),
            Ok(None) => {}
            Err(why) => verdict.record(Outcome::Inconclusive, check, format!("{why} in {place}")),
        }
    }
    hold(verdict, check, limit, found);
}

fn workers(
    verdict: &mut Verdict,
    check: &str,
    limit: f64,
    runs: &[CgroupRun],
    value: impl Fn(&WorkerReport, &str) -> Result<f64, String>,
) {
    if reports(runs).next().is_none() {
        return nobody_reported(verdict, check);
    }
    let mut found = Vec::new();
    for (run, worker, report) in reports(runs) {
        let place = place(run, worker);
        match value(report, &place) {
            Ok(value) => found.push(Measured { value, place }),
            Err(why) => {
                // The first says it for all.
                verdict.record(Outcome::Inconclusive, check, why);
                break;
            }
        }
    }
    hold(verdict, check, Limit::AtLeast(limit), found);
}

/// `None` where there is nothing to be a part of.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
