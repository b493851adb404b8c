//! A cgroup of a finished run, and the figures that it comes to.

use ktstr_core::CpuSet;
use ktstr_core::record::CgroupStats;
use ktstr_core::stats::{coefficient_of_variation, range, weighted_percentile};

use crate::workload::{WorkerReport, WorkerRun};

pub(super) const NS_PER_S: f64 = 1e9;
pub(super) const NS_PER_MS: f64 = 1e6;

/// What became of one cgroup and its workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupRun {
    /// Name of the cgroup.
    pub name: String,
    /// What its workers did, by [`WorkType::name`]; empty if that is not known.
    ///
    /// [`WorkType::name`]: crate::workload::WorkType::name
    pub work_type: String,
    /// CPUs its workers were allowed to use.
    pub cpus: CpuSet,
    /// Its workers.
    pub workers: Vec<WorkerRun>,
    /// Processes of it that the kernel killed for lack of memory.
    pub oom_kills: u64,
}

impl CgroupRun {
    /// The workers that reported.
    pub fn reports(&self) -> impl Iterator<Item = (&WorkerRun, &WorkerReport)> {
        self.workers
            .iter()
            .filter_map(|worker| Some((worker, worker.report()?)))
    }

    /// Largest minus smallest share of off-CPU time among the workers, in percentage points.
    ///
    /// `None` with fewer than two reports or when no time passed.
    pub fn spread_pct(&self) -> Option<f64> {
        let shares: Option<Vec<f64>> = self
            .reports()
            .map(|(_, report)| report.off_cpu_pct())
            .collect();
        shares.filter(|shares| shares.len() >= 2).and_then(range)
    }

    /// The wake-up latency in nanoseconds that `percent` % of all wake-ups of the cgroup did not
    /// exceed; `None` without wake-ups.
    ///
    /// A worker that kept only a part of its latencies counts with all its wake-ups.
    pub fn wake_latency_ns(&self, percent: f64) -> Option<u64> {
        let mut samples: Vec<(u64, f64)> = self.wake_samples().collect();
        weighted_percentile(&mut samples, percent)
    }

    /// Standard deviation of the wake-up latencies divided by their mean; `None` without wake-ups.
    ///
    /// A worker that kept only a part of its latencies counts with all its wake-ups.
    pub fn wake_latency_cv(&self) -> Option<f64> {
        let samples = self.wake_samples();
        coefficient_of_variation(samples.map(|(ns, weight)| (ns as f64, weight)))
    }

    /// Standard deviation of the workers' work rates divided by their mean; `None` when no work was done.
    pub fn throughput_cv(&self) -> Option<f64> {
        let rates: Option<Vec<f64>> = self
            .reports()
            .map(|(_, report)| report.work_rate())
            .collect();
        coefficient_of_variation(rates?.into_iter().map(|rate| (rate, 1.0)))
    }

    /// A figure summed up over the workers that reported.
    pub(super) fn sum(&self, figure: impl Fn(&WorkerReport) -> u64) -> u64 {
        let figures = self.reports().map(|(_, report)| figure(report));
        figures.fold(0, u64::saturating_add)
    }

    /// The wake-up latencies that were kept, with the number of wake-ups that each stands for.
    fn wake_samples(&self) -> impl Iterator<Item = (u64, f64)> {
        self.reports().flat_map(|(_, report)| {
            let wake = &report.wake;
            let weight = wake.count as f64 / wake.samples_ns.len().max(1) as f64;
            wake.samples_ns.iter().map(move |ns| (*ns, weight))
        })
    }

    /// The figures for the sidecar: sums over the workers that reported, the largest of their gaps.
    ///
    /// `run_delay_s` is that of the workers of which it is known, and absent where it is of none.
    pub fn stats(&self) -> CgroupStats {
        let mut stats = CgroupStats {
            name: self.name.clone(),
            work_type: (!self.work_type.is_empty()).then(|| self.work_type.clone()),
            cpuset: self.cpus.clone(),
            spread_pct: self.spread_pct(),
            p50_wake_latency_ns: self.wake_latency_ns(50.0),
            p99_wake_latency_ns: self.wake_latency_ns(99.0),
            run_delay_s: sum_of(self.reports().map(|(_, report)| run_delay_s(report))),
            under_sched_ext: self
                .reports()
                .map(|(_, report)| report.under_sched_ext.map(usize::from))
                .sum(),
            ..CgroupStats::default()
        };
        for (_, report) in self.reports() {
            stats.workers += 1;
            stats.cpus_used = stats.cpus_used.union(&report.cpus());
            stats.iterations += report.iterations;
            stats.work_units += report.work_units;
            stats.cpu_time_s += report.cpu_ns as f64 / NS_PER_S;
            stats.migrations += report.migrations;
            stats.max_gap_ms = stats.max_gap_ms.max(report.max_gap_ns as f64 / NS_PER_MS);
        }
        stats
    }
}

