//! What a run is judged by.
//!
//! A check is a row of the table in `ktstr-harness-macros` ([`Check::ALL`]), and an entry of the list of what judges
//! it: [`judge`] for what workers report, [`judge_sampled`] for what is sampled beside them.

mod judge;
mod metrics;
mod run;
mod sampled;
mod table;

pub use judge::judge;
pub use metrics::{all_metrics, metrics};
pub use run::CgroupRun;
pub use sampled::{judge_sampled, sampled_metrics};
pub use table::{Check, CheckValue, Checks};
