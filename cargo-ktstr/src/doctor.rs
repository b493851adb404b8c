//! `doctor`: shows what the host has and what is missing.

use std::env::current_dir;
use std::process::ExitCode;

use ktstr_driver::doctor::{Request, examine};
use ktstr_driver::kernel_cache;
use ktstr_render::{Style, doctor};

use crate::cli::Doctor;
use crate::failure::CommandResult;
use crate::terminal::print;
use crate::{Context, RECOMMENDED};

pub(crate) fn run(arguments: &Doctor, context: &Context) -> CommandResult {
    let host = &context.host;
    let report = examine(&Request {
        host,
        cache: &kernel_cache(host)?,
        dir: &current_dir()?,
        is_root: rustix::process::geteuid().is_root(),
    });
    let ready = report.ready;
    if arguments.json {
        let report = doctor::with_commands(report, RECOMMENDED);
        print(serde_json::to_string_pretty(&report)? + "\n")?;
    } else {
        let style = Style {
            program: RECOMMENDED.to_owned(),
            ..context.style.clone()
        };
        print(doctor::text(&report, &style))?;
    }
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
