//! Compares the figures of performance tests at two commits: did anything get worse?
//!
//! A change of a metric is real only when it is *separated*: Welch's t-test, two-sided, is below [`ALPHA`], or the ranges of
//! the two sides are disjoint; and *material*: it passes the absolute and the relative gate of the metric, see [`Rules`].
//! A test at a level of 0.05 finds one change in twenty where there is none, and a comparison has dozens of metrics. So
//! the `p` values of a comparison are adjusted for their number ([`Correction`]), and what does not hold then is told as
//! unconfirmed: more runs would tell.

mod compare;
mod gates;
mod policy;
mod report;
mod samples;
mod statistics;

pub use gates::{Direction, FAIL_THRESHOLD, Gates, Rules};
pub use policy::{Correction, MetricPolicy, Policy, PolicyError, TestPolicy};
pub use report::{
    Caveat, Comparison, FailedRuns, Finding, Incomparable, Missing, Mode, PerfDelta, Separation,
    SideInfo, SideName, SkippedCase,
};
pub use samples::{Machines, PerfCase};
pub use statistics::{
    ALPHA, Samples, SamplesError, Summary, Welch, are_disjoint, benjamini_hochberg,
    chance_of_disjoint, welch,
};
