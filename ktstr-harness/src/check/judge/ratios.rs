//! Checks of rates, shares and variation.

use super::{Judged, Measured, Worse, no_time_at, place, reports};
use crate::check::CgroupRun;
use crate::workload::WorkerReport;

pub(super) fn wake_latency_cv(judged: &mut Judged<'_>) {
    const NO_WAKES: &str = "no wake-up latency to measure; use a work type that sleeps";
    cgroups(judged, |run| {
        run.wake_latency_cv().map(Some).ok_or(NO_WAKES)
    });
}

pub(super) fn throughput_cv(judged: &mut Judged<'_>) {
    cgroups(judged, |run| {
        // One worker has nobody to differ from.
        if run.reports().count() < 2 {
            return Ok(None);
        }
        let cv = run.throughput_cv();
        cv.map(Some).ok_or("no work was done, or no time passed")
    });
}

pub(super) fn migrations(judged: &mut Judged<'_>) {
    cgroups(judged, |run| {
        let iterations = run.sum(|report| report.iterations);
        let ratio = share(run.sum(|report| report.migrations), iterations);
        ratio
            .map(Some)
            .ok_or("0 iterations to relate migrations to")
    });
}

pub(super) fn cross_node_migrations(judged: &mut Judged<'_>) {
    cgroups(judged, |run| {
        let migrations = run.sum(|report| report.migrations);
        let ratio = share(run.sum(|report| report.node_migrations), migrations);
        ratio
            .map(Some)
            .ok_or("0 migrations, of which none can cross nodes")
    });
}

pub(super) fn work_rate(judged: &mut Judged<'_>) {
    workers(judged, |report, place| {
        report.work_rate().ok_or_else(|| no_time_at(place))
    });
}

pub(super) fn page_locality(judged: &mut Judged<'_>) {
    workers(judged, |report, place| {
        report.page_locality().ok_or_else(|| match report.pages {
            None => {
                "this kernel does not tell where pages are (move_pages: CONFIG_NUMA, CONFIG_MIGRATION)"
                    .to_owned()
            }
            Some(_) => format!("0 iterations in {place}"),
        })
    });
}

/// Holds the largest value of a cgroup against the limit.
///
/// `value` gives none where the check does not apply to a cgroup, or says why there is none.
fn cgroups(
    judged: &mut Judged<'_>,
    value: impl Fn(&CgroupRun) -> Result<Option<f64>, &'static str>,
) {
    if !judged.has_reports() {
        return;
    }
    let mut found = Vec::new();
    let runs = judged.runs.iter();
    for run in runs.filter(|run| run.reports().count() > 0) {
        let place = format!("cgroup {}", run.name);
        match value(run) {
            Ok(Some(value)) => found.push(Measured { value, place }),
            Ok(None) => {}
            Err(why) => judged.inconclusive(format!("{why} in {place}")),
        }
    }
    judged.hold(Worse::Larger, found);
}

/// Holds the smallest value of a worker against the limit; `value` says why there is none.
fn workers(judged: &mut Judged<'_>, value: impl Fn(&WorkerReport, &str) -> Result<f64, String>) {
    if !judged.has_reports() {
        return;
    }
    let mut found = Vec::new();
    for (run, worker, report) in reports(judged.runs) {
        let place = place(run, worker);
        match value(report, &place) {
            Ok(value) => found.push(Measured { value, place }),
            Err(why) => {
                // The first says it for all.
                judged.inconclusive(why);
                break;
            }
        }
    }
    judged.hold(Worse::Smaller, found);
}

/// `None` where there is nothing to be a part of.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
