//! The words of `affected`.

use std::ffi::OsString;

use clap::Args;

use super::relevant::Baseline;

#[derive(Debug, Args)]
pub(crate) struct Affected {
    #[command(flatten)]
    pub(crate) baseline: Baseline,

    /// Also tell for each changed file what it affects, and why, on standard error.
    #[arg(long)]
    pub(crate) explain: bool,

    /// Arguments for `cargo nextest list`, such as cargo features.
    #[arg(last = true, value_name = "NEXTEST-ARGS")]
    pub(crate) nextest_args: Vec<OsString>,
}