/// Seconds that a worker was runnable and waited, where the kernel tells.
pub(super) fn run_delay_s(report: &WorkerReport) -> Option<f64> {
    Some(report.run_delay_ns? as f64 / NS_PER_S)
}

/// The sum of what is known; `None` where nothing is.
pub(super) fn sum_of(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values
        .flatten()
        .fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::workload::{WakeLatency, WorkerEnd};

    /// A second of half a CPU on CPU 0, ten iterations.
    pub(crate) fn report() -> WorkerReport {
        WorkerReport {
            iterations: 10,
            work_units: 160,
            wall_ns: 1_000_000_000,
            cpu_ns: 500_000_000,
            run_delay_ns: Some(250_000_000),
            migrations: 1,
            node_migrations: 0,
            node_residence: BTreeMap::from([(0, 10)]),
            pages: Some(BTreeMap::from([(0, 16)])),
            residence: BTreeMap::from([(0, 10)]),
            max_gap_ns: 4_000_000,
            max_gap_cpu: 0,
            wake: WakeLatency::default(),
            under_sched_ext: Some(false),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn cgroup(name: &str, reports: impl IntoIterator<Item = WorkerReport>) -> CgroupRun {
        let workers = reports.into_iter().enumerate();
        CgroupRun {
            name: name.to_owned(),
            work_type: "spin".to_owned(),
            cpus: "0-3".parse().unwrap(),
            workers: workers
                .map(|(worker, report)| WorkerRun {
                    worker,
                    pid: 40 + worker as u32,
                    iterations: report.iterations,
                    end: WorkerEnd::Reported(report),
                })
                .collect(),
            oom_kills: 0,
        }
    }

    #[test]
    fn sums_and_maxima() {
        let busy = WorkerReport {
            cpu_ns: 900_000_000,
            max_gap_ns: 7_000_000,
            run_delay_ns: None,
            residence: BTreeMap::from([(2, 4), (3, 6)]),
            ..report()
        };
        let run = cgroup("a", [report(), busy]);
        let stats = run.stats();
        assert_eq!((stats.workers, stats.iterations), (2, 20));
        assert_eq!(stats.cpus_used.to_string(), "0,2-3");
        assert!((stats.spread_pct.unwrap() - 40.0).abs() < 1e-9);
        assert_eq!(stats.max_gap_ms, 7.0);
        assert!((stats.cpu_time_s - 1.4).abs() < 1e-9);
        assert_eq!(stats.p99_wake_latency_ns, None);
        assert_eq!(
            (stats.run_delay_s, stats.under_sched_ext),
            (Some(0.25), Some(0))
        );
    }

    #[test]
    fn nothing_measured_is_left_out() {
        let timeless = cgroup("a", [WorkerReport::default(), WorkerReport::default()]);
        assert_eq!(timeless.spread_pct(), None);
        let stats = timeless.stats();
        assert_eq!((stats.run_delay_s, stats.under_sched_ext), (None, None));
    }

    #[test]
    fn thinned_samples_count_with_all_their_wake_ups() {
        let waking = |count, latency: u64, kept| WorkerReport {
            wake: WakeLatency {
                count,
                max_ns: latency,
                samples_ns: vec![latency; kept],
            },
            ..report()
        };
        // Ten kept latencies stand for 990 wake-ups: the ten slow ones are the last percent.
        let run = cgroup("a", [waking(990, 5, 10), waking(10, 80, 10)]);
        assert_eq!(run.wake_latency_ns(99.0), Some(5));
        assert_eq!(run.wake_latency_ns(99.5), Some(80));
    }
}
