//! `stats` and `show-host`: what past runs tell, and this host as a record would have it.

use std::env::current_dir;

use ktstr_core::record::RunStore;
use ktstr_driver::stats;
use ktstr_render::{Style, stats as text};
use serde::Serialize;

use crate::Context;
use crate::cli::{ShowHost, Stats, StatsCommand, StatsCommon};
use crate::failure::{CommandResult, Failure};
use crate::terminal::{print, with_pictures};

pub(crate) fn run(arguments: &Stats, context: &Context) -> CommandResult {
    let style = with_pictures(&context.style, &context.host);
    let common = &arguments.common;
    let store = || store(common, context);
    match &arguments.command {
        None => show(&stats::analyze(&store()?)?, text::text, common.json, &style),
        Some(StatsCommand::List) => show(
            &stats::list_runs(&store()?)?,
            text::runs,
            common.json,
            &style,
        ),
        Some(StatsCommand::ListMetrics) => {
            show(&stats::list_metrics(), text::metrics, common.json, &style)
        }
        Some(StatsCommand::ListValues) => show(
            &stats::list_values(&store()?)?,
            text::values,
            common.json,
            &style,
        ),
        Some(StatsCommand::ShowHost(of)) => {
            let hosts = stats::host_of_run(&store()?, &of.run)?;
            show(&hosts, text::hosts, common.json, &style)
        }
        Some(StatsCommand::ExplainSidecar(of)) => {
            let explanation = stats::explain(&store()?, &of.run)?;
            show(&explanation, text::explanation, common.json, &style)
        }
    }
}

pub(crate) fn show_host(arguments: &ShowHost, context: &Context) -> CommandResult {
    let style = with_pictures(&context.style, &context.host);
    show(
        &stats::live_host(&context.host),
        text::hosts,
        arguments.json,
        &style,
    )
}

/// Prints `document`, as JSON or as what `text` makes of it.
fn show<D: Serialize>(
    document: &D,
    text: fn(&D, &Style) -> String,
    json: bool,
    style: &Style,
) -> CommandResult {
    if json {
        return print(serde_json::to_string_pretty(document)? + "\n");
    }
    print(text(document, style))
}

/// The runs that are asked about.
fn store(common: &StatsCommon, context: &Context) -> Result<RunStore, Failure> {
    if let Some(dir) = &common.dir {
        // What is mistyped must not look like a project without runs.
        let metadata = std::fs::metadata(dir);
        return match metadata {
            Ok(_) => Ok(RunStore::new(dir)),
            Err(error) => Err(Failure::new(format!(
                "--dir {}: {error}; give the directory that has the runs, such as target/ktstr",
                dir.display()
            ))),
        };
    }
    stats::store(&context.host, &current_dir()?).ok_or_else(|| {
        Failure::new(
            "no cargo project here; run this in one, or give --dir the directory that has the runs",
        )
    })
}
