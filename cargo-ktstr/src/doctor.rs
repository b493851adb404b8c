//! `doctor`: shows what the host has and what is missing.

use std::env::current_dir;
use std::process::ExitCode;

use ktstr_driver::doctor::{Request, examine};
use ktstr_driver::kernel_cache;
use ktstr_render::{Style, doctor};

use crate::cli::Document;
use crate::{CommandResult, Context, RECOMMENDED, show};

pub(crate) fn run(arguments: &Document, context: &Context) -> CommandResult {
    let host = &context.host;
    let report = examine(&Request {
        host,
        cache: &kernel_cache(host)?,
        dir: &current_dir()?,
        is_root: rustix::process::geteuid().is_root(),
    });
    let report = doctor::with_commands(report, RECOMMENDED);
    let style = Style {
        program: RECOMMENDED.to_owned(),
        ..context.style.clone()
    };
    show(&report, arguments.json, |report| {
        doctor::text(report, &style)
    })?;
    Ok(ExitCode::from(u8::from(!report.ready)))
}
