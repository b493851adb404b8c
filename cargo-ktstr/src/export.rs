//! `export`: a test as a file that runs it without a machine.

use std::env::current_dir;

use ktstr_driver::{ExportOptions, NextestStreams, Session};
use ktstr_render::export;
use ktstr_vmm::CancelToken;

use crate::Context;
use crate::cli::Export;
use crate::failure::CommandResult;
use crate::terminal::{print, reporter, tell};

pub(crate) fn run(arguments: &Export, context: &Context) -> CommandResult {
    let words = match &arguments.package {
        Some(name) => vec!["-p", name],
        None => vec!["--workspace"],
    };
    let session = Session::new(context.host.clone(), current_dir()?)
        .release(arguments.release)
        .streams(NextestStreams::Foreground)
        .nextest_args(words);
    let options = ExportOptions {
        output: arguments.output.clone(),
    };
    let reporter = reporter(&context.style);
    let exported = session.export(&arguments.test, &options, &reporter, &CancelToken::new()?)?;
    tell(export::notes(&exported, &context.style));
    print(export::text(&exported))
}
