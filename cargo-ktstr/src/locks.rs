//! `locks`: shows which locks are held and by whom.

use std::env::current_dir;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ktstr_driver::{LocksReport, lock_places};
use ktstr_render::locks;
use ktstr_terminal::repeat;

use crate::{CommandResult, Context, show};

#[derive(Debug, Args)]
pub(crate) struct Locks {
    /// Print JSON; with --watch, one document per line.
    #[arg(long)]
    json: bool,

    /// Repeat every DURATION, such as 2s or 500ms, until interrupted.
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    watch: Option<Duration>,
}

/// A time between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("at least 100ms".to_owned());
    }
    Ok(interval)
}

pub(crate) fn run(arguments: &Locks, context: &Context) -> CommandResult {
    let (host, style) = (&context.host, &context.style);
    let places = lock_places(host, &current_dir()?);
    let Some(interval) = arguments.watch else {
        let report = LocksReport::read(&places, host)?;
        return show(&report, arguments.json, |it| locks::text(it, style));
    };
    repeat(
        interval,
        !arguments.json,
        || -> Result<_, Box<dyn Error>> {
            let report = LocksReport::read(&places, host)?;
            if arguments.json {
                return Ok(serde_json::to_string(&report)? + "\n");
            }
            Ok(locks::text(&report, style))
        },
    )?;
    Ok(ExitCode::SUCCESS)
}
