//! `show-thresholds`: what a test is judged by.

use clap::Args;
use ktstr_options::LookupArgs;
use ktstr_render::thresholds;

use crate::{CommandResult, Context, printed};

#[derive(Debug, Args)]
pub(crate) struct ShowThresholds {
    /// Name of the test: its function, the path of that, or a case such as ktstr/NAME.
    test: String,

    #[command(flatten)]
    lookup: LookupArgs,
}

pub(crate) fn run(arguments: ShowThresholds, context: &Context) -> CommandResult {
    let session = arguments.lookup.of(context.session()?);
    let cases = session.thresholds(&arguments.test, &context.reporter(), &context.cancel)?;
    printed(thresholds::text(&cases))
}
