//! Programs that tests run in the guest: what they are, how they run, and what is read from their output.
//!
//! [`declare_payload!`](crate::declare_payload) makes a [`Payload`]. A test names those that it runs by its keys `payload`
//! and `workloads`; its body starts them, all of them by [`execute_payload`], or one by one by operations of its steps
//! ([`Op::start`](crate::scenario::Op::start)). Each runs in a cgroup of its own, which has its name.

mod error;
mod execute;
mod metric;
mod output;
mod pattern;
mod running;
mod stream;

use std::time::Duration;

pub use error::{MetricError, ProgramError};
pub use execute::{PayloadError, execute_payload};
pub use metric::{MetricCheck, MetricSource, PayloadMetric};
pub(crate) use running::{Finished, Running, wait_for};

use ktstr_core::record::MetricDefinition;

/// A program that tests run in the guest. [`declare_payload!`](crate::declare_payload) makes one; it is a plain constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Payload {
    /// What it is called in results: its cgroup and its metrics are.
    pub name: &'static str,
    /// Where it comes from.
    pub source: PayloadSource,
    /// Its arguments. `{duration_s}` in them stands for the test's duration in seconds, `{cpus}` for the number of CPUs of
    /// the machine.
    pub args: &'static [&'static str],
    /// Host files that the guest finds below `/include-files/`; relative to the declaring crate.
    pub include_files: &'static [&'static str],
    /// Exit codes that are fine.
    pub exit_codes: &'static [i32],
    /// What is read from its output.
    pub metrics: &'static [PayloadMetric],
    /// Bounds of its metrics.
    pub checks: &'static [MetricCheck],
    /// A test's own bounds: see [`Payload::checked_by`].
    pub test_checks: &'static [MetricCheck],
    /// How long it may take, in seconds; one and a half times the test's duration and 5 s where nothing is said.
    pub time_limit_s: Option<u32>,
    /// Whether tests are skipped where it is not installed. They fail otherwise.
    pub skip_if_missing: bool,
    /// Where it is declared: what relative paths and cargo packages are looked for from.
    pub manifest_dir: &'static str,
}

/// Where a program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadSource {
    /// A program of the host: a name to look for in the search path, or a path, relative to the declaring crate.
    Binary(&'static str),
    /// A cargo package of the declaring crate's workspace, with a binary of the same name.
    Package(&'static str),
}

impl Payload {
    /// Where the guest finds the programs, each by its declaration's name.
    pub const DIR: &'static str = "/programs";

    /// A program without a name, for declarations to start from.
    pub const NONE: Self = Self {
        name: "",
        source: PayloadSource::Binary(""),
        args: &[],
        include_files: &[],
        exit_codes: &[0],
        metrics: &[],
        checks: &[],
        test_checks: &[],
        time_limit_s: None,
        skip_if_missing: false,
        manifest_dir: "",
    };

    /// This program with bounds of a test's own: each takes the place of the declaration's bound of that metric in that
    /// direction. A metric that the program does not have does not compile.
    ///
    /// ```
    /// use ktstr_harness::prelude::*;
    ///
    /// declare_payload!(HACKBENCH, {
    ///     name = "hackbench",
    ///     binary = "hackbench",
    ///     metrics = [PayloadMetric::pattern("time_s", "s", Better::Lower, "Time: {}")],
    ///     checks = [MetricCheck::at_most("time_s", 20.0)],
    /// });
    ///
    /// #[ktstr_test(payload = HACKBENCH.checked_by(&[MetricCheck::at_most("time_s", 5.0)]))]
    /// fn is_quick(ctx: &Ctx) -> Result<AssertResult> {
    ///     execute_payload(ctx, &[])
    /// }
    /// # fn main() {}
    /// ```
    #[must_use]
    pub const fn checked_by(mut self, checks: &'static [MetricCheck]) -> Self {
        self.test_checks = checks;
        self.check();
        self
    }

    /// This program with other arguments.
    #[must_use]
    pub const fn with_args(mut self, args: &'static [&'static str]) -> Self {
        self.args = args;
        self
    }

    /// Panics where the declaration makes no sense, which then does not compile.
    #[doc(hidden)]
    pub const fn check(&self) {
        let mut at = 0;
        while at < self.metrics.len() {
            let metric = &self.metrics[at];
            metric.check();
            let mut other = 0;
            while other < at {
                let is_new = !same(self.metrics[other].name, metric.name);
                assert!(is_new, "two metrics of the program have one name");
                other += 1;
            }
            at += 1;
        }
        self.check_bounds(self.checks);
        self.check_bounds(self.test_checks);
        assert!(
            !self.exit_codes.is_empty(),
            "`exit_codes` is empty: no end of the program would be fine"
        );
    }

    const fn check_bounds(&self, checks: &[MetricCheck]) {
        let mut at = 0;
        while at < checks.len() {
            assert!(
                self.has_metric(checks[at].metric),
                "a check is of a metric that the program does not have"
            );
            assert!(
                checks[at].limit.is_finite(),
                "the limit of a check is not a finite number"
            );
            at += 1;
        }
    }

    const fn has_metric(&self, name: &str) -> bool {
        let mut at = 0;
        while at < self.metrics.len() {
            if same(self.metrics[at].name, name) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// Whether no two of these programs have one name.
    #[doc(hidden)]
    pub const fn are_distinct(payload: Option<&Self>, workloads: &[&Self]) -> bool {
        let mut at = 0;
        while at < workloads.len() {
            if let Some(payload) = payload
                && same(payload.name, workloads[at].name)
            {
                return false;
            }
            let mut other = 0;
            while other < at {
                if same(workloads[other].name, workloads[at].name) {
                    return false;
                }
                other += 1;
            }
            at += 1;
        }
        true
    }

    /// How long it may take in a test of that duration.
    pub(crate) fn time_limit(&self, duration: Duration) -> Duration {
        match self.time_limit_s {
            Some(seconds) => Duration::from_secs(u64::from(seconds)),
            None => duration * 3 / 2 + Duration::from_secs(5),
        }
    }

    /// What a metric of it is called in records.
    pub(crate) fn metric_name(&self, metric: &str) -> String {
        format!("{}.{metric}", self.name)
    }

    /// Its metrics, for the record.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = MetricDefinition> + '_ {
        self.metrics.iter().map(|metric| MetricDefinition {
            name: self.metric_name(metric.name),
            unit: metric.unit.to_owned(),
            better: metric.better,
            absolute_gate: metric.absolute_gate,
            relative_gate_pct: metric.relative_gate_pct,
        })
    }
}

/// `a == b`, which is not const yet.
pub(crate) const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
