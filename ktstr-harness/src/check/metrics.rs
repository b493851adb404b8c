//! The figures of a run that are recorded and that runs are compared by.

use std::collections::BTreeMap;

use ktstr_core::{Better, Metric};

use super::run::{NS_PER_MS, NS_PER_S, run_delay_s, sum_of};
use super::{CgroupRun, Check, sampled, traced};
use crate::workload::WorkerReport;

/// How a figure of a whole run comes about; `None` where it was not measured.
type Figure = fn(&[CgroupRun]) -> Option<f64>;

/// Each metric that comes from the reports of workers; a metric that a check judges is defined by the check's row.
const OF_WORKERS: [(Metric<'static>, Figure); 9] = [
    (
        metric("iterations_per_second", "/s", Better::Higher, 1.0, 10.0),
        |runs| sum(runs, WorkerReport::iteration_rate),
    ),
    (
        metric("work_units_per_second", "/s", Better::Higher, 1.0, 10.0),
        |runs| sum(runs, WorkerReport::work_rate),
    ),
    (
        metric("cpu_time_s", "s", Better::Higher, 0.1, 10.0),
        |runs| sum(runs, |report| Some(report.cpu_ns as f64 / NS_PER_S)),
    ),
    (
        metric("run_delay_s", "s", Better::Lower, 0.05, 20.0),
        |runs| sum(runs, run_delay_s),
    ),
    (
        metric("migrations", "", Better::Lower, 10.0, 25.0),
        |runs| sum(runs, |report| Some(report.migrations as f64)),
    ),
    (judged_by("max_gap_ms"), |runs| {
        largest(reports(runs).map(|report| report.max_gap_ns as f64 / NS_PER_MS))
    }),
    (judged_by("max_spread_pct"), |runs| {
        largest(runs.iter().filter_map(CgroupRun::spread_pct))
    }),
    (
        metric("p50_wake_latency_ns", "ns", Better::Lower, 2_000.0, 20.0),
        |runs| wake_latency_ns(runs, 50.0),
    ),
    (judged_by("max_p99_wake_latency_ns"), |runs| {
        wake_latency_ns(runs, 99.0)
    }),
];

const fn metric(
    name: &'static str,
    unit: &'static str,
    better: Better,
    absolute_gate: f64,
    relative_gate_pct: f64,
) -> Metric<'static> {
    Metric {
        name,
        unit,
        better,
        absolute_gate,
        relative_gate_pct,
    }
}

/// The metric in the row of `check`; a row without one does not compile.
const fn judged_by(check: &str) -> Metric<'static> {
    Check::named(check)
        .metric
        .expect("the check's row has a metric")
}

/// Every metric that the record of a run may have: those of [`metrics`], of [`sampled_metrics`](super::sampled_metrics)
/// and of [`traced_metrics`](super::traced_metrics).
///
/// ```
/// use ktstr_core::Better;
/// use ktstr_harness::check::all_metrics;
///
/// let gap = all_metrics().find(|metric| metric.name == "max_gap_ms").unwrap();
/// assert_eq!((gap.unit, gap.better), ("ms", Better::Lower));
/// ```
pub fn all_metrics() -> impl Iterator<Item = Metric<'static>> {
    let of_workers = OF_WORKERS.into_iter().map(|(metric, _)| metric);
    of_workers
        .chain(sampled::recorded())
        .chain(traced::recorded())
}

/// The figures of a whole run, by the names of their metrics.
///
/// Over all workers that reported: the sums of their rates (iterations and work units per second of
/// each worker's own wall time), of CPU time, run delay and migrations, and the largest gap. Over all
/// cgroups: the largest spread and the largest median and 99th percentile of wake-up latency. What was not
/// measured is left out; without any report there are no figures at all.
pub fn metrics(runs: &[CgroupRun]) -> BTreeMap<String, f64> {
    let figures = OF_WORKERS.into_iter();
    figures
        .filter_map(|(metric, figure)| Some((metric.name.to_owned(), figure(runs)?)))
        .collect()
}

fn reports(runs: &[CgroupRun]) -> impl Iterator<Item = &WorkerReport> {
    runs.iter()
        .flat_map(|run| run.reports().map(|(_, report)| report))
}

fn sum(runs: &[CgroupRun], figure: impl Fn(&WorkerReport) -> Option<f64>) -> Option<f64> {
    sum_of(reports(runs).map(figure))
}

/// The largest of the cgroups.
fn wake_latency_ns(runs: &[CgroupRun], percent: f64) -> Option<f64> {
    let latencies = runs.iter().filter_map(|run| run.wake_latency_ns(percent));
    largest(latencies.map(|ns| ns as f64))
}

fn largest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::run::tests::{cgroup, report};
    use super::*;

    #[test]
    fn sums_and_maxima_of_cgroups() {
        let busy = WorkerReport {
            cpu_ns: 900_000_000,
            max_gap_ns: 7_000_000,
            run_delay_ns: None,
            ..report()
        };
        let figures = metrics(&[cgroup("a", [report(), busy]), cgroup("b", [report()])]);
        assert_eq!(figures["iterations_per_second"], 30.0);
        assert_eq!(figures["work_units_per_second"], 480.0);
        assert_eq!(figures["run_delay_s"], 0.5);
        assert_eq!(figures["migrations"], 3.0);
        assert_eq!(figures["max_gap_ms"], 7.0);
        assert!((figures["spread_pct"] - 40.0).abs() < 1e-9);
        assert!(!figures.contains_key("p99_wake_latency_ns"));
    }

    #[test]
    fn nothing_measured_is_left_out() {
        assert!(metrics(&[]).is_empty());
        assert!(metrics(&[CgroupRun::default()]).is_empty());
        let timeless = cgroup("a", [WorkerReport::default(), WorkerReport::default()]);
        let figures = metrics(&[timeless]);
        assert!(!figures.contains_key("iterations_per_second"));
        assert!(!figures.contains_key("run_delay_s"));
        assert_eq!(figures["cpu_time_s"], 0.0);
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = all_metrics().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all_metrics().count());
        assert!(names.contains("p99_wake_latency_ns") && names.contains("local_dsq_depth"));
    }
}
