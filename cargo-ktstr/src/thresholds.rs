//! `show-thresholds`: what a test is judged by.

use std::env::current_dir;

use ktstr_driver::{NextestStreams, Session};
use ktstr_render::thresholds;
use ktstr_vmm::CancelToken;

use crate::Context;
use crate::cli::ShowThresholds;
use crate::failure::CommandResult;
use crate::terminal::{print, reporter};

pub(crate) fn run(arguments: &ShowThresholds, context: &Context) -> CommandResult {
    let session = Session::new(context.host.clone(), current_dir()?)
        .release(arguments.release)
        .streams(NextestStreams::Foreground)
        .nextest_args(arguments.nextest_args.iter().cloned());
    let reporter = reporter(&context.style);
    let cases = session.thresholds(&arguments.test, &reporter, &CancelToken::new()?)?;
    print(thresholds::text(&cases))
}
