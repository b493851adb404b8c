//! `locks`: shows which locks are held and by whom.

use std::env::current_dir;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread::sleep;

use ktstr_driver::{LocksReport, lock_places};
use ktstr_render::locks;

use crate::Context;
use crate::cli::Locks;
use crate::failure::CommandResult;
use crate::terminal::print_more;

/// Homes the cursor and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(crate) fn run(arguments: &Locks, context: &Context) -> CommandResult {
    let host = &context.host;
    let places = lock_places(host, &current_dir()?);
    let clear = arguments.watch.is_some() && !arguments.json && io::stdout().is_terminal();
    loop {
        let report = LocksReport::read(&places, host)?;
        let text = if arguments.json {
            let json = serde_json::to_value(&report)?;
            match arguments.watch {
                Some(_) => format!("{json}\n"),
                None => format!("{json:#}\n"),
            }
        } else {
            locks::text(&report, &context.style)
        };
        let clear = if clear { CLEAR } else { "" };
        let more = print_more(clear.to_owned() + &text)?;
        let Some(interval) = arguments.watch.filter(|_| more) else {
            return Ok(ExitCode::SUCCESS);
        };
        sleep(interval);
    }
}
