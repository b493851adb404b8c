//! What a run is judged by.
//!
//! A check is a row of the table in `ktstr-harness-macros` ([`Check::ALL`]), and an entry of the list of what judges
//! it: [`judge`] for what workers report, [`judge_sampled`] for what is sampled beside them, [`judge_traced`] for
//! what a trace shows.

mod judge;
mod metrics;
mod run;
mod sampled;
mod table;
mod traced;

pub use judge::judge;
pub use metrics::{all_metrics, metrics};
pub use run::CgroupRun;
pub use sampled::{judge_sampled, sampled_metrics};
pub use table::{Check, CheckValue, Checks};
pub(crate) use traced::asks_for_trace;
pub use traced::{judge_traced, traced_metrics};

/// A check that `checks` ask for and that is judged over a whole test, whatever its steps.
pub(crate) fn of_whole_test(checks: &Checks) -> Option<&'static str> {
    sampled::asked(checks).or_else(|| traced::asked(checks))
}
