//! `stats` and `show-host`: what past runs tell, and this host as a record would have it.

use std::env::current_dir;
use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ktstr_core::record::RunStore;
use ktstr_driver::stats;
use ktstr_render::stats as text;
use ktstr_terminal::with_pictures;

use crate::cli::{Document, help};
use crate::{CommandResult, Context, show};

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(subcommand)]
    command: Option<StatsCommand>,

    /// Directory of the runs, or of one run [default: `KTSTR_SIDECAR_DIR`, else
    /// ktstr in the project's target directory].
    #[arg(long, value_name = "PATH", global = true)]
    dir: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
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
    run: String,
}

pub(crate) fn run(arguments: &Stats, context: &Context) -> CommandResult {
    let style = &with_pictures(&context.style, &context.host);
    let json = arguments.json;
    let store = || store(arguments, context);
    match &arguments.command {
        None => show(&stats::analyze(&store()?)?, json, |it| {
            text::text(it, style)
        }),
        Some(StatsCommand::List) => show(&stats::list_runs(&store()?)?, json, |it| {
            text::runs(it, style)
        }),
        Some(StatsCommand::ListMetrics) => {
            show(&stats::list_metrics(), json, |it| text::metrics(it, style))
        }
        Some(StatsCommand::ListValues) => show(&stats::list_values(&store()?)?, json, |it| {
            text::values(it, style)
        }),
        Some(StatsCommand::ShowHost(of)) => {
            let hosts = stats::host_of_run(&store()?, &of.run)?;
            show(&hosts, json, |it| text::hosts(it, style))
        }
        Some(StatsCommand::ExplainSidecar(of)) => {
            let explanation = stats::explain(&store()?, &of.run)?;
            show(&explanation, json, |it| text::explanation(it, style))
        }
    }
}

pub(crate) fn show_host(arguments: &Document, context: &Context) -> CommandResult {
    let style = with_pictures(&context.style, &context.host);
    let host = stats::live_host(&context.host);
    show(&host, arguments.json, |it| text::hosts(it, &style))
}

/// The runs that are asked about.
fn store(arguments: &Stats, context: &Context) -> Result<RunStore, Box<dyn Error>> {
    Ok(match &arguments.dir {
        Some(dir) => stats::store_in(dir)?,
        None => stats::store(&context.host, &current_dir()?)?,
    })
}
