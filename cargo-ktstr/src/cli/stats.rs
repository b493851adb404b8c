//! The words of `stats`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::help;

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(subcommand)]
    pub(crate) command: Option<StatsCommand>,

    #[command(flatten)]
    pub(crate) common: StatsCommon,
}

#[derive(Debug, Args)]
pub(crate) struct StatsCommon {
    /// Directory of the runs, or of one run [default: `KTSTR_SIDECAR_DIR`, else
    /// ktstr in the project's target directory].
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) dir: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StatsCommand {
    /// List the runs, newest first.
    List,
    /// List the metrics that runs are compared by, and which change counts.
    #[command(after_help = help::LIST_METRICS_AFTER)]
    ListMetrics,
    /// List the kernels, commits, schedulers, topologies and work types of all runs.
    ListValues,
    /// Show the host that a run was on.
    ShowHost(OfRun),
    /// Explain which optional fields the records of a run lack, and why.
    #[command(after_help = help::EXPLAIN_AFTER)]
    ExplainSidecar(OfRun),
}

#[derive(Debug, Args)]
pub(crate) struct OfRun {
    /// The run, as `stats list` calls it.
    #[arg(long, value_name = "ID")]
    pub(crate) run: String,
}
